"""Checks of the exercises of *Real data sets*."""

import numpy as np
import torch

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)

RUNS = (0, 2, 2, 2, 3)


@exercise(1, wrong=[[2, 2, 2, 3], [0, 1, 2, 2, 2, 1, 1], [0, 2, 2, 2, 2]])
def runs(answer):
    """Run lengths of a 3×3 mask."""
    expect(
        list(answer)[:1] == [0] if isinstance(answer, list | tuple) else True,
        "the list begins with the number of zeros, which is 0 here ｜ "
        "列表从 0 的个数开始，这里是 0",
    )
    expect(
        expect_numbers(answer, len(RUNS)) == RUNS,
        "go down the columns: 1 1 0, then 0 1 1, then 0 0 0 ｜ 沿列向下读：1 1 0、0 1 1、0 0 0",
    )


@exercise(
    2,
    wrong=[
        lambda colors: colors[..., 0].astype(int),
        lambda colors: colors.astype(int) @ np.array([65536, 256, 1]),
        lambda colors: colors[..., 0] + colors[..., 1] * np.uint8(0) + colors[..., 2],
    ],
)
def ids_of_colors(answer):
    """Segment ids from the colours of COCO's panoptic files."""
    colors = torch.randint(256, (2, 3, 4, 3), generator=drawn(0)).numpy().astype(np.uint8)
    expect_function(
        answer, lambda c: c.astype(np.int64) @ np.array([1, 256, 65536]), [(c,) for c in colors]
    )


def _in_place(mask, numbers):
    mask = mask.clone()
    for new, old in enumerate(numbers):
        mask[mask == old] = new
    return mask


@exercise(3, wrong=[_in_place, lambda mask, numbers: mask])
def renumber(answer):
    """Class numbers with gaps become 0, 1, 2, …; all others 255."""

    def reference(mask, numbers):
        table = torch.full((256,), 255)
        table[torch.tensor(numbers)] = torch.arange(len(numbers))
        return table[mask]

    mask = torch.randint(10, (4, 5), generator=drawn(0))
    expect_function(answer, reference, [(mask, [1, 2, 4, 7]), (mask, [3, 5]), (mask, [0, 9])])


@exercise(4, wrong=[12, 14, 0.75])
def side(answer):
    """The side from which one pixel leaves an IoU of 0.75."""
    expect_number(
        answer,
        13,
        near={12: "at 12 the IoU is still below 0.75 ｜ 边长 12 时 IoU 仍低于 0.75"},
    )


@exercise(
    5,
    wrong=[
        lambda labels, chances: chances[torch.arange(len(labels)), labels].argsort(),
        lambda labels, chances: chances.amax(1).argsort(descending=True),
    ],
)
def to_check(answer):
    """Objects in the order of suspicion."""

    def reference(labels, chances):
        rows = torch.arange(len(labels))
        others = chances.clone()
        others[rows, labels] = 0
        return (others.amax(1) - chances[rows, labels]).argsort(descending=True)

    generator = drawn(0)
    cases = []
    for objects, classes in ((6, 4), (9, 3)):
        chances = torch.rand(objects, classes, generator=generator)
        labels = torch.randint(classes, (objects,), generator=generator)
        cases.append((labels, chances / chances.sum(1, keepdim=True)))
    expect_function(answer, reference, cases)
