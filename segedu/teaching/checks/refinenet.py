"""Checks of the exercises of *RefineNet*."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.refinenet import RefineNet
from segedu.teaching.checking import (
    WrongAnswerError,
    drawn,
    exercise,
    expect,
    expect_number,
    expect_numbers,
)

ONE = "that is one convolution; a unit has two ｜ 这只是一个卷积；一个单元有两个"


@exercise(1, wrong=[1_180_160, 1_179_648, 589_824, 590_080, 131_328, "many", (1, 2)])
def parameters_of_a_unit(answer):
    """Parameters of an RCU with 256 channels."""
    near = {
        1_180_160: "only the first convolution has a bias ｜ 只有第一个卷积有偏置",
        1_179_648: "the biases of the first convolution are missing ｜ 漏掉了第一个卷积的偏置",
        589_824: ONE,
        590_080: ONE,
        131_328: "each of the two 3x3 convolutions has 9 weights for every pair of an input and an "
        "output channel ｜ 两个 3x3 卷积中，每一对输入通道与输出通道有 9 个权重",
    }
    expect_number(answer, 1_179_904, near=near)


@exercise(2, wrong=[(11, 6), (5, 10), (6, 6), (16, 32), (8, 16), (5, 11), (6, 10), (6,), 6])
def links_that_see_everything(answer):
    """Links by which a place of a 33×33 map sees all of it, from the middle and from a corner."""
    middle, corner = expect_numbers(answer, 2)
    expect(
        (middle, corner) != (11, 6),
        "the middle comes first, then the corner ｜ 先写正中间，再写角上",
    )
    for name, found, wanted in (("middle ｜ 正中间", middle, 6), ("corner ｜ 角上", corner, 11)):
        english, chinese = name.split(" ｜ ")
        expect(
            found >= wanted,
            f"{english}: too few, so the farthest place is not reached "
            f"｜ {chinese}：太少，够不到最远的位置",
        )
        expect(
            found == wanted,
            f"{english}: fewer are enough; a link reaches 3 places to each side "
            f"｜ {chinese}：更少就够了；一环向每一侧多看 3 个位置",
        )


def fuse(maps: Sequence[Tensor], convs: Sequence[nn.Module]) -> Tensor:
    """Each map through its convolution, enlarged to the first one, all added."""
    return sum(
        F.interpolate(conv(a), maps[0].shape[2:], mode="bilinear", align_corners=True)
        for a, conv in zip(maps, convs, strict=True)
    )


def _only_two(maps: Sequence[Tensor], convs: Sequence[nn.Module]) -> Tensor:
    return fuse(maps[:2], convs[:2])


def _joined(maps: Sequence[Tensor], convs: Sequence[nn.Module]) -> Tensor:
    size = maps[0].shape[2:]
    return torch.cat(
        [
            F.interpolate(conv(a), size, mode="bilinear", align_corners=True)
            for a, conv in zip(maps, convs, strict=True)
        ],
        dim=1,
    )


def _pixel_centres(maps: Sequence[Tensor], convs: Sequence[nn.Module]) -> Tensor:
    return sum(
        F.interpolate(conv(a), maps[0].shape[2:], mode="bilinear")
        for a, conv in zip(maps, convs, strict=True)
    )


def _no_convolution(maps: Sequence[Tensor], convs: Sequence[nn.Module]) -> Tensor:
    return sum(
        F.interpolate(a, maps[0].shape[2:], mode="bilinear", align_corners=True) for a in maps
    )


def _to_the_coarsest(maps: Sequence[Tensor], convs: Sequence[nn.Module]) -> Tensor:
    return sum(
        F.interpolate(conv(a), maps[-1].shape[2:], mode="bilinear", align_corners=True)
        for a, conv in zip(maps, convs, strict=True)
    )


@exercise(
    3,
    wrong=[
        _only_two,
        _joined,
        _pixel_centres,
        _no_convolution,
        _to_the_coarsest,
        7,
        lambda a, b: None,
    ],
    by_person=True,
)
def fuse_any_number(answer):
    """A fusion of any number of maps."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    generator = drawn(0)
    for channels in ((4, 6), (4, 6, 8, 3)):
        maps = [
            torch.randn(2, c, 12 >> k, 16 >> k, generator=generator) for k, c in enumerate(channels)
        ]
        convs = [nn.Conv2d(c, 4, 3, padding=1) for c in channels]
        with torch.no_grad():
            try:
                found = answer(maps, convs)
            except RuntimeError as error:
                raise WrongAnswerError(
                    f"with {len(maps)} maps PyTorch says: {error} "
                    f"｜ 用 {len(maps)} 张图时，PyTorch 报错：{error}"
                ) from error
            wanted, centred = fuse(maps, convs), _pixel_centres(maps, convs)
        expect(torch.is_tensor(found), "a tensor is wanted ｜ 应当返回一个张量")
        expect(
            found.shape == wanted.shape,
            f"the shape is {tuple(found.shape)}, wanted is {tuple(wanted.shape)} "
            f"｜ 形状是 {tuple(found.shape)}，应当是 {tuple(wanted.shape)}",
        )
        expect(
            not torch.allclose(found, centred, atol=1e-4),
            "align_corners=True is missing ｜ 漏掉了 align_corners=True",
        )
        expect(
            torch.allclose(found, wanted, atol=1e-4),
            f"with {len(maps)} maps the numbers differ: is every map convolved, enlarged and "
            f"added? ｜ 用 {len(maps)} 张图时数值不同：每张图都做了卷积、放大与相加吗？",
        )


