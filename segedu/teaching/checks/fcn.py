"""Checks of the exercises of *Fully convolutional networks*."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segedu.models.fcn import FCN, bilinear_kernel
from segedu.teaching.checking import (
    WrongAnswerError,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_tensor,
)


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


def _without_weight(model: FCN, images: Tensor, number: int) -> Tensor:
    """Logits of a model whose score layer ``number`` keeps its bias only."""
    changed = copy.deepcopy(model)
    nn.init.zeros_(changed.score[number].weight)
    return changed(images)


def _zeroed_for_good(model: FCN, images: Tensor, number: int) -> Tensor:
    nn.init.zeros_(model.score[number].weight)
    nn.init.zeros_(model.score[number].bias)
    return model(images)


@exercise(1, wrong=[404, 218, 340, 308, 244, 32])
def smaller_fc6(answer):
    """Receptive field of VGG-16 with a 3×3 fc6."""
    near = {
        404: "that is the field with 7×7 ｜ 那是 7×7 的结果",
        218: "the output stride is 32 pixels here, not 1 ｜ 这里的输出步幅是 32 个像素，不是 1",
        340: "a kernel of 3 adds two steps, not four ｜ 尺寸为 3 的卷积核增加两步，不是四步",
        308: "a kernel of 3 adds two steps, not three ｜ 尺寸为 3 的卷积核增加两步，不是三步",
        244: "a kernel of 3 adds two steps, not one ｜ 尺寸为 3 的卷积核增加两步，不是一步",
        32: "that is the output stride; the field is asked ｜ 那是输出步幅；问的是感受野",
    }
    expect_number(answer, 276, near=near)


def _only_twelve(scores: Tensor) -> Tensor:
    kernel = bilinear_kernel(1, 4).expand(12, 1, 4, 4)
    return F.conv_transpose2d(scores, kernel, stride=2, padding=1, groups=12)


@exercise(
    2,
    wrong=[
        lambda scores: F.interpolate(scores, scale_factor=2),
        lambda scores: F.interpolate(scores, scale_factor=2, mode="bilinear"),
        lambda scores: F.conv_transpose2d(scores, bilinear_kernel(scores.shape[1], 4), stride=2),
        lambda scores: doubled(scores.sum(1, keepdim=True)).expand(-1, scores.shape[1], -1, -1),
        _only_twelve,
    ],
)
def enlarge_all_classes(answer):
    """A bilinear transposed convolution, class by class."""
    generator = drawn(0)
    sizes = [(1, 12, 3, 2), (2, 3, 4, 4), (1, 1, 2, 3)]
    cases = [(torch.randn(size, generator=generator),) for size in sizes]
    expect_function(answer, doubled, [])
    for (scores,) in cases:
        try:
            found = answer(scores)
        except RuntimeError as error:
            classes = scores.shape[1]
            raise WrongAnswerError(
                f"it fails with {classes} classes; take the number from scores.shape "
                f"｜ 类别数为 {classes} 时报错；类别数要从 scores.shape 中取"
            ) from error
        if isinstance(found, Tensor) and found.shape == doubled(scores).shape:
            _expect_bilinear(found, scores)
            _expect_unmixed(answer, scores)
    expect_function(answer, doubled, cases, tolerance=1e-5)


def _expect_bilinear(found: Tensor, scores: Tensor) -> None:
    """No other way of enlarging."""
    expect(
        not torch.allclose(found, F.interpolate(scores, scale_factor=2)),
        "each value is merely repeated; the kernel must be bilinear "
        "｜ 只是把每个值重复了一遍；卷积核应当是双线性的",
    )
    expect(
        not torch.allclose(found, F.interpolate(scores, scale_factor=2, mode="bilinear")),
        "the inside is right, the border is not: use a transposed convolution "
        "｜ 内部正确，边界处不对：请用转置卷积",
    )


def _expect_unmixed(answer: Callable[[Tensor], Tensor], scores: Tensor) -> None:
    """Where one class alone has scores, the others stay 0."""
    alone = torch.zeros_like(scores)
    alone[:, 0] = scores[:, 0]
    expect(
        not answer(alone)[:, 1:].any(),
        "the classes mix: a class whose scores are all 0 got others ｜ "
        "类别混在了一起：有一个类别的得分本来全为 0，放大后却不是",
    )


@exercise(
    3,
    wrong=[
        (lambda model, images, number: model(images), "pool3"),
        (lambda model, images, number: skipped(model, images, 3 - number), "pool3"),
        (lambda model, images, number: model.score[number](model(images)), "pool3"),
        (_zeroed_for_good, "pool3"),
        (_without_weight, "pool3"),
        (skipped, "pool4"),
        (skipped, "pool5"),
        (skipped, 2),
        skipped,
        "pool3",
    ],
    by_person=True,
)
def switch_a_skip_off(answer):
    """Logits of FCN-8s without one of its skips, and the skip on which it depends more."""
    expect(
        isinstance(answer, tuple) and len(answer) == 2 and callable(answer[0]),
        'hand in the function and the name of the pooling, such as (without_skip, "pool4") '
        '｜ 请同时交出函数与池化的名称，例如 (without_skip, "pool4")',
    )
    function, skip = answer
    _expect_skip_off(function)
    expect(
        skip in ("pool3", "pool4"),
        f'the name must be "pool3" or "pool4", got {skip!r} '
        f'｜ 名称应为 "pool3" 或 "pool4"，得到的是 {skip!r}',
    )
    expect(
        skip == "pool3",
        "the function is right; with the parameters of the page the other skip costs more "
        "mean IoU, with each of the three seeds ｜ 函数正确；但用本页的参数，三个随机种子都是"
        "关掉另一条时平均 IoU 降得更多",
    )


def _expect_skip_off(answer: Callable[[FCN, Tensor, int], Tensor]) -> None:
    """The logits without one skip; the model stays as it is."""
    generator = drawn(0)
    model = FCN(3, base_width=2, head_width=4).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        images = torch.randn(1, 3, 32, 32, generator=generator)
        before = model(images)
        mistakes = {
            (lambda number: before): "nothing has changed: the skip still works "
            "｜ 结果没有变化：这条跳跃连接还在起作用",
            (lambda number: skipped(model, images, 3 - number)): "the other skip is off "
            "｜ 关掉的是另一条跳跃连接",
            (lambda number: _without_weight(model, images, number)): "the layer still adds its "
            "bias ｜ 这一层仍然加上了偏置",
        }
        for number in (1, 2):
            wanted = skipped(model, images, number)
            found = answer(model, images, number)
            after = model(images)
            expect(
                torch.equal(before, after),
                "afterwards the model gives other logits: work on a copy "
                "｜ 之后模型给出的 logit 值变了：请在副本上修改",
            )
            for mistake, message in mistakes.items():
                same = torch.is_tensor(found) and found.shape == wanted.shape
                expect(not same or not torch.allclose(found, mistake(number)), message)
            expect_tensor(found, wanted, tolerance=1e-5)


@exercise(
    4,
    wrong=[
        lambda a, first, second: F.conv2d(F.conv2d(a, first), second),
        lambda a, first, second: F.conv2d(F.conv2d(a, first, dilation=2), second),
        lambda a, first, second: F.conv2d(F.conv2d(a, first, stride=2), second),
        lambda a, first, second: F.conv2d(F.conv2d(a, first, dilation=2), second, dilation=2),
    ],
)
def dense_output(answer):
    """Stride 1 and dilation 2 in place of stride 2."""
    generator = drawn(0)
    cases = []
    for side in (9, 12):
        shapes = [(1, 2, side, side), (3, 2, 3, 3), (4, 3, 3, 3)]
        cases.append(tuple(torch.randn(shape, generator=generator) for shape in shapes))
    expect_function(answer, densified, [])
    a, first, second = cases[0]
    found = answer(a, first, second)
    mistakes = {
        F.conv2d(F.conv2d(a, first, dilation=2), second): "the other convolution needs the "
        "dilation: which one reads the denser map? ｜ 应当加膨胀率的是另一层：哪一层读的图变密了？",
        F.conv2d(F.conv2d(a, first), second): "the second convolution reads neighbours; before, "
        "they lay 2 places apart ｜ 第二层读的是紧挨着的数；原先它们相隔 2 个位置",
        F.conv2d(F.conv2d(a, first, stride=2), second): "that is still the old output "
        "｜ 这还是原来的输出",
    }
    for mistake, message in mistakes.items():
        same = torch.is_tensor(found) and found.shape == mistake.shape
        expect(not same or not torch.allclose(found, mistake), message)
    expect_function(answer, densified, cases, tolerance=1e-4)
