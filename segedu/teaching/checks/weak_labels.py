"""Checks of the exercises of *Weak labels*."""

import torch
from torch import Tensor

from segedu.losses import CrossEntropyLoss
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
        (12.2, 242.0, 19),
        (7.2, 237.0, 32),
        (7.8, 161.0, 20),
        (10.2, 240.0, 24),
        (10.2, 240.0, 240 / 10.2),
        10.2,
    ],
)
def price_of_an_image(answer):
    """Seconds with points and with outlines, and images with points for one with outlines."""
    points, outlines, images = expect_numbers(answer, 3)
    expect_number(
        points,
        10.2,
        tolerance=0.01,
        near={
            12.2: "a class with a point needs no tag ｜ 点过的类别不用再说有没有",
            7.2: "the absent classes cost a tag each ｜ 图中没有的类别，每类也要花一次判断的时间",
            7.8: "each region gets a point, not each class ｜ 每个区域点一次，不是每个类别点一次",
        },
    )
    expect_number(outlines, 240, tolerance=0.01)
    near = {24: "the last one would not be finished ｜ 最后一幅来不及标完"}
    expect_number(images, 23, near=near)


def _partial(logits: Tensor, labels: Tensor) -> Tensor:
    return CrossEntropyLoss()(logits[None], labels[None])


@exercise(
    2,
    wrong=[
        lambda logits, labels: _partial(logits, labels.masked_fill(labels == 255, 0)),
        lambda logits, labels: _partial(logits, labels) * (labels != 255).float().mean(),
        lambda logits, labels: _partial(logits, labels) * (labels != 255).sum(),
        lambda logits, labels: torch.nn.functional.cross_entropy(
            logits[None], labels[None], ignore_index=255
        ),
        1.0,
    ],
)
def partial_cross_entropy(answer):
    """Cross entropy of the labelled pixels, 0 without any."""
    logits = 2 * torch.randn(3, 4, 5, 6, generator=drawn(1))
    labels = torch.randint(0, 4, (3, 5, 6), generator=drawn(2))
    hidden = torch.rand(3, 5, 6, generator=drawn(3)) < torch.tensor([0.5, 0.9, 1.0])[:, None, None]
    hidden[:2, 0, 0] = False
    cases = list(zip(logits, labels.masked_fill(hidden, 255), strict=True))
    expect_function(answer, _partial, cases, tolerance=1e-5)


def _areas(boxes: list[tuple]) -> list[int]:
    return [(right - left) * (bottom - top) for left, top, right, bottom in boxes]


def _filled(boxes: list[tuple], labels: list[int], size: tuple[int, int]) -> Tensor:
    return _in_order(boxes, labels, size, lambda area: -area)


def _in_order(boxes, labels, size, key, empty=255, more=0) -> Tensor:
    mask = torch.full(size, empty)
    areas = _areas(boxes)
    for i in sorted(range(len(boxes)), key=lambda i: key(areas[i])):
        left, top, right, bottom = boxes[i]
        mask[top : bottom + more, left : right + more] = labels[i]
    return mask


@exercise(
    3,
    wrong=[
        lambda boxes, labels, size: _in_order(boxes, labels, size, lambda area: area),
        lambda boxes, labels, size: _in_order(boxes, labels, size, lambda area: 0),
        lambda boxes, labels, size: _in_order(boxes, labels, size, lambda area: -area, empty=0),
        lambda boxes, labels, size: _in_order(boxes, labels, size, lambda area: -area, more=1),
        lambda boxes, labels, size: _filled([(b, a, d, c) for a, b, c, d in boxes], labels, size),
        torch.zeros(6, 8),
    ],
)
def filled_boxes(answer):
    """A mask of boxes, the smaller on top."""
    start = torch.randint(0, 4, (5, 2), generator=drawn(4))
    cases = [
        ([(1, 1, 3, 3), (0, 0, 6, 4)], [2, 1], (6, 8)),
        ([(0, 3, 8, 6), (2, 1, 5, 5), (3, 2, 4, 4)], [0, 3, 5], (6, 8)),
        ([], [], (3, 2)),
    ]
    boxes = [(x, y, x + 2 + i, y + 1 + i) for i, (x, y) in enumerate(start.tolist())]
    cases.append((boxes[::-1][1:] + boxes[-1:], [4, 1, 0, 2, 3], (10, 12)))
    expect_function(answer, _filled, cases)


def _apart(p: Tensor, image: Tensor, sigma: float, halves: float = 2.0) -> Tensor:
    difference = image[:, 1:] - image[:, :-1]
    alike = torch.exp(-(difference**2) / (halves * sigma**2))
    return (alike * (1 - (p[..., 1:] * p[..., :-1]).sum(0))).mean()


@exercise(
    4,
    wrong=[
        lambda p, image, sigma: _apart(p, 0 * image, sigma),
        lambda p, image, sigma: _apart(p, image, sigma, 1.0),
        lambda p, image, sigma: _apart(p, image, sigma) * image[:, 1:].numel(),
        lambda p, image, sigma: _apart(p.mT, image.T, sigma),
        lambda p, image, sigma: 1 - _apart(p, image, sigma),
        0.1,
    ],
)
def pull_of_the_right_neighbour(answer):
    """Mean penalty of all pairs of a pixel and its right neighbour."""
    p = torch.randn(2, 3, 4, 5, generator=drawn(5)).softmax(1)
    image = torch.rand(2, 4, 5, generator=drawn(6))
    cases = [(p[0], image[0], 0.1), (p[1], image[1], 0.4)]
    expect_function(answer, _apart, cases, tolerance=1e-5)
