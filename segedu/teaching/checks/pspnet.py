"""Checks of the exercises of *PSPNet: context decides*."""

import torch
from torch import nn
from torch.nn import functional as F

from segedu.models.pspnet import PyramidPooling
from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_tensor,
)


@exercise(1, wrong=[30, 29, 60, 58, 944])
def corner_to_corner(answer):
    """3x3 convolutions from one corner of a map of 60 x 60 places to the other."""
    near = {
        30: "that reaches the corners from the middle only ｜ 那只够从正中间看到四角",
        60: "the first place need not be crossed ｜ 起点本身不必跨过",
        944: "that is the width of a field in pixels ｜ 那是以像素计的感受野宽度",
    }
    expect_number(answer, 59, near=near)


def _pool(a, bins):
    channels, height, width = a.shape
    return a.reshape(channels, bins, height // bins, bins, width // bins).mean((2, 4))


@exercise(
    2,
    wrong=[
        lambda a, bins: F.max_pool2d(a, (a.shape[1] // bins, a.shape[2] // bins)),
        lambda a, bins: _pool(a, bins).transpose(1, 2),
        lambda a, bins: a.reshape(len(a), bins, -1, bins).mean(2),
        lambda a, bins: _pool(a, 1).expand(-1, bins, bins),
    ],
)
def average_in_bins(answer):
    """Average pooling to a number of bins."""
    generator = drawn(0)
    cases = [
        (torch.randn(channels, height, width, generator=generator), bins)
        for channels, height, width, bins in ((2, 4, 4, 2), (3, 6, 9, 3), (1, 5, 7, 1))
    ]
    a, bins = cases[0]
    found = answer(a, bins) if callable(answer) else None
    largest = F.max_pool2d(a, (a.shape[1] // bins, a.shape[2] // bins))
    expect(
        not (isinstance(found, torch.Tensor) and torch.equal(found, largest)),
        "these are the largest values, not the means ｜ 取的是最大值，不是平均值",
    )
    expect_function(answer, _pool, cases)


@exercise(3, wrong=[4_194_304, 4_196_352, 1_049_600, 4_200_448, 8_392_704, 52_478_976])
def parameters_of_the_pyramid(answer):
    """Parameters of the four levels that read 2048 channels."""
    near = {
        4_194_304: "the batch normalizations are missing ｜ 漏了批归一化",
        4_196_352: "one of scale and shift is missing ｜ 缩放与平移只算了一个",
        1_049_600: "that is one level ｜ 那只是一级",
        4_200_448: "the convolutions have no bias ｜ 卷积没有偏置",
        52_478_976: "the bins of a level share their weights ｜ 同一级的各格共用权重",
    }
    expect_number(answer, 4_198_400, near=near)


def _labels(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


def _exchanged(model, images, step=1):
    def other(module, inputs, output):
        return output.roll(step, 0)

    handle = model[1].levels[0].register_forward_hook(other)
    labels = _labels(model, images)
    handle.remove()
    return labels


def _and_leaves_its_hook(model, images):
    model[1].levels[0].register_forward_hook(lambda module, inputs, output: output.roll(1, 0))
    return _labels(model, images)


@exercise(
    4,
    wrong=[
        _labels,
        lambda model, images: _labels(model, images).roll(1, 0),
        lambda model, images: _exchanged(model, images, -1),
        _and_leaves_its_hook,
    ],
    by_person=True,
)
def labels_with_other_context(answer):
    """Labels of a batch in which each image gets the pooled context of the one before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 8, stride=8),
            PyramidPooling(4, (1,)),
            nn.Conv2d(8, 3, 1),
            nn.Upsample(scale_factor=8, mode="bilinear"),
        ).eval()
        # patches of one strength, images of another: both must count
        strength = torch.tensor([-2.0, 0.0, 2.0]).reshape(3, 1, 1, 1)
        images = torch.randn(3, 3, 32, 32) + strength
    expected = _exchanged(model, images)
    found = answer(model, images)
    expect(found is not None, NOTHING)
    expect(
        not model[1].levels[0]._forward_hooks,
        "the hook is still there: remove it ｜ 钩子还在：请撤掉",
    )
    messages = {
        "these are the labels without any exchange ｜ 这是没有交换时的标签": _labels(model, images),
        "these are whole answers of the image before, not its context alone ｜ "
        "这是前一幅图像的全部答案，而不只是换了上下文": _labels(model, images).roll(1, 0),
        "the context comes from the image after, not before ｜ 上下文来自后一幅，而不是前一幅": (
            _exchanged(model, images, -1)
        ),
    }
    for message, wrong in messages.items():
        expect(not torch.equal(torch.as_tensor(found), wrong), message)
    expect_tensor(found, expected)
