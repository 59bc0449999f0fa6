"""Checks of the exercises of *Smaller networks*."""

import torch
from torch import Tensor

from segedu.compress import soft_label_loss
from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
    expect_tensor,
)


@exercise(
    1,
    wrong=[
        (18_432, 4608, 4608),
        (4608, 4608, 2_764_800),
        (18_432, 2304, 2_764_800),
        (18_432, 36_864, 2_764_800),
        (18_432, 4608, 11_059_200),
        (2048, 512, 307_200),
        18_432,
    ],
)
def prices_of_a_layer(answer):
    """Bytes as float32 and as int8, and MACs, of a 3×3 convolution."""
    floats, integers, macs = expect_numbers(answer, 3)
    near = {
        4608: "those are the weights: float32 takes 4 bytes each ｜ "
        "那是权重的个数：float32 每个占 4 字节",
        2048: "a 3×3 filter has nine weights for each input channel ｜ "
        "3×3 的滤波器对每个输入通道有九个权重",
    }
    expect_number(floats, 18_432, near=near)
    near = {36_864: "those are bits: a byte has 8 ｜ 那是位数：一个字节有 8 位"}
    expect_number(integers, 4608, near=near)
    near = {
        4608: "that is the work for one pixel ｜ 那只是一个像素的计算量",
        11_059_200: "a MAC uses a weight once, however many bytes it has ｜ "
        "一次乘加用一个权重，与它占几个字节无关",
    }
    expect_number(macs, 2_764_800, near=near)


def _fixed_range(x: Tensor, low: float, high: float) -> Tensor:
    scale = (high - low) / 255
    return ((x / scale).round() + round(-low / scale)).clamp(0, 255)


def _own_range(x: Tensor, low: float, high: float) -> Tensor:
    return _fixed_range(x, x.min().item(), x.max().item())


def _not_clamped(x: Tensor, low: float, high: float) -> Tensor:
    scale = (high - low) / 255
    return (x / scale).round() + round(-low / scale)


@exercise(
    2,
    wrong=[
        _own_range,
        _not_clamped,
        lambda x, low, high: (x / ((high - low) / 255)).round().clamp(0, 255),
        lambda x, low, high: _fixed_range(x, low, high) * (high - low) / 255,
        lambda x, low, high: _fixed_range(x, low, high).clamp(0, 254),
        7,
    ],
)
def fixed_range(answer):
    """Whole numbers of 8 bits, with a range that was measured before."""
    # Multiples of the scale, and a little more, so that no value lies between two numbers.
    places = torch.randint(-80, 300, (2, 3, 5), generator=drawn(2))
    cases = [(torch.tensor([-1.0, 0.0, 0.31, 1.55, 9.0]), -0.5, 2.05)]
    cases += [(0.02 * (p + 0.2), -0.02 * 55, 0.02 * 200) for p in places]
    expect_function(answer, _fixed_range, cases)


