"""Checks of the exercises of *YOLACT: a mask is a sum of prototypes*."""

from math import isclose

import torch
from torch import Tensor
from torch.nn import functional as F

from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[32 * 138**2, 100 * 138**2, 100 * 32 * 138, 100 * 32])
def multiplications(answer):
    """Products of a coefficient and a pixel for 100 masks from 32 prototypes of 138 x 138."""
    near = {
        32 * 138**2: "that is one mask: there are 100 ｜ 那是一张掩膜：共有 100 张",
        100 * 138**2: "each mask adds up 32 prototypes ｜ 每张掩膜要把 32 张原型相加",
        100 * 32 * 138: "a prototype has 138 · 138 pixels ｜ 一张原型有 138 · 138 个像素",
    }
    expect_number(answer, 100 * 32 * 138**2, near=near)


CUPS = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
RIGHT_HALF = torch.tensor([[0.0, 0, 1, 1]] * 4)


@exercise(
    2, wrong=[[1, 1, 0], [0, 1, 0], [1, 1, 1], [1, -1, 0], [2, 2, -3], [0.5, 0.5, -1], [1, 1]]
)
def right_cup(answer):
    """Coefficients of cups, right half and everything that leave the right cup alone."""
    values = expect_numbers(answer, 3)
    expect(
        all(-1 <= value <= 1 for value in values),
        "a coefficient lies between −1 and 1 ｜ 系数应在 −1 与 1 之间",
    )
    total = values[0] * CUPS + values[1] * RIGHT_HALF + values[2]
    cup = (CUPS * RIGHT_HALF).bool()
    expect(
        bool((total[cup] > 1e-9).all()),
        "the right cup is not inside: its sums are not above 0 ｜ 右杯不在掩膜内：它的和不大于 0",
    )
    outside = int((total[~cup] > 1e-9).sum())
    expect(
        outside == 0,
        f"{outside} pixels too many are inside ｜ 掩膜多了 {outside} 个像素",
    )


