"""Checks of the exercises of *Boundaries and surfaces*."""

import math

import torch
from torch import Tensor

from segedu.metrics import surface_distances
from segedu.teaching.checking import (
    NOTHING,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[(2, 1.5, 1.0), (2, 2, 0.5), (1, 1.5, 0.5), (2, 1.5, 0), (2, 1.5), 2])
def two_squares(answer):
    """Hausdorff distance, ASSD and surface Dice of two squares side by side."""
    hausdorff, average, near = expect_numbers(answer, 3)
    expect(
        hausdorff == 2,
        "the Hausdorff distance is the largest of the eight distances, not "
        f"{hausdorff:g} ｜ 豪斯多夫距离是八个距离中最大的，不是 {hausdorff:g}",
    )
    expect(
        abs(average - 1.5) < 1e-6,
        "the ASSD is the mean of all eight distances: four are 1 and four are 2 "
        "｜ ASSD 是全部八个距离的平均值：四个是 1，四个是 2",
    )
    expect(
        abs(near - 0.5) < 1e-6,
        "the surface Dice is the share of the eight distances that are at most 1 "
        "｜ 表面 Dice 是八个距离中不超过 1 的比例",
    )


@exercise(2, wrong=[(5, 10), (6, 10), (5, 11), (11, 6), (5, 5), 6])
def unseen_strays(answer):
    """The number of strays from which two kinds of HD95 are above 0."""
    found = expect_numbers(answer, 2)
    expect(found != (11, 6), "the order is max, pooled ｜ 次序是 max、pooled")
    for number, right, name, others in zip(
        found, (6, 11), ("max", "pooled"), (100, 200), strict=True
    ):
        expect(
            number == right,
            f"{number:g} for {name} is not right: with {others} + k distances, place "
            f"0.95 ({others - 1} + k) must lie beyond {others - 1}, the last 0 "
            f"｜ {name} 的 {number:g} 不对：共有 {others} + k 个距离，位置 "
            f"0.95 ({others - 1} + k) 必须超过最后一个 0 的编号 {others - 1}",
        )


def _pairs() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.rand(2, 9, 7, generator=generator) > 0.7) for _ in range(3)]


def _assd(a: Tensor, b: Tensor, spacing: tuple[float, float]) -> float:
    return surface_distances(a, b, spacing).average()


def _mean_of_means(a: Tensor, b: Tensor, spacing: tuple[float, float]) -> float:
    d = surface_distances(a, b, spacing)
    return float(d.pred_to_target.mean() + d.target_to_pred.mean()) / 2


@exercise(
    3,
    wrong=[
        lambda a, b, spacing: surface_distances(a, b).average(),
        lambda a, b, spacing: surface_distances(a, b).average() * spacing[0],
        lambda a, b, spacing: surface_distances(a, b, spacing).hausdorff(),
        lambda a, b, spacing: surface_distances(a, b, spacing[::-1]).average(),
        _mean_of_means,
        lambda a, b, spacing: None,
    ],
)
def assd_in_millimetres(answer):
    """Average symmetric surface distance where pixels are not square."""
    expect_function(answer, _assd, [])  # is it one at all?
    for (a, b), spacing in zip(_pairs(), ((1.0, 1.0), (3.0, 1.0), (0.7, 2.5)), strict=True):
        found = answer(a, b, spacing)
        expect(found is not None, NOTHING)
        expect_number(
            found,
            _assd(a, b, spacing),
            tolerance=1e-4,
            near={
                _mean_of_means(a, b, spacing): "that is the mean of the two directed means; put "
                "the distances of both directions together and average once "
                "｜ 这是两个方向平均值的平均；应把两个方向的距离合在一起，只平均一次",
                _assd(a, b, (1.0, 1.0)): "that is the distance in pixels: the spacing is not used "
                "｜ 这是以像素计的距离：没有用到 spacing",
                _assd(a, b, spacing[::-1]): "the spacings are swapped: the first is between rows, "
                "the second between columns ｜ 两个间距用反了：前一个是行距，后一个是列距",
                surface_distances(a, b, spacing).hausdorff(): "that is the largest distance, not "
                "the mean ｜ 这是最大的距离，不是平均值",
            },
        )


def _surface_dice(prediction: Tensor, truth: Tensor, tolerance: float) -> float:
    there = bool(prediction.any()), bool(truth.any())
    if not any(there):
        return float("nan")
    return surface_distances(prediction, truth).dice(tolerance) if all(there) else 0.0


def _zero_for_two_empty(prediction: Tensor, truth: Tensor, tolerance: float) -> float:
    value = _surface_dice(prediction, truth, tolerance)
    return 0.0 if math.isnan(value) else value


def _one_for_two_empty(prediction: Tensor, truth: Tensor, tolerance: float) -> float:
    value = _surface_dice(prediction, truth, tolerance)
    return 1.0 if math.isnan(value) else value


@exercise(
    4,
    wrong=[
        lambda p, t, tolerance: surface_distances(p, t).dice(tolerance),
        lambda p, t, tolerance: _surface_dice(p, t, 0.0),
        lambda p, t, tolerance: 1 - _surface_dice(p, t, tolerance),
        _zero_for_two_empty,
        _one_for_two_empty,
        lambda p, t, tolerance: None,
    ],
)
def surface_dice_with_a_rule(answer):
    """Surface Dice, 0 where one mask is empty and NaN where both are."""
    empty = torch.zeros(9, 7, dtype=torch.bool)
    (a, b), (c, d), (e, f) = _pairs()
    expect_function(answer, _surface_dice, [(a, b, 1.0), (c, d, 0.0), (e, f, 2.0)])
    for prediction, truth, which in (
        (empty, b, "the prediction is empty ｜ 预测为空"),
        (a, empty, "the truth is empty ｜ 真值为空"),
        (empty, empty, "both masks are empty ｜ 两个掩膜都为空"),
    ):
        right = _surface_dice(prediction, truth, 1.0)
        english, chinese = which.split(" ｜ ")
        try:
            found = float(answer(prediction, truth, 1.0))
        except (TypeError, ValueError):
            found = None
        expect(
            found is not None,
            f"no number comes back where {english}: look at that case first "
            f"｜ {chinese}时没有得到数：请先处理这种情况",
        )
        expect(
            found == right or (math.isnan(right) and math.isnan(found)),
            f"where {english}, {right:g} is due, not {found:g} "
            f"｜ {chinese}时应返回 {right:g}，得到的是 {found:g}",
        )


@exercise(
    5,
    wrong=[
        (43.4, 36.5),
        (40.3, 40.3),
        (36.5, 40.3),
        (36.5, 36.5),
        (10.9, 42.5),
        (36.5, None),
        36.5,
    ],
)
def two_packages(answer):
    """HD95 of a disc with nine stray pixels, by MedPy and by surface-distance."""
    found = expect_numbers(answer, 2)
    rights = {"MedPy": 36.548, "surface-distance": 43.417}
    swapped = reversed(rights.values())
    for value, (name, right), other in zip(found, rights.items(), swapped, strict=True):
        expect_number(
            value,
            right,
            tolerance=0.06,
            near={
                40.311: "that is the definition max, MONAI's ｜ 那是 MONAI 的定义 max",
                other: f"the order is MedPy, surface-distance; {name} is wrong "
                f"｜ 次序是 MedPy、surface-distance；{name} 的数不对",
                10.866: _SEVEN,
                42.544: _SEVEN,
            },
        )


_SEVEN = "that is for seven strays; nine are wanted ｜ 那是七个离群像素的数；这里要九个"
