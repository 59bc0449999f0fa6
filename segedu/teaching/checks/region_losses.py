"""Checks of the exercises of *Region losses: losses that see the whole mask*."""

import torch
from torch import Tensor

from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_number,
    expect_numbers,
    expect_tensor,
)


@exercise(1, wrong=[[6 / 9, 0.5, 6 / 9.4], [1 / 3, 0.5, 1 - 6 / 8.6], [1 / 3, 0.5], 0.3333, 5])
def losses_from_counts(answer):
    """Dice, Jaccard and Tversky loss from soft counts."""
    names = ("Dice", "Jaccard", "Tversky")
    counts = (9, 12, 9.4)
    for name, number, size in zip(names, expect_numbers(answer, 3), counts, strict=True):
        if name != "Jaccard":
            expect(
                abs(number - 6 / size) > 6e-4,
                f"{name}: that is the coefficient, the loss is 1 minus it ｜ "
                f"{name}：那是系数，损失是 1 减去它",
            )
        expect(
            name != "Tversky" or abs(number - (1 - 6 / 8.6)) > 6e-4,
            "Tversky: α belongs to the false positives, β to the false negatives ｜ "
            "Tversky：α 属于假阳性，β 属于假阴性",
        )
        expect(
            abs(number - (1 - 6 / size)) <= 6e-4,
            f"{name} is not {number:g} ｜ {name} 不是 {number:g}",
        )


@exercise(2, wrong=[0.3, 0.39, 0.2583, 0.35, 0.4, 0.6083, 0.5, 2 / 3, 0.36, 1 - 1.3 / 2.5])
def lovasz_of_four_pixels(answer):
    """Lovász loss of four pixels."""
    near = {
        0.3: "that is the mean error: weigh each error by its increment ｜ "
        "那是误差的平均：每个误差要乘以自己的增量",
        0.5: "that is 1 − IoU at the threshold 0.5 ｜ 那是阈值取 0.5 时的 1 − IoU",
        0.39: "rounded too far: give three decimals ｜ 舍入过多：请保留三位小数",
        0.1 / 2 + 0.2 / 6 + 0.3 / 12 + 0.6 / 4: "start with the largest error ｜ "
        "应当从最大的误差开始",
        0.35: "sort the errors first ｜ 先把误差排序",
        0.608: "that is 1 minus the loss ｜ 那是 1 减去损失",
        0.48: "that is the soft Jaccard loss ｜ 那是软 Jaccard 损失",
    }
    expect_number(answer, 0.6 / 2 + 0.3 / 6 + 0.2 / 12 + 0.1 / 4, tolerance=6e-4, near=near)