def _enlarges_first(a: Tensor, conv: nn.Module, size: tuple[int, int]) -> Tensor:
    return conv(F.interpolate(a, size=size, mode="bilinear"))


def _stays_small(a: Tensor, conv: nn.Module, size: tuple[int, int]) -> Tensor:
    return conv(a)


def _nearest(a: Tensor, conv: nn.Module, size: tuple[int, int]) -> Tensor:
    return F.interpolate(conv(a), size=size)


def _corners_aligned(a: Tensor, conv: nn.Module, size: tuple[int, int]) -> Tensor:
    return F.interpolate(conv(a), size=size, mode="bilinear", align_corners=True)


@exercise(
    4,
    wrong=[
        _enlarges_first,
        _stays_small,
        _nearest,
        _corners_aligned,
        16,
        lambda a, conv, size: None,
    ],
    by_person=True,
)
def scores_before_enlarging(answer):
    """A 1×1 convolution on the small map, then the interpolation."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    generator = drawn(0)
    a, conv = torch.randn(2, 6, 5, 7, generator=generator), nn.Conv2d(6, 3, 1)
    seen: list[tuple[int, ...]] = []
    hook = conv.register_forward_hook(
        lambda layer, inputs, output: seen.append(tuple(inputs[0].shape[2:]))
    )
    with torch.no_grad():
        found = answer(a, conv, (20, 28))
        hook.remove()
        wanted = _enlarges_first(a, conv, (20, 28))
    expect(torch.is_tensor(found), "a tensor is wanted ｜ 应当返回一个张量")
    expect(
        seen == [(5, 7)],
        f"conv must work once, on the small map of (5, 7); it saw {seen} "
        f"｜ conv 应当只在 (5, 7) 的小图上计算一次；它得到的是 {seen}",
    )
    expect(
        found.shape == wanted.shape,
        f"the shape is {tuple(found.shape)}, wanted is {tuple(wanted.shape)} "
        f"｜ 形状是 {tuple(found.shape)}，应当是 {tuple(wanted.shape)}",
    )
    expect(
        torch.allclose(found, wanted, atol=1e-5),
        "the scores differ: interpolate as in the question, with the same mode and no other "
        "options ｜ 得分不同：插值要与题目一致，用同样的 mode，不加别的选项",
    )


def erased(model: RefineNet, k: int, images: Tensor) -> Tensor:
    """Scores with zeros in place of one reduced map."""
    return _silenced(model, model.reduce[k], images)


def _silenced(model: RefineNet, part: nn.Module, images: Tensor) -> Tensor:
    hook = part.register_forward_hook(lambda layer, inputs, output: 0 * output)
    with torch.no_grad():
        scores = model(images)
    hook.remove()
    return scores


def _hook_left(model: RefineNet, k: int, images: Tensor) -> Tensor:
    model.reduce[k].register_forward_hook(lambda layer, inputs, output: 0 * output)
    with torch.no_grad():
        return model(images)


def _counts_from_fine(model: RefineNet, k: int, images: Tensor) -> Tensor:
    return erased(model, 3 - k, images)


def _erases_the_block(model: RefineNet, k: int, images: Tensor) -> Tensor:
    return _silenced(model, model.blocks[k], images)


def _erases_nothing(model: RefineNet, k: int, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images)


@exercise(
    5,
    wrong=[
        _hook_left,
        _counts_from_fine,
        _erases_the_block,
        _erases_nothing,
        lambda model, k, images: None,
        0.5,
    ],
    by_person=True,
)
def erase_one_map(answer):
    """A function that erases one of the four paths of a RefineNet for one call."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = RefineNet(3, base_width=4, layers=(1, 1, 1, 1)).eval()
        images = torch.randn(1, 3, 64, 64)
    plain = _erases_nothing(model, 0, images)
    for k in range(4):
        found, wanted = answer(model, k, images), erased(model, k, images)
        expect(torch.is_tensor(found), "the scores, a tensor, are wanted ｜ 应当返回得分（张量）")
        expect(
            torch.equal(_erases_nothing(model, k, images), plain),
            "afterwards the model answers otherwise than before: remove the hook "
            "｜ 之后模型的输出变了：要移除钩子",
        )
        expect(
            not torch.equal(found, plain),
            "nothing was erased: a hook replaces the output only if it returns a value "
            "｜ 什么也没有换掉：钩子有返回值，才会替换输出",
        )
        expect(
            torch.allclose(found, wanted, atol=1e-5),
            f"for k = {k} the scores differ: hook model.reduce[k], and nothing else "
            f"｜ k = {k} 时得分不同：钩子应当挂在 model.reduce[k] 上，而且只挂在那里",
        )
