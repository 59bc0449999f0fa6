"""Checks of the exercises of *Deployment*."""

from collections.abc import Sequence

import numpy as np
import torch

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(
    1,
    wrong=[(40, 40, 900), (52.9, 40, 40), (52.9, 900, 900), (470, 40, 900), (52.9, 40), 52.9],
)
def slow_answers(answer):
    """Mean, 98th and 99th percentile of 197 latencies of 40 ms and three of 900 ms."""
    mean, p98, p99 = expect_numbers(answer, 3)
    near = {
        40: "the three slow answers count, too ｜ 三个慢的回答也要算进去",
        470: "the two kinds are not equally frequent ｜ 两种回答的个数并不相等",
    }
    expect_number(mean, 52.9, tolerance=0.01, near=near)
    fast = "98 % of 200 are 196, and 197 were fast ｜ 200 的 98% 是 196，而快的有 197 个"
    expect_number(p98, 40, near={900: fast})
    fast = "99 % of 200 are 198, and only 197 were fast ｜ 200 的 99% 是 198，快的只有 197 个"
    expect_number(p99, 900, near={40: fast})


def _prepare(picture: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    values = (picture / 255 - np.array(mean)) / np.array(std)
    return values.transpose(2, 0, 1)[None]


@exercise(
    2,
    wrong=[
        lambda picture, mean, std: _prepare(255 * picture.astype(float), mean, std),
        lambda picture, mean, std: _prepare(picture[..., ::-1], mean, std),
        lambda picture, mean, std: _prepare(picture, mean, std)[0],
        lambda picture, mean, std: _prepare(picture, mean, std).transpose(0, 1, 3, 2),
        lambda picture, mean, std: _prepare(picture, mean, std).transpose(0, 2, 3, 1),
        lambda picture, mean, std: _prepare(picture, (0, 0, 0), (1, 1, 1)),
        lambda picture, mean, std: _prepare(picture, mean, (1, 1, 1)),
        lambda picture, mean, std: None,
        1.0,
    ],
)
def prepared(answer):
    """The input (1,3,H,W) of a network for a picture (H,W,3)."""
    generator = drawn(2)
    cases = [
        (
            torch.randint(0, 256, size, dtype=torch.uint8, generator=generator).numpy(),
            tuple(torch.rand(3, generator=generator).tolist()),
            tuple((0.2 + torch.rand(3, generator=generator)).tolist()),
        )
        for size in ((4, 6, 3), (5, 3, 3))
    ]
    expect_function(answer, _prepare, cases, tolerance=1e-4)


@exercise(3, wrong=[170.45, 1.364, 7.5, 44, 1330.1, 3086.5])
def mean_latency(answer):
    """Milliseconds from question to answer, when 8 clients get 352 answers in 60 seconds."""
    near = {
        170: "that is for one client, there are eight ｜ 这是只有一个客户端时的结果，而共有八个",
        1.36: "that is in seconds ｜ 这是以秒为单位的",
        44: "those are the answers to one client ｜ 那是一个客户端得到的回答数",
        1330.1: "that is the median of the record ｜ 那是记录中的中位数",
    }
    expect_number(answer, 8 * 60_000 / 352, tolerance=1, near=near)


def _distance(reference: Sequence[float], now: Sequence[float]) -> float:
    shares = [
        [sum(x <= value for x in group) / len(group) for value in (*reference, *now)]
        for group in (reference, now)
    ]
    return max(abs(a - b) for a, b in zip(*shares, strict=True))


def _signed(reference: Sequence[float], now: Sequence[float]) -> float:
    values = [*reference, *now]
    return max(
        sum(x <= v for x in reference) / len(reference) - sum(x <= v for x in now) / len(now)
        for v in values
    )


@exercise(
    4,
    wrong=[
        lambda reference, now: abs(sum(reference) / len(reference) - sum(now) / len(now)),
        _signed,
        lambda reference, now: _distance(reference, now) * len(now),
        lambda reference, now: max(
            abs(a - b) for a, b in zip(sorted(reference), sorted(now), strict=False)
        ),
        lambda reference, now: None,
        0.4,
    ],
)
def largest_gap(answer):
    """The distance of Kolmogorov and Smirnov between two lists of numbers."""
    generator = drawn(4)
    unequal = (torch.rand(count, generator=generator).tolist() for count in (9, 14))
    ties = (torch.randint(0, 4, (count,), generator=generator).tolist() for count in (12, 7))
    cases = [
        ([1, 2, 3, 4, 5], [3, 4, 5, 6, 7]),
        ([3, 4, 5, 6, 7], [1, 2, 3, 4, 5]),
        ([1, 2, 3], [1, 2, 3]),
        tuple(unequal),
        tuple(ties),
    ]
    expect_function(answer, _distance, cases)


@exercise(5, wrong=[4, 7, 9, 20, 0.2])
def changed_pictures(answer):
    """Pictures of 40 that must leave the range for a distance of at least 0.2."""
    near = {
        4: "4 of 40 make a distance of 0.1 ｜ 40 幅中的 4 幅只带来 0.1 的距离",
        9: "fewer are enough: the distance may be equal to the limit ｜ 可以更少：距离等于限值即可",
        0.2: "that is the distance: how many pictures? ｜ 那是距离：要的是图像的幅数",
    }
    expect_number(answer, 8, near=near)
