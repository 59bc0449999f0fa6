"""Checks of the exercises of *From pixels to probabilities*."""

import math

import torch

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_tensor,
)

TRUTH = torch.zeros(4, 4, dtype=torch.long)
TRUTH[1:3, 1:3] = 1


@exercise(1, wrong=[12, 1 / 12, math.log(2), -math.log(12), math.log2(12), math.log10(12)])
def knowing_nothing(answer):
    """Cross-entropy of twelve equal scores."""
    near = {
        1 / 12: "that is the probability; what does it cost? ｜ 那是概率；代价是多少？",
        math.log(2): "that is for two classes ｜ 那是两个类别时的结果",
        -math.log(12): "a cost is not negative: mind the sign ｜ 代价不会是负数：注意正负号",
        math.log2(12): "take the natural logarithm ｜ 要用自然对数",
        math.log10(12): "take the natural logarithm ｜ 要用自然对数",
    }
    expect_number(answer, math.log(12), tolerance=6e-3, near=near)


@exercise(
    2, wrong=[[0.6, 15 / 35], [0.5, 2 / 3], [0.5, 0.6], [0.3, 0.6], [15 / 50, 30 / 50], 15 / 35]
)
def two_scores(answer):
    """IoU and Dice of areas 30 and 20 that share 15 pixels."""
    found = torch.as_tensor(answer, dtype=torch.float64)
    if found.shape == (2,):
        expect(
            not torch.allclose(found, torch.tensor([0.6, 15 / 35]).double(), atol=6e-3),
            "the order is IoU, Dice ｜ 顺序是 IoU、Dice",
        )
        expect(
            not math.isclose(found[0], 15 / 50, abs_tol=6e-3),
            "the 15 shared pixels count once in the union ｜ 并集中，共有的 15 个像素只算一次",
        )
        expect(
            not math.isclose(found[0], 15 / 30, abs_tol=6e-3),
            "the union also holds the pixels of the truth that the mask misses ｜ "
            "并集还包括真值中被掩膜漏掉的像素",
        )
    expect_tensor(found, torch.tensor([15 / 35, 30 / 50]).double(), tolerance=6e-3)


@exercise(
    3,
    wrong=[
        TRUTH,
        TRUTH.roll(1, dims=1),
        torch.zeros(4, 4),
        torch.ones(4, 4),
        TRUTH[None],
        0.5 * TRUTH,
    ],
)
def best_mask(answer):
    """A mask that misses nothing and has four false positives."""
    found = torch.as_tensor(answer).cpu()
    expect(
        tuple(found.shape) == (4, 4),
        f"the shape is {tuple(found.shape)}, wanted is (4, 4) ｜ "
        f"形状是 {tuple(found.shape)}，应为 (4, 4)",
    )
    expect(
        bool(((found == 0) | (found == 1)).all()),
        "the mask holds other values than 0 and 1 ｜ 掩膜中有 0 与 1 之外的值",
    )
    errors = int((found != TRUTH).sum())
    expect(
        errors == 4,
        f"{errors} pixels are wrong, wanted are exactly 4 ｜ 错了 {errors} 个像素，应恰好错 4 个",
    )
    missed = int(((found == 0) & (TRUTH == 1)).sum())
    expect(
        missed == 0,
        f"{missed} of the errors are false negatives: the IoU can be larger ｜ "
        f"错误中有 {missed} 个是假阴性：IoU 还可以更大",
    )


@exercise(
    4,
    wrong=[
        lambda scores: scores.exp() / scores.exp().sum(dim=1, keepdim=True),
        lambda scores: scores.softmax(dim=2),
        lambda scores: scores / scores.sum(dim=1, keepdim=True),
        lambda scores: scores.sigmoid(),
        lambda scores: (
            (scores - scores.max()).exp() / (scores - scores.max()).exp().sum(dim=1, keepdim=True)
        ),
    ],
)
def stable_softmax(answer):
    """Softmax over the classes, right for large scores, too."""
    generator = drawn(0)
    small = torch.randn((2, 3, 4, 5), generator=generator)
    cases = [(small,), (1000 + small,), (small - 1000,)]
    if callable(answer) and isinstance(found := answer(small), torch.Tensor):
        expect(
            found.ndim != 4 or torch.allclose(found.float().sum(dim=1), torch.tensor(1.0)),
            "the probabilities of a pixel do not add up to 1: the classes are axis 1 ｜ "
            "同一像素的概率之和不是 1：类别在轴 1",
        )
        expect(
            not answer(1000 + small).isnan().any(),
            "for scores near 1000 the result is nan, infinity divided by infinity ｜ "
            "得分在 1000 附近时结果是 nan，即无穷大除以无穷大",
        )
    expect_function(answer, lambda scores: scores.softmax(dim=1), cases, tolerance=1e-5)
    apart = 1000 * small  # pixels far from each other
    expect(
        bool(torch.as_tensor(answer(apart)).isfinite().all()),
        "subtract from each pixel its own largest score ｜ 每个像素要减去它自己的最大值",
    )
    expect_function(answer, lambda scores: scores.softmax(dim=1), [(apart,)], tolerance=1e-5)


@exercise(
    5,
    wrong=[
        [-0.0054, -0.0037],
        [-0.0092, 0.0],
        [-0.0037, 0.0],
        [-0.0075, -0.0108],
        [0.0037, 0.0054],
        [-0.02, -0.0289],
        [0.0150, 0.0031],
    ],
)
def two_pulls(answer):
    """Parts of the pull of Dice loss in a background pixel: of the object, of the background."""
    # p (1 - p) / 2 times the slopes (2 g - D) / (P + G) of both classes (the chapter's example)
    factor = 0.75 * 0.25 / 2
    parts = torch.tensor([-factor * 0.4 / 10, -factor * (2 - 8 / 11) / 22]).double()
    found = torch.as_tensor(answer, dtype=torch.float64)
    if found.shape == (2,):
        messages = {
            "the order is object, background ｜ 顺序是物体、背景": parts.flip(0),
            "the signs are turned round: the pull goes down ｜ 符号反了：拉力是向下的": -parts,
            "the loss has the factor 1/2: it is a mean over two classes ｜ "
            "损失里有因子 1/2：它是两个类别的平均": 2 * parts,
            "the background has a part, too: where object gets more probable, it gets less ｜ "
            "背景也有一份：物体的概率升高，背景的概率就降低": parts * torch.tensor([1, 0]),
            "multiply the slope by p (1 - p), the slope of softmax ｜ "
            "还要乘以 p (1 - p)，即 softmax 函数的导数": parts / (0.75 * 0.25),
        }
        for message, wrong in messages.items():
            expect(not torch.allclose(found, wrong, rtol=0, atol=1e-4), message)
    expect_tensor(found, parts, tolerance=1e-4)
