"""Checks of the exercises of *Training in 3-D*."""

import torch

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
    expect_tensor,
)


@exercise(1, wrong=[(3456, 16), (1168, 16), (3472, 4), (3472, 16.78), 3472])
def weights_and_memory(answer):
    """Parameters of a layer, and MiB of its output."""
    parameters, memory = expect_numbers(answer, 2)
    expect_number(
        parameters,
        3472,
        near={
            3456: "the biases are missing ｜ 漏了偏置",
            1168: "that is a kernel of 3×3 ｜ 那是 3×3 的卷积核",
        },
    )
    expect_number(
        memory,
        16,
        tolerance=1e-6,
        near={4: "a number takes 4 bytes ｜ 每个数占 4 字节"},
    )


@exercise(2, wrong=[(3, 10), (7, 35), (9, 40), (7, 6)])
def how_far(answer):
    """Slices in the receptive field, and their extent."""
    slices, length = expect_numbers(answer, 2)
    expect_number(slices, 7, near={3: "that is one convolution ｜ 那只是一个卷积"})
    expect_number(
        length,
        30,
        near={35: "from middle to middle there are 6 steps ｜ 从中心到中心只有 6 个间隔"},
    )


def _stacks(volume, n):
    last = len(volume) - 1
    numbers = [[min(max(d + k, 0), last) for k in range(-n, n + 1)] for d in range(last + 1)]
    return volume[torch.tensor(numbers)]


def _wrapped(volume, n):
    return torch.stack([volume.roll(-k, 0) for k in range(-n, n + 1)], dim=1)


@exercise(3, wrong=[_wrapped, lambda v, n: _stacks(v, n).flip(1), lambda v, n: v[:, None], 3])
def stacks(answer):
    """Each slice with its neighbours as channels."""
    generator = drawn(3)
    cases = [(torch.rand(d, 2, 3, generator=generator), n) for d, n in ((4, 1), (5, 2), (2, 3))]
    expect_function(answer, _stacks, cases)


@exercise(
    4,
    wrong=[
        [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
        [[0, 2, 0], [-0.5, 0, 0], [0, 0, 1]],
        [[0, -0.5, 0], [2, 0, 0], [0, 0, 1]],
        0.5,
    ],
)
def in_millimetres(answer):
    """A quarter turn where slices are twice as far apart as pixels."""
    right = torch.tensor([[0, 0.5, 0], [-2, 0, 0], [0, 0, 1]])
    found = torch.as_tensor(answer).double()
    if found.shape == right.shape:
        swapped = torch.tensor([[0, 2, 0], [-0.5, 0, 0], [0, 0, 1]]).double()
        expect(
            not torch.allclose(found, swapped),
            "that is S R inv(S): S and its inverse are swapped ｜ 那是 S R inv(S)：S 与逆放反了",
        )
    expect_tensor(answer, right)


def _inflate(weight):
    cube = torch.zeros(*weight.shape, 3).movedim(-1, 2)
    cube[:, :, 1] = weight
    return cube


@exercise(
    5,
    wrong=[
        lambda w: w[:, :, None].expand(-1, -1, 3, -1, -1),
        lambda w: w[:, :, None].expand(-1, -1, 3, -1, -1) / 3,
        lambda w: _inflate(w).transpose(2, 4),
        lambda w: w,
    ],
)
def slice_inside(answer):
    """A 2-D kernel as a 3-D one."""
    generator = drawn(5)
    cases = [(torch.randn(o, i, 3, 3, generator=generator),) for o, i in ((1, 1), (2, 3))]
    expect_function(answer, _inflate, cases)
