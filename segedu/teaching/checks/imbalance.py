"""Checks of the exercises of *Imbalance: what helps a rare class*."""

import math

import torch
from torch import Tensor

from segedu.teaching.checking import NOTHING, exercise, expect, expect_numbers, expect_tensor


@exercise(1, wrong=[[1, 0.1, 0.011], [1.111, 11.11, 111.1], [0.9, 0.09, 0.01], [1, 10], 90])
def inverse_weights(answer):
    """Inverse weights of three classes, relative to the first."""
    found = expect_numbers(answer, 3)
    expect(
        abs(found[0] - 1) < 1e-6,
        "divide by the weight of the first class, so that it becomes 1 ｜ "
        "要除以第一个类别的权重，使它成为 1",
    )
    expect(found[1] > 1, "a rarer class has a larger weight ｜ 类别越稀少，权重越大")
    expect_tensor(found, [1.0, 10.0, 90.0], tolerance=0.01)


@exercise(2, wrong=[(0.6, 0.75, 0.5), (0.75, 0.5, 3 / 7), (0.5, 0.75, 0.5), (0.5, 0.75), 0.5])
def another_offset(answer):
    """Precision, recall and IoU of ten pixels with the offset 1.5."""
    found = expect_numbers(answer, 3)
    expect(
        abs(found[0] - 0.6) > 1e-3,
        "with the offset 1.5 six pixels are called person ｜ 偏移量为 1.5 时，有六个像素判为行人",
    )
    expect(
        not (abs(found[0] - 0.75) < 1e-3 and abs(found[1] - 0.5) < 1e-3),
        "precision and recall are exchanged ｜ 精确率与召回率颠倒了",
    )
    expect(
        abs(found[2] - 0.5) > 1e-3,
        "the union holds the six called pixels and the missed one ｜ "
        "并集包含判为行人的六个像素和漏掉的一个",
    )
    expect_tensor(found, [3 / 6, 3 / 4, 3 / 7], tolerance=2e-3)


@exercise(3, wrong=[(50, math.log(50)), (49, math.log10(49)), (49, -math.log(49)), (49, 49), 49])
def one_in_fifty(answer):
    """The weight that makes one pixel of fifty as probable as not, and the offset."""
    weight, offset = expect_numbers(answer, 2)
    expect(
        abs(weight - 50) > 1e-6,
        "one pixel is person and 49 are not ｜ 一个像素是行人，49 个不是",
    )
    expect(
        abs(offset - math.log10(49)) > 0.01,
        "that is the logarithm to base 10; take the natural one ｜ "
        "那是以 10 为底的对数；要用自然对数",
    )
    expect(offset > 0, "the offset must raise the logit of person ｜ 偏移量应使行人的 logit 值变大")
    expect_tensor([weight, offset], [49.0, math.log(49)], tolerance=0.01)


def weighted_mean(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of logits (P, C), pixels of 255 left out."""
    kept = target != 255
    target = target[kept]
    log_p = logits[kept].log_softmax(1).gather(1, target[:, None])[:, 0]
    return (weights[target] * -log_p).sum() / weights[target].sum()


def _by_pixels(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    kept = target != 255
    return weighted_mean(logits, target, weights) * weights[target[kept]].mean()


def _with_ignored(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    return weighted_mean(logits, torch.where(target == 255, 0, target), weights)


@exercise(
    4,
    wrong=[
        _by_pixels,
        _with_ignored,
        lambda *given: weighted_mean(*given[:2], torch.ones(3)),
        lambda logits, target, weights: weighted_mean(logits, target, weights.sqrt()),
        lambda *given: None,
        3,
    ],
)
def weighted_cross_entropy(answer):
    """Weighted cross-entropy with ignored pixels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 3, generator=generator)
    target = torch.tensor([0, 0, 0, 1, 255, 2, 1, 255])
    weights = torch.tensor([1.0, 2.0, 6.0])
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    found = answer(logits, target, weights)
    expect(found is not None, NOTHING)
    known = {
        "divide by the sum of the weights, not by the number of pixels ｜ "
        "应除以权重之和，而不是像素数": _by_pixels,
        "pixels with the label 255 must not count ｜ 标签为 255 的像素不能计入": _with_ignored,
    }
    for message, wrong in known.items():
        value = wrong(logits, target, weights)
        expect(not torch.isclose(torch.as_tensor(found).float(), value), message)
    expect_tensor(found, weighted_mean(logits, target, weights), tolerance=1e-5)


def largest_iou(margin: Tensor, there: Tensor) -> Tensor:
    """The largest IoU over all thresholds of a margin (P,)."""
    there = there[margin.argsort(descending=True)]
    hits = there.cumsum(0)
    called = torch.arange(1, len(hits) + 1)
    return (hits / (called + there.sum() - hits)).max()


@exercise(
    5,
    wrong=[
        lambda margin, there: (margin > 0).logical_and(there).sum() / (margin > 0).sum(),
        lambda margin, there: ((margin > 0) & there).sum() / ((margin > 0) | there).sum(),
        lambda margin, there: largest_iou(-margin, there),
        lambda margin, there: there.float().mean(),
        lambda margin, there: None,
        0.6,
    ],
)
def best_of_all_offsets(answer):
    """The largest IoU that a moved threshold reaches."""
    margin = torch.tensor([-0.3, 2.0, -4.2, 0.4, -1.1, 1.2, -1.9, -0.8, -2.5, -3.0])
    there = torch.tensor([1, 1, 0, 0, 0, 1, 1, 0, 0, 0]).bool()
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    for case in ((margin, there), (margin, ~there), (-margin, there)):
        found = answer(*case)
        expect(found is not None, NOTHING)
        at_zero = ((case[0] > 0) & case[1]).sum() / ((case[0] > 0) | case[1]).sum()
        expect(
            not torch.isclose(torch.as_tensor(found).float(), at_zero),
            "that is the IoU without an offset ｜ 那是没有偏移量时的 IoU",
        )
        expect_tensor(found, largest_iou(*case), tolerance=1e-5)
