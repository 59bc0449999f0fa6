"""Checks of the exercises of *Better instances*."""

import math

import torch

from segedu import ops
from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)

KINDS = ("location", "class", "duplicate", "both")


@exercise(
    1,
    wrong=[
        ["class", "class", "duplicate", "both"],
        ["location", "class", "location", "both"],
        ["location", "class", "right", "both"],
        ["location", "class", "duplicate", "background"],
        ["location", "class", "duplicate"],
        "location",
    ],
)
def kinds_of_four_entries(answer):
    """Kinds of four wrong entries by their two IoUs."""
    near = {
        (0, "class"): "an IoU of 0.3 with its own class is looked at first ｜ "
        "先看与自己类别的 IoU：0.3",
        (
            2,
            "location",
        ): "an IoU of 0.62 is enough: its place is right ｜ IoU 为 0.62，位置已经够准",
        (2, "right"): "the text says that all four are wrong ｜ 题目说这四项都是错的",
        (3, "background"): "an IoU of 0.2 is more than 0.1 ｜ IoU 为 0.2，大于 0.1",
    }
    fits = isinstance(answer, list | tuple) and len(answer) == len(KINDS)
    expect(fits, "a list of four names is wanted ｜ 需要一个含四个名称的列表")
    for place, (found, right) in enumerate(zip(answer, KINDS, strict=True)):
        expect(found == right, near.get((place, found), _not_the_kind(place + 1)))


def _not_the_kind(number: int) -> str:
    return f"entry {number} is of another kind ｜ 第 {number} 项属于另一种错误"


@exercise(2, wrong=[0.8, 0.4, 0.9 * math.exp(-0.5), 0.8 * math.exp(-1), 0.9])
def softened_score(answer):
    """Score of a box after Gaussian Soft-NMS with one better box."""
    near = {
        0.4: "that is the linear form, 1 − IoU ｜ 那是线性形式 1 − IoU",
        0.9 * math.exp(-0.5): "the score 0.9 belongs to the better box, which keeps it ｜ "
        "0.9 是较好的那个框的得分，它保持不变",
        0.8 * math.exp(-1): "the IoU is squared ｜ IoU 要平方",
    }
    expect_number(answer, 0.8 * math.exp(-0.5), tolerance=0.002, near=near)


def softened(boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Scores after Gaussian Soft-NMS, in the order of the input."""
    iou, scores = ops.box_iou(boxes, boxes), scores.clone()
    waiting = torch.ones_like(scores, dtype=torch.bool)
    for _ in range(len(scores)):
        best = scores.masked_fill(~waiting, -1).argmax()
        waiting[best] = False
        scores[waiting] *= torch.exp(-(iou[best, waiting] ** 2) / 0.5)
    return scores


def _sorted_once(boxes, scores):
    iou, result = ops.box_iou(boxes, boxes), scores.clone()
    order = scores.argsort(descending=True)
    for place, best in enumerate(order):
        later = order[place + 1 :]
        result[later] *= torch.exp(-(iou[best, later] ** 2) / 0.5)
    return result


def _lowering_all(boxes, scores):
    iou, result = ops.box_iou(boxes, boxes).fill_diagonal_(0), scores.clone()
    for row in iou:
        result *= torch.exp(-(row**2) / 0.5)
    return result


def _crowd(seed: int, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes that overlap, and their scores."""
    corners = torch.rand(count, 2, generator=drawn(seed)) * 12
    sizes = 8 + 4 * torch.rand(count, 2, generator=drawn(seed + 1))
    scores = torch.linspace(0.95, 0.6, count)[torch.randperm(count, generator=drawn(seed + 2))]
    return torch.cat([corners, corners + sizes], 1), scores


@exercise(
    3,
    wrong=[
        _sorted_once,
        _lowering_all,
        lambda boxes, scores: scores,
        lambda boxes, scores: ops.soft_nms(boxes, scores)[1],
        lambda boxes, scores: None,
    ],
)
def soft_nms(answer):
    """Gaussian Soft-NMS that picks again in every round."""
    expect_function(answer, softened, [_crowd(seed) for seed in (0, 10, 20)], tolerance=1e-5)


def fast(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> list[int]:
    """Indices that Fast NMS keeps, best first."""
    order = scores.argsort(descending=True)
    iou = ops.box_iou(boxes[order], boxes[order]).triu(diagonal=1)
    return order[iou.amax(0) <= threshold].tolist()


def _both_ways(boxes, scores, threshold):
    iou = ops.box_iou(boxes, boxes).fill_diagonal_(0)
    order = scores.argsort(descending=True)
    return order[iou.amax(0)[order] <= threshold].tolist()


@exercise(
    4,
    wrong=[
        lambda boxes, scores, threshold: ops.nms(boxes, scores, threshold).tolist(),
        _both_ways,
        lambda boxes, scores, threshold: sorted(fast(boxes, scores, threshold)),
        lambda boxes, scores, threshold: None,
    ],
)
def fast_nms(answer):
    """Indices that Fast NMS keeps."""
    expect(
        callable(answer),
        f"a function is wanted, got {type(answer).__name__} ｜ "
        f"需要一个函数，得到的是 {type(answer).__name__}",
    )
    row = torch.tensor([[0.0, 0, 10, 24], [2.5, 0, 12.5, 24], [5, 0, 15, 24]])
    for boxes, scores in ((row, torch.tensor([0.7, 0.8, 0.9])), _crowd(30), _crowd(40, 12)):
        for threshold in (0.3, 0.5):
            found = answer(boxes.clone(), scores.clone(), threshold)
            expect(found is not None, NOTHING)
            found = [int(index) for index in found]
            right = fast(boxes, scores, threshold)
            messages = {
                tuple(ops.nms(boxes, scores, threshold).tolist()): "that is plain NMS: a box that "
                "is gone still removes others ｜ 那是普通的 NMS：已经去掉的框仍会去掉别的框",
                tuple(_both_ways(boxes, scores, threshold)): "only a box of higher score removes "
                "another ｜ 只有得分更高的框才能去掉别的框",
            }
            expect(
                found == right,
                messages.get(
                    tuple(found),
                    "the indices are not those that stay, best first ｜ "
                    "返回的下标不是按得分从高到低排列的保留者",
                ),
            )


@exercise(5, wrong=[(229, 229), (229, 2.29e4), (1.86e6, 229), (2.303, 1.865), 229])
def how_many_easy_ones(answer):
    """Easy background entries that weigh as much as one hard object, without and with focusing."""
    found = expect_numbers(answer, 2)
    right = _ratio(0), _ratio(2)
    expect(
        not _near(found, right[::-1]),
        "the order is: cross-entropy first ｜ 顺序是：交叉熵在前",
    )
    names = ("cross-entropy ｜ 交叉熵", "the focal loss ｜ 焦点损失")
    for value, wanted, name in zip(found, right, names, strict=True):
        english, chinese = name.split(" ｜ ")
        expect(
            _near((value,), (wanted,)),
            f"the number for {english} is not {value:g} ｜ {chinese}的个数不是 {value:g}",
        )


def _ratio(gamma: float) -> float:
    """Loss of an object of probability 0.1 over that of background of probability 0.01."""
    return 0.9**gamma * math.log(0.1) / (0.01**gamma * math.log(0.99))


def _near(found: tuple[float, ...], wanted: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= 0.01 * b for a, b in zip(found, wanted, strict=True))
