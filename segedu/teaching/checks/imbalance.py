"""Checks of the exercises of *Imbalance: what helps a rare class*."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
    expect_tensor,
)


@exercise(1, wrong=[("B", "A"), ("A", "C"), ("C", "B"), ("A",), "A", ("A", "A"), (1, 2), 3])
def taught_or_moved(answer):
    """The trick that seems to move only the threshold, and the one that seems to teach."""
    letters = isinstance(answer, tuple | list) and all(isinstance(x, str) for x in answer)
    expect(letters and len(answer) == 2, "two letters are wanted ｜ 需要两个字母")
    moved, taught = (letter.strip().upper() for letter in answer)
    expect(
        (moved, taught) != ("B", "A"),
        "the order is: moved only, then taught ｜ 顺序是：先写只移动阈值的，再写学会的",
    )
    expect(
        moved == "A",
        "a moved threshold changes precision and recall, but not the AP ｜ "
        "移动阈值会改变精确率与召回率，但不改变 AP",
    )
    expect(taught == "B", "a trick that teaches raises the AP ｜ 能让网络学会的技巧会提高 AP")


@exercise(2, wrong=[(50, math.log(50)), (49, math.log10(49)), (49, -math.log(49)), (49, 49), 49])
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
    expect_number(weight, 49)
    expect(
        abs(offset - math.log(49)) <= 0.01,
        "the offset is the natural logarithm of the weight ｜ 偏移量是权重的自然对数",
    )


def weighted_mean(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of logits (P, C), pixels of 255 left out."""
    kept = target != 255
    target = target[kept]
    log_p = logits[kept].log_softmax(1).gather(1, target[:, None])[:, 0]
    return (weights[target] * -log_p).sum() / weights[target].sum()


def _by_pixels(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    kept = target != 255
    return weighted_mean(logits, target, weights) * weights[target[kept]].mean()


def _ignored_in_the_sum(label: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Only the loss of ignored pixels is 0: the sum of the weights holds that of ``label``."""

    def mean(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        kept = weights[target[target != 255]].sum()
        ignored = (target == 255).sum() * weights[label]
        return weighted_mean(logits, target, weights) * kept / (kept + ignored)

    return mean


def _unweighted(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    return weighted_mean(logits, target, torch.ones_like(weights))


def _with_ignored(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    return weighted_mean(logits, torch.where(target == 255, 0, target), weights)


@exercise(
    3,
    wrong=[
        _by_pixels,
        _with_ignored,
        _ignored_in_the_sum(0),
        _ignored_in_the_sum(2),
        _unweighted,
        lambda logits, target, weights: weighted_mean(logits, target, weights.sqrt()),
        lambda *given: None,
        3,
    ],
)
def weighted_cross_entropy(answer):
    """Weighted cross-entropy with ignored pixels."""
    generator = drawn(0)
    logits = torch.randn(8, 3, generator=generator)
    target = torch.tensor([0, 0, 0, 1, 255, 2, 1, 255])
    weights = torch.tensor([1.0, 2.0, 6.0])
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    found = answer(logits, target, weights)
    expect(found is not None, NOTHING)
    in_the_sum = (
        "ignored pixels must leave the sum of the weights, too ｜ 权重之和中也要去掉忽略像素"
    )
    for wrong, message in (
        (
            _by_pixels,
            "divide by the sum of the weights, not by the number of pixels ｜ "
            "应除以权重之和，而不是像素数",
        ),
        (
            _with_ignored,
            "pixels with the label 255 must not count ｜ 标签为 255 的像素不能计入",
        ),
        (_unweighted, "the weights have no effect yet ｜ 权重还没有起作用"),
        *((_ignored_in_the_sum(label), in_the_sum) for label in range(3)),
    ):
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
    4,
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
    margin = torch.tensor([0.7, 3.0, -3.2, 1.4, -0.1, 2.2, -0.9, 0.2, -1.5, -2.0])
    there = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0, 0, 1]).bool()
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    found = answer(margin, there)
    expect(found is not None, NOTHING)
    at_zero = ((margin > 0) & there).sum() / ((margin > 0) | there).sum()
    for value, message in (
        (at_zero, "that is the IoU without an offset ｜ 那是没有偏移量时的 IoU"),
        (
            largest_iou(-margin, there),
            "sort by the margin, largest first ｜ 要按余量从大到小排序",
        ),
    ):
        expect(not torch.isclose(torch.as_tensor(found).float(), value), message)
    expect_number(found, largest_iou(margin, there).item(), tolerance=1e-5)
    generator = drawn(0)
    more = torch.randn(20, generator=generator), torch.rand(20, generator=generator) < 0.4
    cases = [(margin, there), (margin, ~there), (-margin, there), more]
    expect_function(answer, largest_iou, cases, tolerance=1e-5)
