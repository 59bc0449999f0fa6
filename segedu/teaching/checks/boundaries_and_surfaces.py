"""Checks of the exercises of *Boundaries and surfaces*."""

import importlib.util
import math

import torch
from torch import Tensor

from segedu.metrics import surface_distances
from segedu.teaching.checking import (
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
    cases = [
        (a, b, spacing)
        for (a, b), spacing in zip(_pairs(), ((1.0, 1.0), (3.0, 1.0), (0.7, 2.5)), strict=True)
    ]
    expect_function(answer, _assd, cases, tolerance=1e-4)


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
    cases = [(a, b, 1.0), (c, d, 0.0), (e, f, 2.0)]
    cases += [(empty, b, 1.0), (a, empty, 1.0), (empty, empty, 1.0)]
    expect_function(answer, _surface_dice, cases)


@exercise(5, wrong=[(42.5, 10.9), (37.9, 37.9), (10.9, 37.9), (10.9, 10.9), 10.9])
def official_programs(answer):
    """HD95 of a disc with seven stray pixels, by MedPy and by surface-distance."""
    tools = (("MedPy", "medpy", 10.894), ("surface-distance", "surface_distance", 42.544))
    expect(
        isinstance(answer, list | tuple) and len(answer) == 2,
        "two numbers are wanted, of MedPy and of surface-distance "
        "｜ 需要两个数：MedPy 的与 surface-distance 的",
    )
    for value, (name, module, right) in zip(answer, tools, strict=True):
        if value is None:
            expect(
                importlib.util.find_spec(module) is None,
                f"{name} is installed: None is not enough ｜ {name} 已经安装：不能填 None",
            )
        else:
            expect_number(
                value,
                right,
                tolerance=0.06,
                near={
                    37.855: "that is the definition max, MONAI's ｜ 那是 MONAI 的定义 max",
                    53.438 - right: f"the order is MedPy, surface-distance; {name} is wrong "
                    f"｜ 次序是 MedPy、surface-distance；{name} 的数不对",
                },
            )
