"""Checks of the exercises of *What you need to know*."""

import torch
from torch.nn import functional as F

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_tensor,
)

PROBABILITIES = torch.tensor([2.0, 1.0, 0.0]).softmax(0)
GRADIENT = PROBABILITIES - torch.tensor([0.0, 1.0, 0.0])  # of the cross-entropy, true class 1


@exercise(1, wrong=[109, 111, 113, 111.5, 112.5, 224])
def output_size(answer):
    """Side of the output of a strided convolution."""
    forgot_to_round = "a number of pixels is whole: round down ｜ 像素数是整数：要向下取整"
    near = {
        109: "that is without padding ｜ 那是没有填充的结果",
        111: "those are the moves; the start counts, too ｜ 那是移动的次数；起点也要算",
        111.5: forgot_to_round,
        112.5: forgot_to_round,
    }
    expect_number(answer, 112, near=near)


@exercise(2, wrong=[73_728, 8_320, 577, 1_280])
def count_the_weights(answer):
    """Numbers that a convolution with a bias learns."""
    near = {
        73_728: "the biases are missing ｜ 漏了偏置",
        8_320: "that is a 1×1 kernel ｜ 那是 1×1 卷积核的结果",
        577: "that is one kernel; count all of them ｜ 那只是一个卷积核；要数全部",
        1_280: "a kernel has a slice per input channel ｜ 每个输入通道都有一片权重",
    }
    expect_number(answer, 73_856, near=near)


@exercise(
    3,
    wrong=[
        lambda image: image[::2, ::2],
        lambda image: F.avg_pool2d(image[None], 2)[0],
        lambda image: F.max_pool2d(image[None], 2, stride=1)[0],
        lambda image: F.max_pool2d(image[None], 2),
    ],
)
def pool(answer):
    """Max pooling by 2 of a map."""
    generator = drawn(0)
    sizes = [(2, 2), (4, 4), (6, 4)]
    cases = [(torch.randn(size, generator=generator),) for size in sizes]
    expect_function(answer, lambda image: F.max_pool2d(image[None], 2)[0], cases)


@exercise(4, wrong=[PROBABILITIES, -GRADIENT, [0.0, 1.0, 0.0], 1.4076])
def gradient_of_cross_entropy(answer):
    """Gradient of the cross-entropy by the logits of one pixel."""
    found = torch.as_tensor(answer).detach().cpu()
    if found.shape == GRADIENT.shape:
        messages = {
            "those are the probabilities ｜ 那是概率": PROBABILITIES,
            "the signs are turned round ｜ 符号反了": -GRADIENT,
        }
        for message, wrong in messages.items():
            expect(not torch.allclose(found.float(), wrong, atol=1e-3), message)
    expect_tensor(answer, GRADIENT, tolerance=2e-3)  # three decimals by hand are enough
