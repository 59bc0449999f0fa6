"""Checks of the exercises of *Dense networks: read everything, add a little*."""

import math

import torch
from torch import Tensor

from segedu.models.dense_unet import DenseBlock
from segedu.teaching.checking import (
    NOTHING,
    exercise,
    expect,
    expect_number,
    expect_numbers,
    expect_tensor,
)


@exercise(1, wrong=[64, 48, 16, 52, 160])
def maps_of_the_first_pooling(answer):
    """Maps that the first pooling of FC-DenseNet103 reads."""
    near = {
        64: "those are the new maps; the old ones stay beside them "
        "｜ 那只是新的特征图，旧的还在旁边",
        48: "those are the old maps; the block adds new ones ｜ 那只是旧的特征图，块还会添加新的",
        52: "each of the 4 layers adds 16 maps, not one ｜ 4 层中的每一层添加 16 张，而不是 1 张",
    }
    expect_number(answer, 112, near=near)


@exercise(2, wrong=[(1520, 160), (1440, 144), (1120, 144), (144, 1520), (1520,), 1520, (760, 72)])
def maps_to_remember(answer):
    """Maps kept by a block of 5 layers that reads 112, and kept if it is recomputed."""
    kept, recomputed = expect_numbers(answer, 2)
    expect(
        (kept, recomputed) != (144, 1520),
        "the usual block comes first ｜ 先写通常的块，后写重算的块",
    )
    expect(
        kept != 1440,
        "the output, kL maps, is missing in the first number ｜ 第一个数漏了输出的 kL 张",
    )
    expect(
        kept != 1120,
        "the layers read their predecessors' maps, too: add kL² "
        "｜ 各层还要读前面各层的特征图：加上 kL²",
    )
    expect(
        kept == 1520,
        "in the first number put c_0 = 112, k = 16 and L = 5 into the formula "
        "｜ 第一个数应把 c_0 = 112、k = 16、L = 5 代入公式得到",
    )
    expect(
        recomputed != 160,
        "no later layer reads the maps of the last one: one k less "
        "｜ 最后一层的特征图没有后面的层来读：少一个 k",
    )
    expect(
        recomputed == 144,
        "the second number is made of k(L − 1) maps to read and kL maps of output "
        "｜ 第二个数应是供读取的 k(L − 1) 张，加上输出的 kL 张",
    )


@exercise(3, wrong=[115, 115.2, 7.2, 117, 64, 36])
def smallest_width_for_the_detour(answer):
    """Smallest c from which the 1×1 detour has fewer weights, for k = 16."""
    near = {
        115: "at 115 the detour has still more weights ｜ 取 115 时，绕路的权重仍然更多",
        115.2: "a number of maps is an integer ｜ 张数是整数",
        7.2: "that is c / k; here k = 16 ｜ 那是 c / k，这里 k = 16",
    }
    expect_number(answer, 116, near=near)


@exercise(4, wrong=[0.05, 0.051, 0.1, 0.9, 0.95, 0.19, 0.9**0.5, 0.0051])
def momentum_of_two_updates(answer):
    """Momentum whose two updates are one with 0.1."""
    near = {
        0.05: "close: two updates with 0.05 leave 0.9025 of the old mean, not 0.9 "
        "｜ 很接近，但用 0.05 更新两次，旧均值剩下 0.9025，而不是 0.9",
        0.051: "near, but not exact enough: give at least four decimals "
        "｜ 精度不够：至少给出四位小数",
        0.9**0.5: "that is what one update leaves of the old mean, 1 − m "
        "｜ 那是一次更新之后旧均值剩下的部分 1 − m",
        0.19: "that is what two updates with 0.1 do; the question is the other way round "
        "｜ 那是用 0.1 更新两次的结果；问题是反过来的",
    }
    expect_number(answer, 1 - math.sqrt(0.9), tolerance=5.1e-5, near=near)


def listening(block: DenseBlock) -> Tensor:
    """Mean absolute weight (L, L) with which layer i reads source j."""
    first, k = block.layers[0][2].in_channels, block.layers[0][2].out_channels
    table = torch.zeros(len(block.layers), len(block.layers))
    for i, layer in enumerate(block.layers):
        parts = layer[2].weight.detach().abs().split([first] + [k] * i, dim=1)
        table[i, : i + 1] = torch.stack([part.mean() for part in parts])
    return table


def _first_as_wide_as_the_others(block: DenseBlock) -> Tensor:
    k, table = block.layers[0][2].out_channels, torch.zeros(len(block.layers), len(block.layers))
    for i, layer in enumerate(block.layers):
        parts = layer[2].weight.detach().abs().split(k, dim=1)
        table[i, : i + 1] = torch.stack([part.mean() for part in parts[: i + 1]])
    return table


def _signed(block: DenseBlock) -> Tensor:
    table = torch.zeros(len(block.layers), len(block.layers))
    for i, layer in enumerate(block.layers):
        parts = layer[2].weight.detach().split([block.layers[0][2].in_channels] + [5] * i, dim=1)
        table[i, : i + 1] = torch.stack([part.mean() for part in parts])
    return table


@exercise(
    5,
    wrong=[
        _signed,
        _first_as_wide_as_the_others,
        lambda block: listening(block).T,
        lambda block: listening(block)[1:],
        lambda block: listening(block) / listening(block).sum(1, keepdim=True),
        lambda block: None,
    ],
    by_person=True,
)
def who_is_listened_to(answer):
    """Mean absolute weights by source."""
    expect(
        callable(answer),
        "listening must be a function ｜ listening 须是一个函数",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = DenseBlock(7, growth_rate=5, layers=4, dropout=0.0)
    found = answer(block)
    expect(found is not None, NOTHING)
    wanted = listening(block)
    if isinstance(found, Tensor) and found.shape == wanted.shape:
        expect(
            not torch.allclose(found, _signed(block)),
            "take the absolute value before the mean ｜ 先取绝对值，再求平均",
        )
        expect(
            not torch.allclose(found, _first_as_wide_as_the_others(block)),
            "source 0 is the input of the block: it has in_channels maps, not k "
            "｜ 来源 0 是块的输入，有 in_channels 张特征图，而不是 k 张",
        )
        expect(
            not torch.allclose(found, wanted.T),
            "rows are layers, columns are sources ｜ 行是层，列是来源",
        )
    expect_tensor(found, wanted)
