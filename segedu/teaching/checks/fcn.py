"""Checks of the exercises of *Fully convolutional networks*."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segedu.models.fcn import FCN, bilinear_kernel
from segedu.teaching.checking import (
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_tensor,
)

OUTPUTS = [2.0, 4.0, 2.0, 0.0, 1.0, 2.0, 1.0]


def doubled(scores: Tensor) -> Tensor:
    """Each class (N, C, H, W) enlarged to (N, C, 2H, 2W)."""
    kernel = bilinear_kernel(scores.shape[1], 4)
    return F.conv_transpose2d(scores, kernel, stride=2, padding=1)


def densified(a: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Two convolutions whose stride has become a dilation."""
    return F.conv2d(F.conv2d(a, first), second, dilation=2)


def skipped(model: FCN, images: Tensor, number: int) -> Tensor:
    """Logits of a model whose score layer ``number`` gives 0."""
    hook = model.score[number].register_forward_hook(lambda layer, inputs, output: 0 * output)
    try:
        return model(images)
    finally:
        hook.remove()


def _zeroed_for_good(model: FCN, images: Tensor, number: int) -> Tensor:
    nn.init.zeros_(model.score[number].weight)
    nn.init.zeros_(model.score[number].bias)
    return model(images)


@exercise(1, wrong=[404, 218, 308, 244, 32])
def smaller_fc6(answer):
    """Receptive field of VGG-16 with a 3×3 fc6."""
    near = {
        404: "that is the field with 7×7 ｜ 那是 7×7 的结果",
        218: "the step is 32 pixels here, not 1 ｜ 这里的间距是 32 个像素，不是 1",
        308: "a kernel of 3 adds two steps, not three ｜ 尺寸为 3 的卷积核增加两步，不是三步",
        244: "a kernel of 3 adds two steps, not one ｜ 尺寸为 3 的卷积核增加两步，不是一步",
        32: "that is the step; the field is asked ｜ 那是间距；问的是感受野",
    }
    expect_number(answer, 276, near=near)


@exercise(2, wrong=[[2, 4, 2, 1, 2, 1], [2, 4, 3, 2, 1], [4, 0, 2], [2, 4, 2, 0, 0, 0, 1, 2, 1]])
def scatter_by_hand(answer):
    """Outputs of a transposed convolution of three inputs."""
    found = torch.as_tensor(answer).detach().cpu().flatten()
    expect(
        len(found) != 5,
        "the copies begin 2 places apart, not 1 ｜ 相邻两份的起点相隔 2 个位置，不是 1 个",
    )
    expect(
        len(found) != 6,
        "the input 0 has a place, too ｜ 输入 0 也占一个位置",
    )
    expect_tensor(found.double(), torch.tensor(OUTPUTS).double())


@exercise(
    3,
    wrong=[
        lambda scores: F.interpolate(scores, scale_factor=2),
        lambda scores: F.interpolate(scores, scale_factor=2, mode="bilinear"),
        lambda scores: F.conv_transpose2d(scores, bilinear_kernel(scores.shape[1], 4), stride=2),
        lambda scores: doubled(scores.sum(1, keepdim=True)).expand(-1, scores.shape[1], -1, -1),
    ],
)
def enlarge_all_classes(answer):
    """A bilinear transposed convolution, class by class."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, 1, 2, 3), (2, 3, 4, 4), (1, 12, 3, 2)]
    cases = [(torch.randn(size, generator=generator),) for size in sizes]
    expect_function(answer, doubled, cases, tolerance=1e-5)


@exercise(
    4,
    wrong=[
        lambda model, images, number: model(images),
        lambda model, images, number: skipped(model, images, 3 - number),
        lambda model, images, number: model.score[number](model(images)),
        _zeroed_for_good,
    ],
)
def switch_a_skip_off(answer):
    """Logits of FCN-8s without one of its skips; the model stays as it is."""
    generator = torch.Generator().manual_seed(0)
    model = FCN(3, base_width=2, head_width=4).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        images = torch.randn(1, 3, 32, 32, generator=generator)
        before = model(images)
        for number in (1, 2):
            wanted = skipped(model, images, number)
            found = answer(model, images, number)
            after = model(images)
            expect(
                torch.equal(before, after),
                "afterwards the model gives other logits: work on a copy "
                "｜ 之后模型给出的 logit 值变了：请在副本上修改",
            )
            expect_tensor(found, wanted, tolerance=1e-5)


@exercise(
    5,
    wrong=[
        lambda a, first, second: F.conv2d(F.conv2d(a, first), second),
        lambda a, first, second: F.conv2d(F.conv2d(a, first, dilation=2), second),
        lambda a, first, second: F.conv2d(F.conv2d(a, first, stride=2), second),
        lambda a, first, second: F.conv2d(F.conv2d(a, first, dilation=2), second, dilation=2),
    ],
)
def dense_without_a_way_up(answer):
    """Stride 1 and dilation 2 in place of stride 2."""
    generator = torch.Generator().manual_seed(0)
    cases = []
    for side in (9, 12):
        shapes = [(1, 2, side, side), (3, 2, 3, 3), (4, 3, 3, 3)]
        cases.append(tuple(torch.randn(shape, generator=generator) for shape in shapes))
    expect_function(answer, densified, cases, tolerance=1e-4)
