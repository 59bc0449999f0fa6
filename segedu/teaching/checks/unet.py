"""Checks of the exercises of *U-Net and U-Net++*."""

import torch

from segedu.models.unet import UNet, valid_output_size
from segedu.teaching.checking import (
    NOTHING,
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


def channels_read(i: int, j: int, width: int) -> int:
    """Channels of all maps that block j of row i of U-Net++ puts side by side."""
    return (j + 2) * width * 2**i


@exercise(
    2,
    wrong=[
        lambda i, j, width: j * width * 2**i,
        lambda i, j, width: (j + 1) * width * 2**i,
        lambda i, j, width: 3 * width * 2**i,
        lambda i, j, width: (j + 2) * width,
        15,
    ],
)
def inputs_of_a_block(answer):
    """Channels that a block of U-Net++ reads."""
    expect_function(answer, channels_read, [])
    generator = drawn(0)
    i, j, width = (int(torch.randint(n, n + 3, (1,), generator=generator)) for n in (2, 4, 5))
    row = width * 2**i
    near = {
        j * row: "the map from the row below is missing ｜ 漏了来自下一行的特征图",
        (j + 1) * row: "the row below has twice as many channels ｜ 下一行的通道数是本行的两倍",
        3 * row: "the block reads all earlier blocks of its row ｜ 要读本行所有较早的块",
        (j + 2) * width: "the channels double from row to row ｜ 每往下一行，通道数加倍",
    }
    found = answer(i, j, width)
    expect(found is not None, NOTHING)
    for mistake, message in near.items():
        expect(found != mistake, message)
    cases = [(i, j, width), (0, 1, 5), (0, 4, 5), (3, 1, 32), (1, 2, 8)]
    expect_function(answer, channels_read, cases)


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


def _labels(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


def _with_other_inputs(model, images, change, blocks=slice(None)):
    """Labels where each step up of ``blocks`` reads ``change(deep, skip)``."""
    handles = [
        block.register_forward_pre_hook(lambda block, inputs: change(*inputs))
        for block in model.decoder[blocks]
    ]
    labels = _labels(model, images)
    for handle in handles:
        handle.remove()
    return labels


def _skips_of_the_one_before(deep, skip):
    return deep, skip.roll(1, 0)


def _skips_of_the_one_after(deep, skip):
    return deep, skip.roll(-1, 0)


def _deep_maps_of_the_one_before(deep, skip):
    return deep.roll(1, 0), skip


def _with_other_skips(model, images, blocks=slice(None)):
    return _with_other_inputs(model, images, _skips_of_the_one_before, blocks)


def _and_leaves_its_hooks(model, images):
    for block in model.decoder:
        block.register_forward_pre_hook(lambda block, inputs: (inputs[0], inputs[1].roll(1, 0)))
    return _labels(model, images)


def _and_leaves_training_mode(model, images):
    return _with_other_skips(model.train(), images)


@exercise(
    4,
    wrong=[
        _labels,
        lambda model, images: _labels(model, images).roll(1, 0),
        lambda model, images: _with_other_skips(model, images, slice(1)),
        lambda model, images: _with_other_skips(model, images, slice(1, None)),
        lambda model, images: _with_other_inputs(model, images, _skips_of_the_one_after),
        lambda model, images: _with_other_inputs(
            model, images, _deep_maps_of_the_one_before, slice(1)
        ),
        lambda model, images: _with_other_inputs(model, images, _deep_maps_of_the_one_before),
        _and_leaves_its_hooks,
        _and_leaves_training_mode,
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
    mistakes = {
        "these are the labels without any exchange ｜ 这是没有交换时的标签": [
            _labels(model, images)
        ],
        "the deep maps must stay those of image n ｜ 深层特征图必须仍是第 n 幅图像的": [
            _labels(model, images).roll(1, 0)
        ],
        "exchange all skips, not only one ｜ 要换全部跳跃连接，不能只换一条": [
            _with_other_skips(model, images, slice(1)),
            _with_other_skips(model, images, slice(1, None)),
        ],
        "the skips come from the image after, not before ｜ 跳跃连接来自后一幅，而不是前一幅": [
            _with_other_inputs(model, images, _skips_of_the_one_after)
        ],
        "you exchanged the deep maps, not the skips ｜ 换的是深层特征图，而不是跳跃连接": [
            _with_other_inputs(model, images, _deep_maps_of_the_one_before, slice(1)),
            _with_other_inputs(model, images, _deep_maps_of_the_one_before),
        ],
    }
    found = answer(model, images)
    expect(found is not None, NOTHING)
    left = [block for block in model.decoder if block._forward_pre_hooks]
    expect(not left, "the hooks are still there: remove them ｜ 钩子还在：请撤掉")
    mode = "the model is in training mode now: leave its mode ｜ 模型变成了训练模式：不要改动模式"
    expect(not model.training, mode)
    for message, wrong in mistakes.items():
        same = any(torch.equal(torch.as_tensor(found).cpu(), labels) for labels in wrong)
        expect(not same, message)
    expect_tensor(found, expected)
