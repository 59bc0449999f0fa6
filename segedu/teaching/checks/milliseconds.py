"""Checks of the exercises of *Milliseconds*."""

import statistics
from collections.abc import Sequence

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
    wrong=[
        (29, 1000 / 30 - 14),
        (47, 1000 / 30 - 14),
        (28, 1000 / 30),
        (28, 1000 / 30 - 6),
        (28, 21),
        (28, 19),
        28,
    ],
)
def keeps_up(answer):
    """Frames per second of three stages, and the time that is left for the network."""
    frames, left = expect_numbers(answer, 2)
    near = {
        29: "the last frame is not finished: round down ｜ 最后一帧没有完成：要向下取整",
        47: "that is the network alone; the other stages come on top ｜ "
        "那只是网络；还要加上其他步骤",
    }
    expect_number(frames, 28, near=near)
    near = {
        1000 / 30: "that is the whole frame; the other stages take a part of it ｜ "
        "那是整个一帧的时间；其他步骤要用去一部分",
        1000 / 30 - 6: "classes and colours take time as well ｜ 取类别与上色也要时间",
        19.0: "at least one decimal is wanted ｜ 至少保留一位小数",
    }
    expect_number(left, 1000 / 30 - 14, tolerance=0.06, near=near)


def _fair(times: Sequence[float], skip: int) -> float:
    return statistics.median(times[skip:])


@exercise(
    2,
    wrong=[
        lambda times, skip: statistics.median(times),
        lambda times, skip: statistics.mean(times[skip:]),
        lambda times, skip: statistics.median(sorted(times)[skip:]),
        lambda times, skip: statistics.median_low(times[skip:]),
        lambda times, skip: min(times[skip:]),
        lambda times, skip: statistics.median(times[:-skip] if skip else times),
        12.0,
    ],
)
def fair_time(answer):
    """The median of the runs after the first ones."""
    some = (40 * torch.rand(7, generator=drawn(2))).tolist()
    cases = [([90.0, 12.0, 13.0, 11.0], 1), ([50.0, 10.0, 14.0, 30.0, 12.0], 1), (some, 2)]
    expect_function(answer, _fair, [([5.0, 1.0, 2.0, 9.0], 0), *cases])


def _separable(kernel: int, inputs: int, outputs: int, side: int) -> int:
    return side**2 * (kernel**2 * inputs + inputs * outputs)


@exercise(
    3,
    wrong=[
        lambda k, a, b, side: side**2 * k**2 * a * b,
        lambda k, a, b, side: side**2 * (k**2 * b + a * b),
        lambda k, a, b, side: side**2 * (k * a + a * b),
        lambda k, a, b, side: side * (k**2 * a + a * b),
        lambda k, a, b, side: k**2 * a + a * b,
        lambda k, a, b, side: 2 * side**2 * (k**2 * a + a * b),
        lambda k, a, b, side: side**2 * (k**2 + a * b),
        4672,
    ],
)
def separable(answer):
    """MACs of a depthwise convolution and a pointwise one."""
    numbers = torch.randint(2, 40, (2, 2), generator=drawn(3)).tolist()
    cases = [(3, 64, 64, 64), (5, 8, 24, 10), (3, 1, 7, 2)]
    expect_function(answer, _separable, [*cases, *((3, a, b, 6) for a, b in numbers)])


def _intensity(channels: int, side: int) -> float:
    return channels**2 * side**2 / (4 * (2 * channels * side**2 + channels**2))


@exercise(
    4,
    wrong=[
        lambda c, side: 4 * _intensity(c, side),
        lambda c, side: 1 / _intensity(c, side),
        lambda c, side: c**2 * side**2 / (4 * 2 * c * side**2),
        lambda c, side: c**2 * side**2 / (4 * (c * side**2 + c**2)),
        lambda c, side: 9 * c**2 * side**2 / (4 * (2 * c * side**2 + 9 * c**2)),
        lambda c, side: 2 * _intensity(c, side),
        7.8,
    ],
)
def pointwise_intensity(answer):
    """MACs per byte of a 1×1 convolution."""
    drawings = torch.randint(3, 60, (3, 2), generator=drawn(4)).tolist()
    cases = [(64, 64), (8, 4), *map(tuple, drawings)]
    expect_function(answer, _intensity, cases, tolerance=1e-4)


def _wrong_pairs(prices: Sequence[float], times: Sequence[float]) -> int:
    networks = list(zip(prices, times, strict=True))
    return sum(p < q and s > t for p, s in networks for q, t in networks)


@exercise(
    5,
    wrong=[
        lambda prices, times: 2 * _wrong_pairs(prices, times),
        lambda prices, times: sum(p < q and s >= t for p, s in zip(prices, times, strict=True)
                                  for q, t in zip(prices, times, strict=True)),
        lambda prices, times: sum(p <= q and s > t for p, s in zip(prices, times, strict=True)
                                  for q, t in zip(prices, times, strict=True)),
        lambda prices, times: _wrong_pairs(prices, [-t for t in times]),
        lambda prices, times: sum(
            (prices[i + 1] - prices[i]) * (times[i + 1] - times[i]) < 0
            for i in range(len(prices) - 1)
        ),
        lambda prices, times: _wrong_pairs(prices, times) > 0,
        1,
    ],
)  # fmt: skip
def wrong_pairs(answer):
    """Pairs of networks of which the cheaper one takes longer."""
    prices, times = torch.randint(1, 9, (2, 7), generator=drawn(5)).tolist()
    cases = [
        ([100, 200, 300, 900], [20, 50, 40, 90]),
        ([3, 1, 2], [10, 30, 20]),
        ([1, 1, 2], [5, 4, 5]),
        ([1, 2, 3, 4], [9, 9, 1, 2]),
        (prices, times),
    ]
    expect_function(answer, _wrong_pairs, cases)