def _rounded(weight: Tensor, bits: int, axes: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    scale = weight.abs().amax(axes, keepdim=True) / (2 ** (bits - 1) - 1)
    return scale * (weight / scale).round()


@exercise(
    3,
    wrong=[
        lambda weight, bits: _rounded(weight, bits, (0, 1, 2, 3)),
        lambda weight, bits: _rounded(weight, bits, (0, 2, 3)),
        lambda weight, bits: _rounded(weight, bits + 1),
        lambda weight, bits: weight,
        lambda weight, bits: (
            weight / weight.abs().amax((1, 2, 3), True) * (2 ** (bits - 1) - 1)
        ).round(),
        3,
    ],
)
def scale_for_each_filter(answer):
    """Weights rounded with a scale per filter."""
    weights = torch.randn(2, 4, 4, 3, 3, generator=drawn(3))
    sizes = torch.tensor([1.0, 0.1, 3.0, 0.02])[:, None, None, None]
    cases = [(w * sizes, bits) for w, bits in zip(weights, (4, 8), strict=True)]
    expect_function(answer, _rounded, cases)


def _cut(first: Tensor, second: Tensor, number: int) -> tuple[Tensor, Tensor]:
    keep = first.abs().sum(1).topk(number).indices.sort().values
    return first[keep], second[:, keep]


def _signed(first: Tensor, second: Tensor, number: int) -> tuple[Tensor, Tensor]:
    keep = first.sum(1).topk(number).indices.sort().values
    return first[keep], second[:, keep]


def _weakest(first: Tensor, second: Tensor, number: int) -> tuple[Tensor, Tensor]:
    keep = first.abs().sum(1).topk(number, largest=False).indices.sort().values
    return first[keep], second[:, keep]


def _by_size(first: Tensor, second: Tensor, number: int) -> tuple[Tensor, Tensor]:
    keep = first.abs().sum(1).argsort(descending=True)[:number]
    return first[keep], second[:, keep]


@exercise(
    4,
    wrong=[
        _signed,
        _weakest,
        _by_size,
        lambda first, second, number: (_cut(first, second, number)[0], second),
        lambda first, second, number: (first[:number], second[:, :number]),
        lambda first, second, number: _cut(first, second, number)[0],
        lambda first, second, number: None,
    ],
)
def cut_two_layers(answer):
    """Two layers without the channels of smallest norm."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    first, second = torch.randn(6, 3, generator=drawn(4)), torch.randn(2, 6, generator=drawn(5))
    first[4] = -3 - first[4].abs()  # matters most, though its sum is the smallest
    for number in (2, 3, 5):
        found, wanted = answer(first, second, number), _cut(first, second, number)
        expect(found is not None, NOTHING)
        expect(
            isinstance(found, list | tuple) and len(found) == 2,
            "return two matrices, the first and the second ｜ 返回两个矩阵：第一个与第二个",
        )
        for matrix, expected in zip(found, wanted, strict=True):
            expect_tensor(matrix, expected)


def _symmetric(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return soft_label_loss(teacher, student, temperature)


@exercise(
    5,
    wrong=[
        _symmetric,
        lambda s, t, temperature: soft_label_loss(s, t, temperature) / temperature**2,
        lambda s, t, temperature: soft_label_loss(s, t, 1.0),
        lambda s, t, temperature: soft_label_loss(s, t, temperature) * len(s),
        lambda s, t, temperature: soft_label_loss(s, t, temperature) / s.shape[1],
        0.5,
    ],
)
def soft_loss(answer):
    """Mean loss of soft labels over some pixels."""
    logits = 2 * torch.randn(3, 2, 5, 4, generator=drawn(6))
    cases = [
        (*pair, temperature) for pair, temperature in zip(logits, (1.5, 2.0, 4.0), strict=True)
    ]
    expect_function(answer, soft_label_loss, cases, tolerance=1e-4)


def _unbeaten(times: list[float], qualities: list[float]) -> list[int]:
    pairs = list(zip(times, qualities, strict=True))
    return [
        i
        for i, (t, q) in enumerate(pairs)
        if not any(a <= t and b >= q and (a, b) != (t, q) for a, b in pairs)
    ]


def _strictly(times: list[float], qualities: list[float]) -> list[int]:
    pairs = list(zip(times, qualities, strict=True))
    return [i for i, (t, q) in enumerate(pairs) if not any(a < t and b > q for a, b in pairs)]


def _or_equal(times: list[float], qualities: list[float]) -> list[int]:
    pairs = list(enumerate(zip(times, qualities, strict=True)))
    return [
        i for i, (t, q) in pairs if not any(j != i and a <= t and b >= q for j, (a, b) in pairs)
    ]


@exercise(
    6,
    wrong=[
        _strictly,
        _or_equal,
        lambda times, qualities: [qualities.index(max(qualities))],
        lambda times, qualities: list(range(len(times))),
        lambda times, qualities: _unbeaten([-t for t in times], qualities),
        [0, 2],
    ],
)
def unbeaten(answer):
    """Numbers of the networks that none beats in time and quality."""
    times = torch.randint(1, 9, (8,), generator=drawn(7)).tolist()
    qualities = (torch.randint(1, 9, (8,), generator=drawn(8)) / 10).tolist()
    cases = [
        ([1, 2, 3], [0.5, 0.4, 0.6]),
        ([1, 1, 2, 3], [0.5, 0.4, 0.5, 0.7]),
        ([2, 2, 1], [0.6, 0.6, 0.3]),
        (times, qualities),
    ]
    expect_function(answer, _unbeaten, cases)
