"""Checks of the exercises of *Boundaries and surfaces*."""

import torch
from torch import Tensor

from segedu.metrics import surface_distances
from segedu.teaching.checking import (
    NOTHING,
    drawn,
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
        "the ASSD is the mean of all eight distances, four from each square "
        "｜ ASSD 是全部八个距离的平均值，每个方块各有四个",
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
    generator = drawn(0)
    return [tuple(torch.rand(2, 9, 7, generator=generator) > 0.7) for _ in range(3)]


def _assd(a: Tensor, b: Tensor, spacing: tuple[float, float]) -> float:
    return surface_distances(a, b, spacing).average()


_ONE_WAY = "that is one direction only; the other one belongs to it ｜ 这只是一个方向，还缺另一个"


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
        lambda a, b, spacing: float(surface_distances(a, b, spacing).pred_to_target.mean()),
        _mean_of_means,
        lambda a, b, spacing: None,
    ],
)
def assd_in_millimetres(answer):
    """Average symmetric surface distance where pixels are not square."""
    expect_function(answer, _assd, [])  # is it one at all?
    for (a, b), spacing in zip(_pairs(), ((1.0, 1.0), (3.0, 1.0), (0.7, 2.5)), strict=True):
        found = answer(a, b, spacing)
        d = surface_distances(a, b, spacing)
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
                d.hausdorff(): "that is the largest distance, not the mean "
                "｜ 这是最大的距离，不是平均值",
                float(d.pred_to_target.mean()): _ONE_WAY,
                float(d.target_to_pred.mean()): _ONE_WAY,
            },
        )


@exercise(
    4,
    wrong=[
        (32 / 36, 1, 64 / 68, 3),
        (1, 32 / 40, 64 / 72, 3),
        (1, 32 / 36, 34 / 36, 3),
        (1, 32 / 36, 64 / 68, 4),
        (1, 32 / 36, 64 / 68, 1),
        (1, 1, 1, 0),
        (1, 32 / 36, 64 / 68),
        3,
    ],
)
def a_hole(answer):
    """Both directions and the surface Dice of a square with a hole; the tolerance for 1."""
    true, predicted, both, smallest = expect_numbers(answer, 4)
    expect_number(
        true,
        1,
        tolerance=0.001,
        near={
            32 / 36: "the first share is that of the true elements: which of them is not a surface "
            "element of the prediction, too? ｜ 第一个数是真实的元素的比例：其中哪一个不同时是"
            "预测的表面元素？"
        },
    )
    expect_number(
        predicted,
        32 / 36,
        tolerance=0.001,
        near={
            32 / 40: "only pixels that touch the hole at a side are surface elements "
            "｜ 只有与孔洞以边相邻的像素才是表面元素",
            1: "the rim of the hole is a surface of the prediction, too "
            "｜ 孔洞的边缘也是预测的表面",
        },
    )
    expect_number(
        both,
        64 / 68,
        tolerance=0.001,
        near={
            34 / 36: "that is the mean of the two shares; count the elements of both surfaces "
            "together ｜ 那是两个比例的平均值；应把两个表面的元素合在一起数"
        },
    )
    expect_number(
        smallest,
        3,
        near={
            4: "that is how far the hole itself is; its rim lies nearer to the edge "
            "｜ 那是孔洞本身的距离；孔洞的边缘离外缘更近"
        },
    )
