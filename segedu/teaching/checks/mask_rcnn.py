"""Checks of the exercises of *Mask R-CNN: from the image to the masks*."""

import torch
from torch import Tensor
from torch.nn import functional as F

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[5456, 3 * 64**2, 15, 3 * 256**2])
def anchors_of_an_image(answer):
    """Anchors of an image of 256 x 256 on five levels, three at each place."""
    near = {
        5456: "those are the places: each has three anchors ｜ 那是位置的个数：每个位置有三个锚框",
        12288: "that is the finest level alone: add the other four ｜ "
        "那只是最细的一层：还要加上另外四层",
    }
    expect_number(answer, 16368, near=near)


@exercise(2, wrong=[[3, 2, 5], [8, 4, 64], [8, 8, 32], [4, 8, 32], [8, 4]])
def levels_of_boxes(answer):
    """Strides of the levels that three boxes are read from."""
    found = expect_numbers(answer, 3)
    known = {
        (3, 2, 5): "those are the levels k: the strides are wanted ｜ 那是层号 k：要的是步幅",
        (8, 4, 64): "results above 5 become 5 ｜ 大于 5 的结果取 5",
        (8, 8, 32): "the brackets round down: 2.5 becomes 2 ｜ 方括号是向下取整：2.5 取 2",
    }
    for wrong, message in known.items():
        expect(found != wrong, message)
    for number, (stride, right) in enumerate(zip(found, (8, 4, 32), strict=True), start=1):
        expect(
            stride == right,
            f"the stride of box {number} is not {stride:g} ｜ "
            f"第 {number} 个框的步幅不是 {stride:g}",
        )


def mask_loss(logits: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """Mean binary cross entropy of each box's own class."""
    own = logits[torch.arange(len(labels)), labels]
    return F.binary_cross_entropy_with_logits(own, wanted)


def _all_classes(logits, labels, wanted):
    every = wanted[:, None].expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, every)


def _two_sigmoids(logits, labels, wanted):
    return mask_loss(logits.sigmoid(), labels, wanted)


@exercise(
    3,
    wrong=[
        _all_classes,
        _two_sigmoids,
        lambda logits, labels, wanted: F.cross_entropy(
            logits, labels[:, None, None] * wanted.long()
        ),
        lambda logits, labels, wanted: mask_loss(logits, labels, wanted) * len(labels),
        lambda *case: None,
    ],
)
def loss_of_own_masks(answer):
    """The mask loss of Mask R-CNN."""
    generator = drawn(0)
    cases = []
    for boxes, classes, side in ((1, 2, 2), (3, 4, 2), (5, 6, 4)):
        logits = 2 * torch.randn(boxes, classes, side, side, generator=generator)
        labels = torch.randint(1, classes, (boxes,), generator=generator)
        wanted = torch.randint(0, 2, (boxes, side, side), generator=generator).float()
        cases.append((logits, labels, wanted))
    for case in cases if callable(answer) else ():
        found = answer(*case)
        if isinstance(found, Tensor) and found.ndim == 0:
            expect(
                not torch.isclose(found, _all_classes(*case)),
                "the masks of all classes are counted: take each box's own class ｜ "
                "所有类别的掩膜都算进去了：应取每个框自己的类别",
            )
            expect(
                not torch.isclose(found, _two_sigmoids(*case)),
                "the sigmoid is taken twice ｜ sigmoid 做了两次",
            )
    expect_function(answer, mask_loss, cases)


def cell(box, x: float, y: float) -> tuple[int, int]:
    """Row and column of the mask's cell in which a point of the image lies."""
    left, top, right, bottom = box
    return int((y - top) / (bottom - top) * 28), int((x - left) / (right - left) * 28)


@exercise(
    4,
    wrong=[
        lambda box, x, y: cell(box, x, y)[::-1],
        lambda box, x, y: (int(y * 28 / (box[3] - box[1])), int(x * 28 / (box[2] - box[0]))),
        lambda box, x, y: (int(y - box[1]), int(x - box[0])),
        lambda *case: None,
    ],
)
def cell_of_a_point(answer):
    """Where a point of the image lies in the mask of a box."""
    corners = torch.randint(0, 40, (4, 2), generator=drawn(0)).tolist()
    cases = [([10, 20, 66, 76], 11, 31), ([0, 0, 14, 56], 13.2, 3.1)]
    for left, top in corners:
        cases.append(([left, top, left + 35, top + 21], left + 30.2, top + 4.6))
    for box, x, y in cases if callable(answer) else ():
        found = answer(box, x, y)
        expect(
            found is None or tuple(found) != cell(box, x, y)[::-1] or found == found[::-1],
            "row and column are exchanged ｜ 行与列颠倒了",
        )
    expect_function(answer, cell, cases)