def one_mask(prototypes: Tensor, coefficients: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """The mask of one object, cut at a sum of 0 and cropped to its box."""
    left, top, right, bottom = box
    inside = torch.zeros(prototypes.shape[1:], dtype=torch.bool)
    inside[top:bottom, left:right] = True
    return (torch.einsum("k,khw->hw", coefficients, prototypes) > 0) & inside


def _uncropped(prototypes, coefficients, box):
    return torch.einsum("k,khw->hw", coefficients, prototypes) > 0


def _box_cases() -> list[tuple[Tensor, Tensor, tuple[int, int, int, int]]]:
    generator = drawn(0)
    cases = []
    for box in ((1, 2, 5, 4), (0, 0, 3, 6), (2, 1, 7, 5)):
        prototypes = torch.rand(3, 6, 8, generator=generator).round(decimals=1)
        prototypes[:, :, 4] = 0  # where nothing is drawn the sum is exactly 0
        coefficients = torch.rand(3, generator=generator) * 2 - 1
        cases.append((prototypes, coefficients, box))
    return cases


@exercise(
    3,
    wrong=[
        _uncropped,
        lambda p, c, box: one_mask(p, c.abs(), box),
        lambda p, c, box: one_mask(p, c, (box[1], box[0], box[3], box[2])),
        lambda p, c, box: one_mask(p, c, (box[0], box[1], box[2] + 1, box[3] + 1)),
        lambda p, c, box: (torch.einsum("k,khw->hw", c, p) >= 0) & one_mask(p + 1, c.abs(), box),
        lambda p, c, box: None,
    ],
)
def a_mask(answer):
    """Sum of the prototypes above 0, inside the box."""
    for case in _box_cases() if callable(answer) else ():
        found = answer(*case)
        expect(found is not None, NOTHING)
        expect(
            not _same(found, _uncropped(*case)),
            "the mask is not cropped to the box ｜ 掩膜没有按框裁剪",
        )
        expect(
            not isinstance(found, Tensor) or found.dtype == torch.bool,
            "a mask of bool is wanted ｜ 掩膜应为 bool 类型",
        )
    expect_function(answer, one_mask, _box_cases())


def _same(found, wanted: Tensor) -> bool:
    return (
        isinstance(found, Tensor) and found.shape == wanted.shape and bool((found == wanted).all())
    )


def kept_by_fast_nms(iou: Tensor, threshold: float) -> list[int]:
    """What Fast NMS keeps of the boxes of one class, best first."""
    return (iou.triu(diagonal=1).amax(dim=0) <= threshold).nonzero()[:, 0].tolist()


def _kept_by_nms(iou, threshold):
    kept = []
    for index in range(len(iou)):
        if all(iou[index, other] <= threshold for other in kept):
            kept.append(index)
    return kept


def _kept_below(iou, threshold):
    return (iou.triu(diagonal=1).amax(dim=0) < threshold).nonzero()[:, 0].tolist()


@exercise(
    4,
    wrong=[
        _kept_by_nms,
        lambda iou, threshold: kept_by_fast_nms(iou.flip(0, 1), threshold),
        lambda iou, threshold: (iou.triu().amax(0) <= threshold).nonzero()[:, 0].tolist(),
        lambda iou, threshold: (iou.triu(1).amax(1) <= threshold).nonzero()[:, 0].tolist(),
        lambda iou, threshold: (iou.triu(1).amax(0) <= threshold).tolist(),
        _kept_below,
        lambda iou, threshold: None,
    ],
)
def fast_nms_of_a_class(answer):
    """Indices of the boxes that no better box overlaps, even one that is itself removed."""
    expect(
        callable(answer),
        f"a function is wanted, got {type(answer).__name__} ｜ "
        f"需要一个函数，得到的是 {type(answer).__name__}",
    )
    generator = drawn(0)
    row = torch.tensor([[1, 0.6, 0.33], [0.6, 1, 0.6], [0.33, 0.6, 1]])
    equal = torch.tensor([[1, 0.5, 0.25], [0.5, 1, 0.75], [0.25, 0.75, 1]])
    cases = [(row, 0.5), (row, 0.7), (equal, 0.5)]
    for count in (5, 8):
        iou = torch.rand(count, count, generator=generator) * 0.75
        cases.append((((iou + iou.T) / 2).fill_diagonal_(1), 0.55))
    for number, (iou, threshold) in enumerate(cases, start=1):
        found = answer(iou.clone(), threshold)
        expect(found is not None, NOTHING)
        found = [*map(int, torch.as_tensor(found).flatten().tolist())]
        right = kept_by_fast_nms(iou, threshold)
        expect(
            found == right or found != _kept_by_nms(iou, threshold),
            "that is the usual NMS: here a removed box still removes others ｜ "
            "那是普通的 NMS：这里，已被去掉的框仍能去掉别的框",
        )
        expect(
            found == right or found != _kept_below(iou, threshold),
            "an IoU that equals the threshold removes no box ｜ IoU 等于阈值时，不去掉框",
        )
        expect(
            found == right,
            f"on test input {number} it keeps {found} ｜ "
            f"对第 {number} 个测试输入，留下的是 {found}",
        )


def box_loss(logits: Tensor, target: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """Binary cross-entropy of the pixels inside the box, divided by its area."""
    left, top, right, bottom = box
    rows, columns = slice(top, bottom), slice(left, right)
    return F.binary_cross_entropy_with_logits(logits[rows, columns], target[rows, columns])


def _over_the_image(logits, target, box):
    return F.binary_cross_entropy_with_logits(logits, target)


def _after_a_sigmoid(logits, target, box):
    return box_loss(logits.sigmoid(), target, box)


def _undivided(logits, target, box):
    return box_loss(logits, target, box) * (box[2] - box[0]) * (box[3] - box[1])


@exercise(
    5,
    wrong=[
        _over_the_image,
        _after_a_sigmoid,
        lambda logits, target, box: box_loss(logits, target, (box[1], box[0], box[3], box[2])),
        _undivided,
        lambda logits, target, box: None,
    ],
)
def loss_in_the_box(answer):
    """YOLACT's mask loss of one object."""
    generator = drawn(0)
    cases = []
    for box in ((1, 2, 5, 4), (0, 0, 3, 6), (2, 1, 7, 5)):
        logits = torch.randn(6, 8, generator=generator)
        cases.append((logits, (torch.rand(6, 8, generator=generator) > 0.5).float(), box))
    for case in cases if callable(answer) else ():
        found = answer(*case)
        expect(found is not None, NOTHING)
        for wrong, message in (
            (_over_the_image, "only the pixels inside the box count ｜ 只计框内的像素"),
            (
                _after_a_sigmoid,
                "the loss takes logits, no sigmoid before it ｜ 损失接收 logit，之前不要做 sigmoid",
            ),
            (
                _undivided,
                "the sum is not divided by the area of the box ｜ 求和之后，没有除以框的面积",
            ),
        ):
            value = torch.as_tensor(found)
            same = value.numel() == 1 and isclose(value, wrong(*case), rel_tol=1e-5)
            expect(not same, message)
    expect_function(answer, box_loss, cases, tolerance=1e-5)