@exercise(
    3,
    wrong=[
        [[1, 1, 1], [1, 1, 1]],
        [[1, 1, 1], [1, 100, 100]],
        [[1, 1, 1], [40, 30, 170]],
        [[1, 1, 1], [0, 0, 0]],
        [[1, 1, 1], [-1, 5, 5]],
        [[1, 1, 1]],
        [1, 40],
        3,
    ],
)
def good_images_in_a_bad_batch(answer):
    """Soft sums of two images whose Dice is high on the mean and low together."""
    try:
        sums = torch.as_tensor(answer, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        sums = torch.zeros(0)
    expect(
        sums.shape == (2, 3),
        "two lists of three numbers are wanted, [TP, P, G] of each image ｜ "
        "需要两个列表，各含三个数：每幅图像的 [TP, P, G]",
    )
    hit, predicted, wanted = sums.unbind(1)
    expect(bool((sums >= 0).all()), "no sum may be negative ｜ 三个数都不能为负")
    expect(bool((wanted > 0).all()), "G must be above 0 ｜ G 要大于 0")
    expect(
        bool((hit <= predicted.minimum(wanted)).all()),
        "TP may exceed neither P nor G ｜ TP 不能大于 P，也不能大于 G",
    )
    mean = (2 * hit / (predicted + wanted)).mean().item()
    batch = (2 * hit.sum() / (predicted + wanted).sum()).item()
    expect(
        mean >= 0.7 - 1e-9,
        f"the mean over the images is {mean:.3f} ｜ 按图像的平均是 {mean:.3f}",
    )
    expect(batch <= 0.5 + 1e-9, f"the batch has {batch:.3f} ｜ 小批量的结果是 {batch:.3f}")


def tversky_loss(p: Tensor, truth: Tensor, alpha: float, beta: float) -> Tensor:
    """Tversky loss of the pixels with a label."""
    labelled = truth != 255
    q, t = p[labelled], (truth[labelled] == 1).to(p.dtype)
    true, false, missed = (q * t).sum(), (q * (1 - t)).sum(), ((1 - q) * t).sum()
    return 1 - true / (true + alpha * false + beta * missed)


def _ignored_as_background(p, truth, alpha, beta):
    return tversky_loss(p, torch.where(truth == 255, 0, truth), alpha, beta)


def _ignored_as_number(p, truth, alpha, beta):
    true, false, missed = (p * truth).sum(), (p * (1 - truth)).sum(), ((1 - p) * truth).sum()
    return 1 - true / (true + alpha * false + beta * missed)


@exercise(
    4,
    wrong=[
        _ignored_as_background,
        _ignored_as_number,
        lambda p, truth, alpha, beta: tversky_loss(p, truth, beta, alpha),
        lambda p, truth, alpha, beta: 1 - tversky_loss(p, truth, alpha, beta),
        lambda p, truth, alpha, beta: tversky_loss(p, truth.clamp(max=1), alpha, beta),
        lambda p, truth, alpha, beta: None,
        0.5,
    ],
)
def tversky_without_ignored_pixels(answer):
    """Tversky loss that leaves out the label 255."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    generator = drawn(0)
    p = torch.rand(5, 6, generator=generator)
    truth = torch.tensor([0, 0, 1, 1, 255])[torch.randint(5, (5, 6), generator=generator)]
    truth[0, :3] = torch.tensor([0, 1, 255])  # each occurs
    settings = p, truth, 0.2, 0.9
    found = answer(*settings)
    expect(found is not None, NOTHING)
    known = {
        "a pixel with 255 was counted as 0: leave it out ｜ "
        "标为 255 的像素被当作 0 计入了：应当去掉": _ignored_as_background(*settings),
        "a pixel with 255 was counted as object: leave it out ｜ "
        "标为 255 的像素被当作物体计入了：应当去掉": tversky_loss(p, truth.clamp(max=1), 0.2, 0.9),
        "255 was used as a number (1 − 255 = −254): leave these pixels out ｜ "
        "255 被当作数值参加了计算（1 − 255 = −254）：应当去掉这些像素": (
            _ignored_as_number(*settings)
        ),
        "α belongs to the false positives, β to the false negatives ｜ "
        "α 属于假阳性，β 属于假阴性": tversky_loss(p, truth, 0.9, 0.2),
        "that is the index, the loss is 1 minus it ｜ 那是系数，损失是 1 减去它": 1
        - tversky_loss(*settings),
    }
    number = torch.as_tensor(found, dtype=p.dtype)
    for message, value in known.items():
        expect(number.numel() != 1 or not torch.isclose(number, value).all(), message)
    expect_number(found, tversky_loss(*settings).item(), tolerance=1e-5)


def iou_slope(p: Tensor, g: Tensor) -> Tensor:
    """Derivatives of the soft IoU with respect to each probability."""
    true = (p * g).sum()
    union = p.sum() + g.sum() - true
    return g / union - (1 - g) * true / union**2


def _dice_slope(p: Tensor, g: Tensor) -> Tensor:
    size = p.sum() + g.sum()
    return (2 * g * size - 2 * (p * g).sum()) / size**2


def _union_grows(p: Tensor, g: Tensor) -> Tensor:
    true = (p * g).sum()
    union = p.sum() + g.sum() - true
    return g / union - true / union**2


@exercise(
    5,
    wrong=[
        _dice_slope,
        _union_grows,
        lambda p, g: -iou_slope(p, g),
        lambda p, g: iou_slope(p, g).sum(),
        lambda p, g: None,
        1,
    ],
)
def slope_of_soft_iou(answer):
    """Slopes of the soft IoU, by formula."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    generator = drawn(1)
    p = torch.rand(3, 4, generator=generator)
    g = (torch.rand(3, 4, generator=generator) > 0.5).float()
    found = answer(p, g)
    expect(found is not None, NOTHING)
    found = torch.as_tensor(found)
    known = {
        "those are the slopes of Dice ｜ 那是 Dice 的导数": _dice_slope(p, g),
        "on the object the union does not grow: TP is subtracted in it ｜ "
        "在物体上并集不会增大：其中减去了 TP": _union_grows(p, g),
        "the signs are reversed: those are the slopes of the loss ｜ "
        "符号反了：那是损失的导数": -iou_slope(p, g),
    }
    for message, value in known.items():
        same = found.shape == value.shape and torch.allclose(found, value, atol=1e-6)
        expect(not same, message)
    expect_tensor(found, iou_slope(p, g))
