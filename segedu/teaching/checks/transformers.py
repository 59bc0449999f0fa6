"""Checks of the exercises of *Transformers*."""

import torch
from torch.nn import functional as F

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[[1024, 1024], [16384, 16384**2], [32, 1024], [1024], [1024, 2048], 1024])
def tokens_and_weights(answer):
    """Tokens of an image of 512 x 512 in patches of 16, and the weights of one head."""
    tokens, weights = expect_numbers(answer, 2)
    near = {
        32: "that is one side: there are rows and columns of patches ｜ "
        "那只是一边的块数：图像块有行也有列",
        16384: "that is 512² / 16: the area of a patch is 16² ｜ "
        "那是 512² / 16：一个图像块的面积是 16²",
    }
    expect_number(tokens, 1024, near=near)
    near = {1024: "every token asks every token ｜ 每个词元都询问每个词元"}
    expect_number(weights, 1024**2, near=near)


@exercise(2, wrong=[6, 10 / 3, 4, 7.0, 20, 18])
def weighted_mean(answer):
    """Attention with the scores 0 and ln 3 over the values 8 and 4."""
    near = {
        6: "that is the plain mean: weigh by the exponentials ｜ 那是普通平均：要按指数加权",
        20: "divide by the sum of the exponentials ｜ 还要除以指数之和",
        7: "the larger weight belongs to the value 4 ｜ 较大的权重属于值 4",
    }
    expect_number(answer, 5, tolerance=0.001, near=near)


def cut(image: torch.Tensor, side: int) -> torch.Tensor:
    """Patches of an image (C, H, W), row by row: (n, C * side * side)."""
    return F.unfold(image[None], side, stride=side)[0].T


def _down(image, side):
    rows = cut(image.transpose(1, 2), side)
    return rows.unflatten(1, (-1, side, side)).transpose(2, 3).flatten(1)


def _channels_last(image, side):
    return cut(image, side).unflatten(1, (len(image), -1)).transpose(1, 2).flatten(1)


@exercise(
    3,
    wrong=[
        _down,
        _channels_last,
        lambda image, side: cut(image, side).T,
        lambda image, side: image.reshape(-1, len(image) * side * side),
        lambda image, side: F.unfold(image[None], side)[0].T,
        lambda image, side: None,
    ],
)
def patches(answer):
    """An image cut into patches."""
    cases = [
        (torch.arange(2 * 4 * 6.0).reshape(2, 4, 6), 2),
        (torch.randn(3, 8, 8, generator=drawn(0)), 4),
        (torch.randn(3, 9, 6, generator=drawn(1)), 3),
    ]
    expect_function(answer, cut, cases)


STRIDES, REDUCTIONS = torch.tensor([4, 8, 16, 32]), torch.tensor([8, 4, 2, 1])


def weights_of_stages(height: int, width: int) -> torch.Tensor:
    """Attention weights of one head in the four stages of SegFormer."""
    return _places(height, width) ** 2 // REDUCTIONS**2


def _places(height, width):
    return height * width // STRIDES**2


@exercise(
    4,
    wrong=[
        lambda h, w: _places(h, w) ** 2,
        lambda h, w: _places(h, w) ** 2 // REDUCTIONS,
        lambda h, w: (_places(h, w) // REDUCTIONS**2) ** 2,
        lambda h, w: _places(h, w) // REDUCTIONS**2,
        lambda h, w: weights_of_stages(h, w).sum(),
        lambda h, w: weights_of_stages(h, w).flip(0),
        lambda h, w: None,
    ],
)
def weights_after_reduction(answer):
    """Weights of the four stages, keys reduced by 8, 4, 2 and 1 on a side."""
    sizes = 64 * torch.randint(1, 9, (2, 2), generator=drawn(0))
    cases = [(512, 512), (64, 128), *map(tuple, sizes.tolist())]
    expect_function(answer, weights_of_stages, cases)


def resized(codes: torch.Tensor, side: int) -> torch.Tensor:
    """Codes (n, C) of a square of patches -> (side * side, C), bilinear."""
    old = round(len(codes) ** 0.5)
    grid = codes.T.reshape(1, -1, old, old)
    return F.interpolate(grid, (side, side), mode="bilinear")[0].flatten(1).T


def _along_the_list(codes, side):
    return F.interpolate(codes.T[None], side * side, mode="linear")[0].T


def _cut_or_padded(codes, side):
    return F.pad(codes, (0, 0, 0, side * side - len(codes)))


@exercise(
    5,
    wrong=[
        _along_the_list,
        _cut_or_padded,
        lambda codes, side: resized(codes, side).T,
        lambda codes, side: codes,
        lambda codes, side: None,
    ],
)
def codes_of_another_size(answer):
    """Position codes interpolated on the grid of patches."""
    cases = [
        (torch.tensor([[0.0], [1.0], [2.0], [3.0]]), 4),
        (torch.randn(64, 5, generator=drawn(0)), 12),
        (torch.randn(16, 3, generator=drawn(1)), 6),
    ]
    expect_function(answer, resized, cases, tolerance=1e-5)
