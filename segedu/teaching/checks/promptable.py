"""Checks of the exercises of *One click*."""

from collections.abc import Sequence

import torch
from scipy import ndimage
from torch import Tensor

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(
    1,
    wrong=[(2, 1, 1), (1, 2, 0), (4, 3, 0), (5, 3, 0), (0, 2, 1), (1, 2), 1],
)
def next_click(answer):
    """x, y and label of the click into the deepest error."""
    x, y, label = expect_numbers(answer, 3)
    expect_number(
        x,
        1,
        near={
            2: "x is the column, y the row ｜ x 是列，y 是行",
            4: "the larger error is not the deeper one ｜ 面积大的错误不一定深",
            5: "the larger error is not the deeper one ｜ 面积大的错误不一定深",
            0: "outside of the image is outside of the error ｜ 图像之外也算错误之外",
        },
    )
    expect_number(y, 2)
    expect_number(label, 1, near={0: "these pixels are missing ｜ 这些像素是漏掉的"})


def _noc(ious: Tensor, target: float) -> Tensor:
    """Mean number of clicks, and share of failures; ``ious`` (P, K)."""
    return _counted(ious, target, ious.shape[1])


def _counted(ious: Tensor, target: float, of_failures: int, start: int = 1) -> Tensor:
    reached = ious >= target
    numbers = torch.where(reached.any(1), reached.int().argmax(1) + start, of_failures)
    return torch.stack([numbers.double().mean(), (~reached.any(1)).double().mean()])


@exercise(
    2,
    wrong=[
        lambda ious, target: _counted(ious, target, ious.shape[1] + 1),
        lambda ious, target: _counted(ious, target, 0),
        lambda ious, target: _counted(ious, target, ious.shape[1], start=0),
        lambda ious, target: _noc(ious - 1e-6, target),
        lambda ious, target: _noc(ious[(ious >= target).any(1)], target),
        lambda ious, target: _noc(ious.flip(1).cummin(1).values.flip(1), target),
        lambda ious, target: _noc(ious, target) * torch.tensor([1, len(ious)]),
        lambda ious, target: _noc(ious, target)[:1],
        3.0,
    ],
)
def clicks_and_failures(answer):
    """Mean number of clicks to an IoU, and the share of objects that never reach it."""
    first = torch.tensor([[0.5, 0.875, 0.75], [0.25, 0.5, 0.75], [0.875, 0.5, 0.5]])
    second = torch.rand(7, 6, generator=drawn(1))
    cases = [(first, 0.875), (second, 0.8), (second, 0.5), (first[1:2], 0.9)]
    expect_function(answer, _noc, cases)


def _ious(masks: Tensor, wanted: Tensor) -> Tensor:
    return (masks & wanted).sum((1, 2)) / (masks | wanted).sum((1, 2))


def _lost(masks: Tensor, estimates: Tensor, wanted: Tensor) -> float:
    ious = _ious(masks, wanted)
    return float(ious.max() - ious[estimates.argmax()])


@exercise(
    3,
    wrong=[
        lambda masks, estimates, wanted: float(_ious(masks, wanted)[estimates.argmax()]),
        lambda masks, estimates, wanted: float(_ious(masks, wanted).max()),
        lambda masks, estimates, wanted: float(_ious(masks, wanted).max() - estimates.max()),
        lambda masks, estimates, wanted: -_lost(masks, estimates, wanted),
        lambda masks, estimates, wanted: _lost(masks, -estimates, wanted),
        lambda masks, estimates, wanted: 0.0,
        0.1,
    ],
)
def lost_by_the_choice(answer):
    """The best IoU of several masks less that of the one with the highest estimate."""
    masks = torch.rand(3, 3, 5, 6, generator=drawn(3)) < 0.5
    estimates = torch.rand(3, 3, generator=drawn(4))
    wanted = masks[:, 1] ^ (torch.rand(3, 5, 6, generator=drawn(5)) < 0.1)
    estimates[0, 0], estimates[1, 2], estimates[2, 1] = 2.0, 2.0, 2.0
    expect_function(answer, _lost, list(zip(masks, estimates, wanted, strict=True)), tolerance=1e-5)


Points = Sequence[tuple[int, int]]


def _region(classes: Tensor, x: int, y: int) -> Tensor:
    numbers = torch.from_numpy(ndimage.label((classes == classes[y, x]).numpy())[0])
    return numbers == numbers[y, x]


def _distance(classes: Tensor, x: int, y: int) -> Tensor:
    rows, columns = torch.meshgrid(*map(torch.arange, classes.shape), indexing="ij")
    return torch.hypot((columns - x).double(), (rows - y).double())


def _meant(classes: Tensor, points: Points, labels: Sequence[int], region=_region) -> Tensor:
    found = torch.zeros(classes.shape, dtype=torch.bool)
    nearest = torch.full(classes.shape, torch.inf, dtype=torch.float64)
    for (x, y), label in zip(points, labels, strict=True):
        distance = _distance(classes, x, y)
        closer = region(classes, x, y) & (distance < nearest)
        nearest[closer], found[closer] = distance[closer], bool(label)
    return found


def _in_turn(classes: Tensor, points: Points, labels: Sequence[int]) -> Tensor:
    """The last click decides."""
    found = torch.zeros(classes.shape, dtype=torch.bool)
    for (x, y), label in zip(points, labels, strict=True):
        found[_region(classes, x, y)] = bool(label)
    return found


@exercise(
    4,
    wrong=[
        _in_turn,
        lambda classes, points, labels: _meant(classes, points[:1], labels[:1]),
        lambda classes, points, labels: _meant(classes, points, [1] * len(points)),
        lambda classes, points, labels: _meant(
            classes, points, labels, lambda classes, x, y: classes == classes[y, x]
        ),
        lambda classes, points, labels: _meant(
            classes, points, labels, lambda classes, x, y: torch.ones_like(classes).bool()
        ),
        lambda classes, points, labels: ~_meant(classes, points, labels),
        torch.zeros(4, 6),
    ],
)
def nearest_click_decides(answer):
    """What positive and negative clicks on a map of classes mean together."""
    classes = torch.tensor(
        [[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [2, 2, 2, 2, 1, 1], [1, 1, 2, 2, 1, 1]]
    )
    cases = [
        (classes, [(4, 1)], [1]),
        (classes, [(2, 1), (5, 3)], [1, 0]),
        (classes, [(5, 3), (2, 1), (0, 3)], [0, 1, 1]),
        (classes, [(0, 0), (3, 3), (0, 2)], [1, 1, 0]),
    ]
    for seed in range(3):
        others = torch.randint(3, (4, 6), generator=drawn(seed))
        x, y = torch.randint(4, (2,), generator=drawn(9 + seed)).tolist()
        cases.append((others, [(x, y), (5 - x % 2, y)], [1, seed % 2]))
    # A pixel as near to two clicks belongs to either: no such pixel is in these cases. In those
    # that are drawn y is the same and one x odd, the other even, so the distances always differ.
    expect_function(answer, _meant, cases)
