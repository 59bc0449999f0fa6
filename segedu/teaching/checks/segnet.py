"""Checks of the exercises of *SegNet: where did the maximum come from?*."""

import torch
from torch import Tensor
from torch.nn import functional as F

from segedu.models.segnet import SegNet, segnet_basic
from segedu.teaching.checking import NOTHING, drawn, exercise, expect, expect_number, expect_tensor

UNPOOLED = [[0, 0, 0, 8], [3, 0, 0, 0], [6, 0, 0, 0], [0, 0, 0, 4]]
CORNERS = [[3, 0, 8, 0], [0, 0, 0, 0], [6, 0, 4, 0], [0, 0, 0, 0]]
COLUMNS_FIRST = [[0, 3, 0, 0], [0, 0, 8, 0], [6, 0, 0, 0], [0, 0, 0, 4]]


@exercise(1, wrong=[CORNERS, COLUMNS_FIRST, [3, 8, 6, 4], 0])
def unpooled_by_hand(answer):
    """Four values at their places."""
    known = {
        "the values stand in the upper left corners: use the places ｜ "
        "值都放在了左上角：要用上位置编号": CORNERS,
        "place 1 is the upper right of a square, place 2 the lower left ｜ "
        "位置 1 是方块的右上，位置 2 是左下": COLUMNS_FIRST,
    }
    plain = answer.tolist() if hasattr(answer, "tolist") else answer
    for message, wrong in known.items():
        expect(plain != wrong, message)
    expect_tensor(answer, UNPOOLED)


@exercise(2, wrong=[10_880, 1_360, 348_160, 348.16, 2_720, 5.3125])
def places_of_a_network(answer):
    """KiB of the places of 64 channels, pooled four times, for an image of 256 x 256 pixels."""
    near = {
        10_880: "those are indices of 8 bytes ｜ 那是 8 字节的索引",
        2_720: "two bits are a quarter of a byte, not two bytes ｜ "
        "两个比特是四分之一字节，不是两个字节",
        1_360: "a place belongs to a maximum, so count after each pooling ｜ "
        "一个最大值才有一个位置，要按每次池化之后的尺寸来数",
        348_160: "those are bytes ｜ 那是字节数",
        348.16: "1 KiB is 1,024 bytes, not 1,000 ｜ 1 KiB 是 1,024 字节，不是 1,000",
        5.3125: "there are 64 channels ｜ 一共有 64 个通道",
    }
    expect_number(answer, 340, near=near)


def pack(places: Tensor) -> Tensor:
    """Four places (4n,) in each byte (n,), the first in the lowest bits."""
    return (places.reshape(-1, 4) * torch.tensor([1, 4, 16, 64])).sum(1).to(torch.uint8)


def _backwards(places: Tensor) -> Tensor:
    return (places.reshape(-1, 4) * torch.tensor([64, 16, 4, 1])).sum(1).to(torch.uint8)


def _spread(places: Tensor) -> Tensor:
    return pack(places.reshape(4, -1).T.flatten())


@exercise(
    3,
    wrong=[
        _backwards,
        lambda places: pack(places).long(),
        lambda places: places.to(torch.uint8),
        _spread,
        lambda places: None,
    ],
)
def packed_places(answer):
    """Four places in a byte."""
    more = torch.randint(0, 4, (20,), generator=drawn(0)).tolist()
    for places in ([3, 0, 1, 2], [0, 0, 0, 1], [2, 2, 2, 2, 1, 3, 0, 0, 3, 3, 3, 3], more):
        places = torch.tensor(places)
        found = answer(places)
        expect(found is not None, NOTHING)
        expect(
            isinstance(found, Tensor) and found.dtype == torch.uint8,
            "the result must be a tensor of type torch.uint8 ｜ 结果须是 torch.uint8 类型的张量",
        )
        expect(
            len(places) > 4 or not torch.equal(found, _backwards(places)),
            "the first place belongs in the lowest two bits, factor 1 ｜ "
            "第一个位置应放在最低的两个比特，乘 1",
        )
        expect(
            len(places) == 4 or not torch.equal(found, _spread(places)),
            "a byte holds four places that follow each other: reshape(-1, 4) ｜ "
            "一个字节装相邻的四个位置：reshape(-1, 4)",
        )
        expect_tensor(found, pack(places))


def with_other_places(model: SegNet, images: Tensor, shift: int = 1, sized: bool = True) -> Tensor:
    """Labels (N, H, W) from the values of each image and the places of the one before."""
    x, kept = images, []
    with torch.no_grad():
        for stage in model.encoder:
            full = stage(x)
            x, indices = F.max_pool2d(full, 2, return_indices=True)
            kept.append((indices.roll(shift, 0), full.shape[-2:]))
        for stage in model.decoder:
            indices, size = kept.pop()
            x = stage(F.max_unpool2d(x, indices, 2, output_size=size if sized else None))
    return x.argmax(1)


@exercise(
    4,
    wrong=[
        lambda model, images: with_other_places(model.eval(), images, 0),
        lambda model, images: with_other_places(model.eval(), images, -1),
        lambda model, images: with_other_places(model.eval(), images, 0).roll(1, 0),
        lambda model, images: with_other_places(model.eval(), images, sized=False),
        lambda model, images: with_other_places(model, images),
        lambda model, images: with_other_places(model.train(), images),
        lambda model, images: None,
    ],
    by_person=True,
)
def labels_from_other_places(answer):
    """Labels of a batch whose decoder gets the places of the image before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = segnet_basic(4, base_width=4)
        images = torch.randn(3, 3, 33, 35)  # odd: unpooling needs the size
        with torch.no_grad():
            for _ in range(50):
                model(images)  # until the running statistics fit: else one class wins everywhere
    normalized_by_batch = with_other_places(model, images)
    model.eval()
    right = with_other_places(model, images)
    known = {
        "these are the labels with each image's own places ｜ 这是各用自己的位置时的标签": (
            with_other_places(model, images, 0)
        ),
        "the places come from the image after, not before ｜ 位置来自后一幅，而不是前一幅": (
            with_other_places(model, images, -1)
        ),
        "the network is in training mode: begin with model.eval() ｜ "
        "网络处于训练模式：开头要用 model.eval()": normalized_by_batch,
    }
    model.train()  # the answer has to switch to eval
    try:
        found = answer(model, images)
    except (RuntimeError, ValueError):
        answer(model, images[..., :32, :32])  # what fails here, too, has another cause
        expect(
            False,
            "it fails where a side is odd: give max_unpool2d the output_size ｜ "
            "边长为奇数时出错：要给 max_unpool2d 传入 output_size",
        )
    expect(found is not None, NOTHING)
    for message, wrong in known.items():
        expect(not torch.equal(torch.as_tensor(found).cpu(), wrong), message)
    expect_tensor(found, right)
