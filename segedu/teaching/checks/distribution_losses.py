"""Checks of the exercises of *Distribution losses*."""

import math

import torch
from torch import Tensor

from segedu.teaching.checking import NOTHING, drawn, exercise, expect, expect_number, expect_numbers


@exercise(
    1,
    wrong=[
        [-0.8, -0.75, -0.898],
        [0.8, 0.75, 0.64],
        [0.8, 0.7, 0.898],
        [0.2, 0.75, 0.898],
        [0.8, 0.75],
        0.8,
    ],
)
def three_pulls(answer):
    """Pulls of cross-entropy, label smoothing and focal loss at p = 0.2."""
    plain, smoothed, focal = expect_numbers(answer, 3)
    expect(
        not (plain < 0 and smoothed < 0 and focal < 0),
        "these are the gradients: the pull is minus the gradient ｜ 这些是梯度：拉力是负的梯度",
    )
    expect_number(plain, 0.8, tolerance=6e-4)
    near = {
        0.70: "smoothing wants 1 − ε + ε/C, not 1 − ε ｜ 平滑的目标是 1 − ε + ε/C，不是 1 − ε",
    }
    expect_number(smoothed, 0.75, tolerance=6e-4, near=near)
    near = {
        0.64: "that is only part 1 of the pull: the factor depends on the score, too ｜ "
        "那只是拉力的第 1 部分：因子也随得分变化",
    }
    expect_number(focal, 0.8 * (0.8 - 0.2 * math.log(0.2)), tolerance=6e-4, near=near)


@exercise(2, wrong=[0.0, 0.2, 0.15])
def eight_pixels(answer):
    """ECE of eight pixels in two bins."""
    near = {
        0.0: "that is one bin: the two bins must not cancel ｜ 那是只用一组：两组不能互相抵消",
        0.2: "each bin counts with its share of the pixels ｜ 每组要按像素的比例加权",
    }
    expect_number(answer, 0.1, tolerance=1e-6, near=near)


def _focal_pull(p: float) -> float:
    """Pull of focal loss with gamma 2."""
    return (1 - p) ** 2 * (1 - p - 2 * p * math.log(p))


@exercise(3, wrong=[0.7, 0.094, 0.927, 0.3, [0.7, 0.906]])
def share_at_the_balance(answer):
    """Share of class 1 where focal loss with gamma 2 balances at p = 0.7."""
    up, down = _focal_pull(0.7), _focal_pull(0.3)
    near = {
        0.7: "that is p = s, the balance of cross-entropy ｜ 那是 p = s，即交叉熵的平衡点",
        up / (up + down): "that is the share of class 2 ｜ 那是类别 2 的比例",
        0.7**3 / (0.7**3 + 0.3**3): "that uses only part 1 of the pull ｜ 那只用了拉力的第 1 部分",
    }
    expect_number(answer, down / (up + down), tolerance=6e-4, near=near)


def ece(confidence: Tensor, right: Tensor, num_bins: int, *, signed: bool = False) -> float:
    """Expected calibration error; ``signed`` lets the bins cancel."""
    total = 0.0
    for n in range(num_bins):
        inside = (confidence > n / num_bins) & (confidence <= (n + 1) / num_bins)
        if inside.any():
            gap = right[inside].float().mean() - confidence[inside].mean()
            total += inside.float().mean().item() * (gap if signed else gap.abs()).item()
    return abs(total)


def _unweighted(confidence: Tensor, right: Tensor, num_bins: int) -> float:
    bins = (confidence * num_bins).ceil()
    gaps = [(right[bins == b].float().mean() - confidence[bins == b].mean()).abs()
            for b in bins.unique()]  # fmt: skip
    return float(sum(gaps) / len(gaps))


def _upper(confidence: Tensor, right: Tensor, num_bins: int) -> float:
    """A value on an edge in the higher bin."""
    return ece(confidence + 1e-6, right, num_bins)


@exercise(
    4,
    wrong=[
        lambda confidence, right, bins: ece(confidence, right, bins, signed=True),
        _unweighted,
        lambda confidence, right, bins: ece(confidence, right, 1),
        _upper,
        lambda confidence, right, bins: float("nan"),
        lambda confidence, right, bins: None,
    ],
)
def calibration_error(answer):
    """ECE of pixels with equal bins."""
    generator = drawn(0)
    confidence = 0.3 + 0.7 * torch.rand(50, generator=generator)
    right = (torch.rand(50, generator=generator) < 0.6).long()
    found = answer(confidence, right, 5)
    expect(found is not None, NOTHING)
    near = {
        ece(confidence, right, 5, signed=True): "take the distance in each bin, or the bins cancel "
        "｜ 要在每组中取绝对值，否则各组会互相抵消",
        _unweighted(confidence, right, 5): "weigh each bin by its share of the pixels ｜ "
        "每组要按所占像素的比例加权",
    }
    for bins in (5, 10):
        found = answer(confidence, right, bins)
        expect(not math.isnan(found), "an empty bin must be skipped ｜ 空的组要跳过")
        expect_number(found, ece(confidence, right, bins),
                      tolerance=1e-5, near=near)  # fmt: skip
    edge, right = torch.tensor([0.5, 0.3, 1.0]), torch.tensor([1, 0, 0])
    near = {
        0.8 / 3: "0.5 lies on an edge and belongs to the lower bin ｜ 0.5 在分界上，应归入较低的组"
    }
    expect_number(answer(edge, right, 2), 0.4, tolerance=1e-5, near=near)
