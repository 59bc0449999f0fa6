"""Checks of the exercises of *DeepLab*."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segedu.models.deeplab import deeplab_v3_resnet
from segedu.teaching.checking import (
    WrongAnswerError,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_numbers,
)


@exercise(1, wrong=[(25, 6), (30, 12), (13, 6), (12, 25), (25,), 25, (24, 12)])
def window_and_padding(answer):
    """Width of a 5×5 kernel of rate 6, and the padding that keeps the size."""
    width, padding = expect_numbers(answer, 2)
    expect(
        (width, padding) != (12, 25),
        "the width comes first, then the padding ｜ 先写窗口宽度，再写填充",
    )
    expect(
        width == 25,
        "the width is not right: how many steps lead from the first of 5 taps to the "
        "last, and how long are they? "
        "｜ 窗口宽度不对：从 5 个采样点的第一个到最后一个要走几步，每步多长？",
    )
    expect(
        padding == 12,
        "the padding is not right: half of the window without its centre "
        "｜ 填充不对：它是窗口去掉中心之后的一半",
    )


@exercise(2, wrong=[(6, 12, 18), (3, 6, 9), (24, 48, 72), (12, 24), (4, 8, 12)])
def rates_of_a_finer_map(answer):
    """Rates at stride 8 that span as many pixels as 6, 12, 18 at stride 16."""
    rates = expect_numbers(answer, 3)
    expect(
        rates != (6, 12, 18),
        "the same rates on a map twice as fine span half as many pixels "
        "｜ 图细了一倍，同样的膨胀率只覆盖一半的像素距离",
    )
    expect(
        rates != (3, 6, 9),
        "that would be right on a coarser map, of stride 32 ｜ 那是更粗的图（步幅 32）所用的膨胀率",
    )
    expect(
        rates == (12, 24, 36),
        "rate times stride must stay the same, for each of the three "
        "｜ 三个都要满足：膨胀率乘以步幅保持不变",
    )


def _reached(rates: Sequence[int]) -> set[int]:
    """Offsets, along a row, of the inputs that one output of stacked layers reads."""
    reached = {0}
    for rate in rates:
        reached = {place + tap * rate for place in reached for tap in (-1, 0, 1)}
    return reached


@exercise(
    3, wrong=[(1, 2, 3), (1, 2, 5), (2, 4, 8), (1, 3, 10), (1, 2, 4), (1, 1, 1), (1, 3), (0, 1, 3)]
)
def widest_without_holes(answer):
    """Three rates whose window is as wide as it can be without a hole."""
    found = expect_numbers(answer, 3)
    rates = [int(rate) for rate in found]
    expect(
        all(rate >= 1 and rate == value for rate, value in zip(rates, found, strict=True)),
        "rates are whole numbers from 1 on ｜ 膨胀率是不小于 1 的整数",
    )
    reached, reach = _reached(rates), sum(rates)
    holes = set(range(-reach, reach + 1)) - reached
    if holes:
        near = min(holes, key=abs)
        raise WrongAnswerError(
            f"{len(holes)} places of the row are not read, for example the one at distance "
            f"{abs(near)} ｜ 一行中有 {len(holes)} 个位置读不到，例如距离为 {abs(near)} 的那个"
        )
    width = 2 * reach + 1
    expect(
        width == 27,
        f"no holes, but {width} places are not the most that is possible "
        f"｜ 没有漏读，但 {width} 个位置还不是最宽",
    )


def _pair(
    second: int,
    *,
    copied: bool = True,
    evaluate: bool = True,
    dilation: int = 2,
    padding: int = 2,
) -> tuple:
    """A model of stride 16 and another one, for the wrong answers."""
    small = {"rates": (), "base_width": 4, "layers": (1, 1, 1, 1)}
    coarse = deeplab_v3_resnet(50, 3, output_stride=16, **small).eval()
    fine = deeplab_v3_resnet(50, 3, output_stride=second, **small)
    if copied:
        fine.load_state_dict(coarse.state_dict())
    conv = fine.classifier[1]
    conv.dilation, conv.padding = (dilation, dilation), (padding, padding)
    return coarse, fine.eval() if evaluate else fine


@exercise(
    4,
    wrong=[
        (1, 2),
        _pair(16),
        _pair(32),
        _pair(8, copied=False),
        _pair(8, evaluate=False),
        _pair(8, dilation=1, padding=1),
        _pair(8, padding=1),
        _pair(8, dilation=4, padding=4),
        tuple(reversed(_pair(8))),
    ],
    by_person=True,
)
def a_finer_model(answer):
    """A network of stride 8 with the weights of one of stride 16, doubled rate in the head."""
    expect(
        isinstance(answer, tuple | list)
        and len(answer) == 2
        and all(isinstance(model, nn.Module) for model in answer),
        "two models are wanted, (coarse, fine) ｜ 需要两个模型 (coarse, fine)",
    )
    coarse, fine = answer
    device = next(coarse.parameters()).device
    fine = fine.to(device)
    expect(
        not fine.training,
        "fine is in training mode; call eval() ｜ fine 处在训练模式；请调用 eval()",
    )
    images = torch.zeros(1, 3, 64, 64, device=device)
    with torch.no_grad():
        strides = [64 // model.backbone(images)[-1].shape[-1] for model in answer]
    expect(
        strides == [16, 8],
        f"the strides are {strides[0]} and {strides[1]}, wanted are 16 and 8 "
        f"｜ 步幅是 {strides[0]} 与 {strides[1]}，应当是 16 与 8",
    )
    ours, theirs = coarse.state_dict(), fine.state_dict()
    expect(
        ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours),
        "the weights differ: copy all of them ｜ 权重不同：要全部复制过去",
    )
    convs = [layer for layer in fine.classifier.modules() if isinstance(layer, nn.Conv2d)]
    rates = {layer.dilation for layer in convs if layer.kernel_size == (3, 3)}
    paddings = {layer.padding for layer in convs if layer.kernel_size == (3, 3)}
    expect(
        rates != {(1, 1)},
        "the weights are right, but a 3x3 convolution of the head still has rate 1 "
        "｜ 权重对了，但头部还有一个 3x3 卷积的膨胀率仍为 1",
    )
    expect(
        rates == {(2, 2)},
        "one stride was removed, so the rate in the head doubles once, from 1 to 2 "
        "｜ 只去掉了一个步幅，所以头部的膨胀率只加倍一次，从 1 变为 2",
    )
    expect(
        paddings == {(2, 2)},
        "the rate is right; now the padding of this layer must double, too "
        "｜ 膨胀率对了；这一层的填充也要加倍",
    )


def mean_field_step(z: Tensor, brightness: Tensor) -> Tensor:
    """One step: every pixel adds the probabilities of pixels that look like it."""
    difference = brightness[:, None] - brightness
    weights = torch.exp(-(difference**2) / (2 * 0.1**2))
    weights.fill_diagonal_(0)
    return (z + weights @ z.softmax(1)).softmax(1)


def _with_itself(z: Tensor, brightness: Tensor) -> Tensor:
    difference = brightness[:, None] - brightness
    return (z + torch.exp(-(difference**2) / (2 * 0.1**2)) @ z.softmax(1)).softmax(1)


def _without_scores(z: Tensor, brightness: Tensor) -> Tensor:
    difference = brightness[:, None] - brightness
    weights = torch.exp(-(difference**2) / (2 * 0.1**2)).fill_diagonal_(0)
    return (weights @ z.softmax(1)).softmax(1)


def _sends_scores(z: Tensor, brightness: Tensor) -> Tensor:
    difference = brightness[:, None] - brightness
    weights = torch.exp(-(difference**2) / (2 * 0.1**2)).fill_diagonal_(0)
    return (z + weights @ z).softmax(1)


def _not_normalized(z: Tensor, brightness: Tensor) -> Tensor:
    difference = brightness[:, None] - brightness
    weights = torch.exp(-(difference**2) / (2 * 0.1**2)).fill_diagonal_(0)
    return z + weights @ z.softmax(1)


def _variance_not_squared(z: Tensor, brightness: Tensor) -> Tensor:
    difference = brightness[:, None] - brightness
    weights = torch.exp(-(difference**2) / (2 * 0.1)).fill_diagonal_(0)
    return (z + weights @ z.softmax(1)).softmax(1)


def _over_pixels(z: Tensor, brightness: Tensor) -> Tensor:
    difference = brightness[:, None] - brightness
    weights = torch.exp(-(difference**2) / (2 * 0.1**2)).fill_diagonal_(0)
    return (z + weights @ z.softmax(0)).softmax(0)


def _nothing_added(z: Tensor, brightness: Tensor) -> Tensor:
    return z.softmax(1)


MISTAKES = {
    _nothing_added: "these are the old probabilities: nothing has arrived "
    "｜ 这还是原来的概率：什么也没有收到",
    _with_itself: "a pixel must not send to itself: its own weight is 0 "
    "｜ 像素不给自己传递：自己的权重为 0",
    _variance_not_squared: "the 0.1 in the weight must be squared ｜ 权重中的 0.1 要平方",
    _without_scores: "the pixel's own scores z are missing ｜ 漏掉了像素自己的得分 z",
    _sends_scores: "pixels send probabilities, not scores ｜ 传递的是概率，不是得分",
    _over_pixels: "softmax must run over the classes, dim=1 ｜ softmax 应沿类别计算（dim=1）",
    _not_normalized: "the last softmax is missing: the result must be probabilities "
    "｜ 少了最后的 softmax：结果应当是概率",
}


@exercise(5, wrong=[*MISTAKES, lambda z, brightness: None])
def one_step_of_a_crf(answer):
    """A step of mean-field inference in a fully connected CRF, on a row of pixels."""
    generator = drawn(0)
    cases = []
    for pixels, classes in ((6, 2), (9, 3)):
        z = torch.randn(pixels, classes, generator=generator)
        cases.append((z, torch.rand(pixels, generator=generator)))
    expect_function(answer, mean_field_step, [])
    found = answer(*cases[0])
    for mistake, message in MISTAKES.items():
        wanted = mistake(*cases[0])
        same = torch.is_tensor(found) and found.shape == wanted.shape
        expect(not same or not torch.allclose(found, wanted), message)
    expect_function(answer, mean_field_step, cases, tolerance=1e-5)
