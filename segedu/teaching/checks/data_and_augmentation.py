"""Checks of the exercises of *Data and augmentation*."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from segedu.teaching.checking import (
    WrongAnswerError,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_tensor,
)

LABELS = torch.tensor([[8, 16, 3], [255, 16, 37]], dtype=torch.uint8)


def _save(path: Path, palette: bool) -> Path:
    png = Image.fromarray(LABELS.numpy())
    if palette:
        png.putpalette([(31 * value + 90) % 256 for value in range(768)])
    png.save(path)
    return path


def _brightness(path):
    return torch.tensor([*Image.open(path).convert("L").tobytes()]).reshape(2, 3)


def _numbers(path):
    return torch.tensor([*Image.open(path).tobytes()]).reshape(2, 3)


def _same(answer, numbers):
    return np.array_equal(np.asarray(answer), np.asarray(numbers))


@exercise(1, wrong=[[0, 2, 5, 7], [1, 4, 6, 9], [1, 3, 6], [1.25, 3.75, 6.25, 8.75]])
def copied_pixels(answer):
    """Pixels that the rule of the centre copies, from 10 to 4."""
    found = torch.as_tensor(answer).double()
    messages = {
        "that is the rule without 1/2 ｜ 那是没有二分之一的规则": [0, 2, 5, 7],
        "the centres must be rounded down ｜ 中心要向下取整": [1.25, 3.75, 6.25, 8.75],
    }
    for message, wrong in messages.items():
        expect(found.tolist() != wrong, message)
    expect_tensor(found, [1.0, 3.0, 6.0, 8.0])


def _expect_unconverted(found, path):
    found = np.squeeze(np.asarray(found))  # ToTensor adds an axis
    expect(
        not _same(found, _brightness(path)),
        "these are the grey values of the palette, not the class numbers: "
        "do not convert to grey ｜ "
        "这些是调色板颜色的灰度，不是类别编号：不要转成灰度",
    )
    divided = _numbers(path) / 255
    expect(
        not (_same(found, divided) or _same(found, divided.long())),
        "the class numbers were divided by 255: do not read them with ToTensor ｜ "
        "类别编号被除以了 255：不要用 ToTensor 读取",
    )


@exercise(
    2,
    wrong=[
        _brightness,
        lambda path: _numbers(path) // 255,
        lambda path: (_numbers(path) / 255)[None],
        lambda path: _numbers(path).to(torch.uint8),
        lambda path: _numbers(path)[None],
        LABELS,
    ],
    by_person=True,
)
def read_mask(answer):
    """The class numbers of a PNG file."""
    with tempfile.TemporaryDirectory() as folder:
        for palette in (True, False):
            path = _save(Path(folder) / f"{palette}.png", palette)
            try:
                expect_function(answer, lambda _: LABELS, [(path,)])
            except WrongAnswerError:
                if callable(answer):
                    _expect_unconverted(answer(path), path)
                raise
            expect(
                answer(path).dtype == torch.int64,
                "the numbers are right, but the type is not torch.int64 ｜ "
                "编号正确，但类型不是 torch.int64",
            )


@exercise(3, wrong=[0.68, 0.32, 0.8**5, 1 - 0.68**5, 0.32**5, 0.64**5, 1 / 7])
def no_wrong_pair(answer):
    """Probability that five pairs with two draws each are all right."""
    near = {
        0.68: "that is one sample, not five ｜ 那是一个样本的概率，不是五个",
        0.32: "that is the probability that one pair is wrong ｜ 那是一个配对出错的概率",
        0.8**5: "the mask is drawn, too ｜ 掩膜也要抽取",
        1 - 0.68**5: "that is the probability of seeing a wrong one ｜ 那是至少看到一个错误的概率",
        1 / 7: "that is too coarse: give three decimals ｜ 这样太粗略：请保留三位小数",
        0.64**5: "a pair is right as well if both are mirrored ｜ 两者都翻转，配对也是对的",
    }
    expect_number(answer, 0.68**5, tolerance=1e-3, near=near)


def _shifted(image, mask, columns):
    new = torch.zeros_like(image), torch.full_like(mask, 255)
    new[0][:, :, columns:] = image[:, :, :-columns]
    new[1][:, columns:] = mask[:, :-columns]
    return new


def _shifted_left(image, mask, columns):
    mirrored = _shifted(image.flip(-1), mask.flip(-1), columns)
    return tuple(part.flip(-1) for part in mirrored)


def _shift_in_place(image, mask, columns):
    for part, moved in zip((image, mask), _shifted(image, mask, columns), strict=True):
        part.copy_(moved)
    return image, mask


@exercise(
    4,
    wrong=[
        lambda image, mask, columns: (image.roll(columns, -1), mask.roll(columns, -1)),
        lambda image, mask, columns: _shifted_left(image, mask, columns),
        lambda image, mask, columns: (_shifted(image, mask, columns)[0], mask),
        lambda image, mask, columns: (
            _shifted(image, mask, columns)[0],
            _shifted(image, mask, columns)[1] % 255,
        ),
        lambda image, mask, columns: _shifted(image, mask, columns)[0],
        _shift_in_place,
    ],
)
def shift(answer):
    """Image and mask moved to the right together."""
    generator = drawn(0)
    image = torch.rand(3, 4, 6, generator=generator)
    mask = torch.randint(1, 5, (4, 6), generator=generator)
    for columns in (1, 4):
        given = image.clone(), mask.clone()
        found = answer(*given, columns)
        expect(
            isinstance(found, tuple | list) and len(found) == 2,
            "two things are wanted: the image and the mask ｜ 需要两样东西：图像与掩膜",
        )
        wanted = _shifted(image, mask, columns)
        expect(
            not torch.equal(torch.as_tensor(found[1]), mask),
            "the mask has not moved ｜ 掩膜没有移动",
        )
        expect(
            not _same(found[1], _shifted_left(image, mask, columns)[1]),
            "that is a shift to the left ｜ 这是向左平移",
        )
        expect(
            not _same(found[1], mask.roll(columns, -1)),
            "what leaves on the right must not come back on the left ｜ "
            "从右边移出的部分不能从左边回来",
        )
        names = (("image", "图像"), ("mask", "掩膜"))
        for (english, chinese), part, right in zip(names, found, wanted, strict=True):
            try:
                expect_tensor(part, right)
            except WrongAnswerError as error:
                first, _, second = str(error).partition(" ｜ ")
                raise WrongAnswerError(f"{english}: {first} ｜ {chinese}：{second}") from None
        expect(
            torch.equal(given[0], image) and torch.equal(given[1], mask),
            "the tensors that were given have changed ｜ 传入的张量被改动了",
        )


def _averaged(mask, factor, num_classes):
    return F.avg_pool2d(mask[None].float(), factor)[0].round().long()


def _corner(mask, factor, num_classes):
    return mask[::factor, ::factor]


def _centre(mask, factor, num_classes):
    return mask[factor // 2 :: factor, factor // 2 :: factor]


def _most_frequent(mask, factor, num_classes):
    planes = F.one_hot(mask, num_classes).permute(2, 0, 1).float()  # (C, H, W)
    return F.avg_pool2d(planes[None], factor)[0].argmax(0)


@exercise(
    5,
    wrong=[
        _averaged,
        _corner,
        _centre,
        lambda mask, factor, num_classes: _most_frequent(mask, factor, num_classes).float(),
        lambda mask, factor, num_classes: _most_frequent(mask, factor, num_classes)[None],
    ],
)
def shrink(answer):
    """The most frequent class of each block."""
    generator = drawn(0)
    cases = []
    for factor, rows, columns in ((3, 4, 5), (2, 6, 6)):
        major = torch.randint(0, 7, (rows, columns), generator=generator)  # of each block
        blocks = major[..., None].repeat(1, 1, factor * factor)
        few = (factor * factor - 1) // 2  # pixels of each block that show something else
        blocks[..., :few] = (major[..., None] + 3) % 7
        order = torch.rand(blocks.shape, generator=generator).argsort(-1)
        mask = blocks.gather(-1, order).reshape(rows, columns, factor, factor)
        cases.append((mask.transpose(1, 2).reshape(rows * factor, columns * factor), factor, 7))
    messages = {
        "the class numbers were averaged ｜ 对类别编号取了平均": _averaged,
        "one pixel of each block was copied: count all of them ｜ "
        "从每个方块中只复制了一个像素：要数全部像素": _centre,
        "the first pixel of each block was copied: count all of them ｜ "
        "复制的是每个方块的第一个像素：要数全部像素": _corner,
    }
    try:
        expect_function(answer, _most_frequent, cases)
    except WrongAnswerError:
        for message, wrong in messages.items():
            same = callable(answer) and _same(answer(*cases[0]), wrong(*cases[0]))
            expect(not same, message)
        raise
    expect(
        torch.as_tensor(answer(*cases[0])).dtype == torch.int64,
        "the classes are right, but the type is not torch.int64 ｜ "
        "类别正确，但类型不是 torch.int64",
    )
