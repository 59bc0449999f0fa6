"""Checks of the exercises of *Scales and test time*."""

import math

import torch

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_numbers,
)


@exercise(1, wrong=[(1, 0), (0, 0), (1, 1), (0, 2), (2, 1), 0])
def winners(answer):
    """The classes that win when probabilities, and when logits are averaged."""
    averaged, multiplied = expect_numbers(answer, 2)
    expect(
        averaged == 0,
        "the first number: add up the three probabilities of each class ｜ "
        "第一个数：把每个类别的三个概率相加",
    )
    expect(
        multiplied == 1,
        "the second number: multiply the three probabilities of each class ｜ "
        "第二个数：把每个类别的三个概率相乘",
    )


@exercise(
    2,
    wrong=[
        lambda scales, mirror: sum(scales) * (1 + mirror),
        lambda scales, mirror: sum(s * s for s in scales),
        lambda scales, mirror: len(scales) * (1 + mirror),
        lambda scales, mirror: sum(s * s for s in scales) + mirror,
        20,
    ],
)
def price(answer):
    """Pixels that a network sees, as a multiple of one look."""
    scales = (0.25 + 2 * torch.rand(3, generator=drawn(2))).tolist()
    cases = [((1, 3), True), ((1,), False), ((0.5, 1, 2), True), (scales, False), (scales, True)]
    expect_function(answer, lambda s, mirror: sum(x * x for x in s) * (1 + mirror), cases)


def _turned_back(predict, images, back):
    return torch.stack(
        [predict(images.rot90(k, (-2, -1))).rot90(back * k, (-2, -1)) for k in range(4)]
    )


@exercise(
    3,
    wrong=[
        lambda predict, images: predict(images),
        lambda predict, images: _turned_back(predict, images, 0).mean(0),
        lambda predict, images: _turned_back(predict, images, 1).mean(0),
        lambda predict, images: _turned_back(predict, images, -1).sum(0),
        lambda predict, images: _turned_back(predict, images, -1)[:3].mean(0),
        lambda predict, images: _turned_back(predict, images, -1)[::2].mean(0),
    ],
)
def turns(answer):
    """The mean of the probabilities over four turns."""
    generator = drawn(3)
    place = torch.rand(5, 5, generator=generator)  # so that the answer depends on the direction
    images = torch.rand(2, 3, 5, 5, generator=generator)

    def predict(images: torch.Tensor) -> torch.Tensor:
        return (images[:, :2] * place).softmax(1)

    expect_function(answer, lambda f, x: _turned_back(f, x, -1).mean(0), [(predict, images)])


def _along(length: int, tile: int, step: int) -> int:
    return 1 + math.ceil((length - tile) / step)


@exercise(
    4,
    wrong=[
        lambda height, width, tile, step: _along(height, tile, step),
        lambda height, width, tile, step: math.ceil(height / step) * math.ceil(width / step),
        lambda height, width, tile, step: (
            (1 + (height - tile) // step) * (1 + (width - tile) // step)
        ),
        lambda height, width, tile, step: _along(height, tile, step) + _along(width, tile, step),
        9,
    ],
)
def tiles(answer):
    """Square tiles that cover a picture."""
    sizes = torch.randint(64, 300, (3, 2), generator=drawn(4)).tolist()
    cases = [(10, 10, 4, 4), (10, 10, 4, 2), (4, 9, 4, 3), (4000, 6000, 512, 512)]
    cases += [(height, width, 48, 36) for height, width in sizes]
    expect_function(
        answer, lambda h, w, tile, step: _along(h, tile, step) * _along(w, tile, step), cases
    )


def _joined(parts, lefts, weights, length):
    total, weight = torch.zeros(length), torch.zeros(length)
    for part, left in zip(parts, lefts, strict=True):
        total[left : left + len(part)] += part * weights
        weight[left : left + len(part)] += weights
    return total, weight


def _overwritten(parts, lefts, weights, length):
    joined = torch.zeros(length)
    for part, left in zip(parts, lefts, strict=True):
        joined[left : left + len(part)] = part
    return joined


@exercise(
    5,
    wrong=[
        _overwritten,
        lambda parts, lefts, weights, length: _joined(parts, lefts, weights, length)[0],
        lambda parts, lefts, weights, length: torch.divide(
            *_joined(parts, lefts, torch.ones_like(weights), length)
        ),
        lambda parts, lefts, weights, length: (
            _joined(parts, lefts, weights, length)[0] / len(lefts)
        ),
        0.5,
    ],
)
def joined(answer):
    """The weighted mean of overlapping tiles along a line."""
    parts = torch.rand(4, 6, generator=drawn(5))
    weights = torch.tensor([1.0, 2.0, 4.0, 4.0, 2.0, 1.0])
    cases = [
        (torch.tensor([[0.0, 0.0], [1.0, 1.0]]), [0, 1], torch.ones(2), 3),
        (parts, [0, 3, 6, 8], weights, 14),
        (parts, [0, 5, 10, 15], weights, 21),
    ]
    expect_function(answer, lambda *case: torch.divide(*_joined(*case)), cases)
