"""Checks of the exercises of *Memory and speed*."""

import math

import torch

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(
    1,
    wrong=[
        (8192, 1_920_000),
        (16_384, 1_920_000),
        (2048, 480_000),
        (32_768, 640_000),
        (32_768, 960_000),
        (32_768, 480_000),
    ],
)
def bytes_of_a_layer(answer):
    """Bytes that training keeps for the weights of a layer, and for its input."""
    weights, kept = expect_numbers(answer, 2)
    near = {
        2048: "those are the weights: bytes are wanted, with gradient and Adam ｜ "
        "那是权重的个数：要的是字节数，还要算上梯度与 Adam",
        8192: "gradient and Adam are missing ｜ 漏了梯度与 Adam",
        16_384: "Adam keeps two numbers for each weight ｜ Adam 为每个权重保留两个数",
    }
    expect_number(weights, 32_768, near=near)
    near = {
        480_000: "those are numbers: each takes 4 bytes ｜ 那是数的个数：每个数占 4 字节",
        640_000: "that is one image of three ｜ 那只是三幅图像中的一幅",
        960_000: "that is the output: the input is kept ｜ 那是输出：保留的是输入",
    }
    expect_number(kept, 1_920_000, near=near)


@exercise(2, wrong=[(9, 35), (8.84, 33.4), (8, 35), (9, 33), 8])
def largest_batch(answer):
    """Images that fit into 8 GiB, without and with gradient checkpointing."""
    plain, checkpointed = expect_numbers(answer, 2)
    fixed = "500 MiB are taken before the first image ｜ 还没有放图像，就已用去 500 MiB"
    expect_number(plain, 8, near={9: fixed})
    expect_number(checkpointed, 33, near={35: fixed})


def _most_maps(blocks: int, group: int) -> int:
    return math.ceil(blocks / group) + 4 * group


@exercise(
    3,
    wrong=[
        lambda blocks, group: blocks + 4,
        lambda blocks, group: blocks // group + 4 * group,
        lambda blocks, group: math.ceil(blocks / group) * 4 * group,
        lambda blocks, group: math.ceil(blocks / group) + group,
        lambda blocks, group: 4 * blocks,
        9,
    ],
)
def maps_of_a_chain(answer):
    """Most maps that a checkpointed chain keeps at one time."""
    drawn_groups = torch.randint(2, 9, (3,), generator=drawn(3)).tolist()
    cases = [(5, 1), (16, 4), (10, 3), *((97, group) for group in drawn_groups)]
    expect_function(answer, _most_maps, cases)


@exercise(
    4,
    wrong=[
        lambda load, compute: load // compute,
        lambda load, compute: load / compute,
        lambda load, compute: round(load / compute),
        lambda load, compute: load // compute + 1,
        lambda load, compute: math.ceil(compute / load),
        4,
    ],
)
def workers(answer):
    """Fewest processes that load as fast as the network computes."""
    drawn_loads = torch.randint(30, 300, (3,), generator=drawn(4)).tolist()
    cases = [(300, 100), (210, 100), (20, 100), *((load, 37) for load in drawn_loads)]
    expect_function(answer, lambda load, compute: math.ceil(load / compute), cases)


def _mean_over_all(losses: list[float], counts: list[int]) -> float:
    return sum(x * n for x, n in zip(losses, counts, strict=True)) / sum(counts)


@exercise(
    5,
    wrong=[
        lambda losses, counts: sum(losses) / len(losses),
        lambda losses, counts: sum(x * n for x, n in zip(losses, counts, strict=True)),
        lambda losses, counts: _mean_over_all(losses, counts) / len(counts),
        lambda losses, counts: None,
        1.25,
    ],
)
def loss_of_unequal_parts(answer):
    """Mean loss over all labelled pixels, out of the mean losses of parts."""
    losses = torch.rand(4, generator=drawn(5)).tolist()
    counts = torch.randint(1, 500, (4,), generator=drawn(5)).tolist()
    cases = [([1.0, 2.0], [300, 100]), ([0.5, 0.7], [50, 50]), (losses, counts)]
    expect_function(answer, _mean_over_all, cases)
