"""Checks of the exercises of *U-Net and U-Net++*."""

import torch

from segedu.models.unet import UNet, valid_output_size
from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_tensor,
)


@exercise(1, wrong=[76, 61, 139, 188, 124])
def seen_by_the_bottleneck(answer):
    """Receptive field of one unit after four poolings."""
    near = {
        76: "the two convolutions of the bottleneck are missing ｜ 漏了瓶颈处的两次卷积",
        61: "poolings and the bottleneck are missing ｜ 漏了池化与瓶颈",
        139: "begin with 1 pixel ｜ 要从 1 个像素开始",
        125: "the poolings add to it, too ｜ 池化也会增加",
    }
    expect_number(answer, 140, near=near)


@exercise(2, wrong=[36_864, 73_792, 8_192, 147_456])
def price_of_concatenation(answer):
    """Weights of the convolution that reads skip and decoder."""
    near = {
        36_864: "that is after an addition ｜ 那是相加时的结果",
        73_792: "this convolution has no bias ｜ 这个卷积没有偏置",
        8_192: "that is a 1×1 kernel ｜ 那是 1×1 卷积核的结果",
    }
    expect_number(answer, 73_728, near=near)


@exercise(
    3,
    wrong=[
        lambda side: side,
        lambda side: side - 184,
        lambda side: (side - 4) // 2,
        lambda side: valid_output_size(side, depth=3),
    ],
)
def output_side(answer):
    """What valid convolutions leave of a side."""
    generator = drawn(0)
    fitting = 188 + 16 * torch.randint(0, 60, (4,), generator=generator)
    sides = torch.cat([fitting, torch.randint(100, 900, (4,), generator=generator)]).tolist()
    fixed = (572, 571, 574, 578, 188, 204, 700, 172)
    expect_function(answer, valid_output_size, [(n,) for n in (*fixed, *sides)])


def _with_other_skips(model, images):
    def shift(block, inputs):
        deep, skip = inputs
        return deep, skip.roll(1, 0)

    handles = [block.register_forward_pre_hook(shift) for block in model.decoder]
    with torch.no_grad():
        labels = model(images).argmax(1)
    for handle in handles:
        handle.remove()
    return labels


def _with_other_deep_maps(model, images, blocks):
    def shift(block, inputs):
        deep, skip = inputs
        return deep.roll(1, 0), skip

    handles = [block.register_forward_pre_hook(shift) for block in model.decoder[:blocks]]
    labels = _plain(model, images)
    for handle in handles:
        handle.remove()
    return labels


def _plain(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


def _and_leaves_its_hooks(model, images):
    for block in model.decoder:
        block.register_forward_pre_hook(lambda block, inputs: (inputs[0], inputs[1].roll(1, 0)))
    return _plain(model, images)


@exercise(
    4,
    wrong=[
        _plain,
        lambda model, images: _plain(model, images).roll(1, 0),
        lambda model, images: _with_other_skips(model, images.flip(0)).flip(0),
        lambda model, images: _with_other_deep_maps(model, images, blocks=1),
        lambda model, images: _with_other_deep_maps(model, images, blocks=2),
        _and_leaves_its_hooks,
    ],
    by_person=True,
)
def labels_with_other_skips(answer):
    """Labels of a batch whose decoder gets the skips of the image before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = UNet(4, base_width=4, depth=2).eval()
        images = torch.randn(3, 3, 32, 32)
    expected = _with_other_skips(model, images)
    found = answer(model, images)
    expect(found is not None, "the function returns nothing ｜ 函数没有返回结果")
    left = [block for block in model.decoder if block._forward_pre_hooks]
    expect(not left, "the hooks are still there: remove them ｜ 钩子还在：请撤掉")
    backwards = _with_other_skips(model, images.flip(0)).flip(0)
    deep = "you exchanged the deep maps, not the skips ｜ 换的是深层特征图，而不是跳跃连接"
    for message, wrong in (
        (
            "these are the labels without any exchange ｜ 这是没有交换时的标签",
            _plain(model, images),
        ),
        (
            "the skips come from the image after, not before ｜ 跳跃连接来自后一幅，而不是前一幅",
            backwards,
        ),
        (deep, _with_other_deep_maps(model, images, blocks=1)),
        (deep, _with_other_deep_maps(model, images, blocks=2)),
    ):
        expect(not torch.equal(torch.as_tensor(found), wrong), message)
    expect_tensor(found, expected)
