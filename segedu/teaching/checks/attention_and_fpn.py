"""Checks of the exercises of *Attention and FPN: anywhere, at every scale*."""

import torch
from torch.nn import functional as F

from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_tensor,
)


@exercise(1, wrong=[16.0, 160.0, 19.3, 24])
def weighted_mean(answer):
    """Attention with the scores 0, ln 2, ln 5 over the values 8, 16, 24."""
    near = {
        16: "that is the plain mean: weigh by the exponentials ｜ 这是普通平均：要按指数加权",
        160: "divide by the sum of the exponentials ｜ 还要除以指数之和",
    }
    expect_number(answer, 20, tolerance=0.01, near=near)


@exercise(
    2,
    wrong=[18432, 339_738_624, 1296 * 2**20, 1_358_954_496, 1358.95, 324, 0.0703125, 5_308_416],
)
def table_in_mib(answer):
    """The table of attention over 96 x 192 places, in MiB."""
    near = {
        18432: "that is the number of places ｜ 这是位置数",
        339_738_624: "that is the number of weights ｜ 这是权重的个数",
        1_358_954_496: "these are bytes, not MiB ｜ 这是字节数，不是 MiB",
        1358.954: "1 MiB is 2**20 bytes ｜ 1 MiB 是 2**20 字节",
        324: "each weight has 4 bytes ｜ 每个权重占 4 字节",
        5_308_416: "attention works on the map, not on pixels ｜ 注意力作用在特征图上，不是像素上",
    }
    expect_number(answer, 1296, tolerance=0.5, near=near)


def _attend(a, scale=True, axis=1):
    rows = a.flatten(1).T
    scores = rows @ rows.T / (len(a) ** 0.5 if scale else 1)
    return (scores.softmax(axis) @ rows).T.reshape(a.shape)


def _among_channels(a):
    channels = a.flatten(1)
    return ((channels @ channels.T / len(a) ** 0.5).softmax(1) @ channels).reshape(a.shape)


@exercise(
    3,
    wrong=[
        lambda a: a,
        lambda a: _attend(a, scale=False),
        lambda a: _attend(a, axis=0),
        lambda a: _attend(a).flatten(1).T.reshape(a.shape),
        _among_channels,
    ],
)
def attention_of_a_map(answer):
    """Scaled dot-product attention in which every place is query, key and value."""
    generator = drawn(0)
    cases = [
        (torch.randn(size, generator=generator),) for size in ((4, 3, 5), (2, 4, 4), (9, 1, 2))
    ]
    (a,) = cases[0]
    found = answer(a) if callable(answer) else None
    if isinstance(found, torch.Tensor) and found.shape == a.shape:
        messages = {
            "divide the scores by the root of the number of channels ｜ 得分要除以通道数的平方根": (
                _attend(a, scale=False)
            ),
            "the weights of each row must sum to 1 ｜ 每一行的权重之和必须为 1": _attend(a, axis=0),
            "transpose the rows back before the reshape ｜ 改变形状之前，先把行转置回来": (
                _attend(a).flatten(1).T.reshape(a.shape)
            ),
        }
        for message, wrong in messages.items():
            expect(not torch.allclose(found, wrong, atol=1e-6), message)
    expect_function(answer, _attend, cases, tolerance=1e-5)


def _enlarge(a):
    return F.interpolate(a, scale_factor=2)


def _top_down(maps):
    sums = [maps[-1]]
    for a in reversed(maps[:-1]):
        sums.insert(0, a + _enlarge(sums[0]))
    return sums


def _adds_maps_not_sums(maps):
    return [a + _enlarge(b) for a, b in zip(maps, maps[1:], strict=False)] + [maps[-1]]


def _changes_its_maps(maps):
    for i in range(len(maps) - 2, -1, -1):
        maps[i] = maps[i] + _enlarge(maps[i + 1])
    return maps


def _changes_its_values(maps):
    for i in range(len(maps) - 2, -1, -1):
        maps[i] += _enlarge(maps[i + 1])
    return list(maps)


@exercise(
    4,
    wrong=[
        list,
        _adds_maps_not_sums,
        lambda maps: _top_down(maps)[::-1],
        lambda maps: _top_down(maps)[0],
        lambda maps: _top_down(maps)[:-1],
        _changes_its_maps,
        _changes_its_values,
    ],
)
def sums_on_the_way_down(answer):
    """The sums of lateral maps, from the coarsest to the finest."""
    generator = drawn(0)
    maps = [torch.randn(2, 3, 8 // 2**i, 12 // 2**i, generator=generator) for i in range(3)]
    given = [a.clone() for a in maps]
    expected = _top_down(given)
    found = answer(maps)
    expect(found is not None, NOTHING)
    expect(
        all(torch.equal(a, b) for a, b in zip(maps, given, strict=True)),
        "`maps` was changed: make new tensors ｜ `maps` 被改动了：请建立新的张量",
    )
    expect(
        isinstance(found, list | tuple) and len(found) == 3,
        "a list with one sum per map is wanted ｜ 需要一个列表，每张图对应一个和",
    )
    first = getattr(found[0], "shape", None)
    expect(first != given[-1].shape, "the finest sum comes first ｜ 最细一级的和排在最前面")
    second = _adds_maps_not_sums(given)[0]
    for level, (one, right) in enumerate(zip(found, expected, strict=True)):
        same = isinstance(one, torch.Tensor) and one.shape == second.shape
        expect(
            not (level == 0 and same and torch.allclose(one, second)),
            "add the coarser sum, not the coarser map ｜ 要加上较粗一级的和，而不是较粗一级的图",
        )
        expect_tensor(one, right)


def _attend_near(q, k, v, reach, scale=True):
    places = torch.arange(len(q))
    far = (places[:, None] - places).abs() > reach
    scores = q @ k.T / (q.shape[1] ** 0.5 if scale else 1)
    return scores.masked_fill(far, float("-inf")).softmax(1) @ v


def _masked_after(q, k, v, reach):
    places = torch.arange(len(q))
    near = (places[:, None] - places).abs() <= reach
    return ((q @ k.T / q.shape[1] ** 0.5).softmax(1) * near) @ v


@exercise(
    5,
    wrong=[
        _masked_after,
        lambda q, k, v, reach: _attend_near(q, k, v, reach - 1),
        lambda q, k, v, reach: _attend_near(q, k, v, len(q)),
        lambda q, k, v, reach: _attend_near(q, k, v, reach, scale=False),
        lambda q, k, v, reach: _attend_near(k, q, v, reach),
    ],
)
def attention_with_a_reach(answer):
    """Attention along a row in which a place asks only its neighbours."""
    generator = drawn(0)
    cases = [
        (*(torch.randn(n, c, generator=generator) for c in (d, d, 2)), reach)
        for n, d, reach in ((7, 3, 2), (5, 4, 1), (4, 2, 9))
    ]
    found = answer(*cases[0]) if callable(answer) else None
    if isinstance(found, torch.Tensor) and found.shape == cases[0][2].shape:
        expect(
            not torch.allclose(found, _masked_after(*cases[0]), atol=1e-6),
            "the weights no longer sum to 1: mask before the softmax ｜ "
            "权重之和不再为 1：要在 softmax 之前屏蔽",
        )
        q, k, v, reach = cases[0]
        expect(
            not torch.allclose(found, _attend_near(q, k, v, reach, scale=False), atol=1e-6),
            "divide the scores by the root of d ｜ 得分要除以 d 的平方根",
        )
        for other in (reach - 1, len(q)):  # >= in place of >, no mask at all
            expect(
                not torch.allclose(found, _attend_near(q, k, v, other), atol=1e-6),
                "place i may ask itself and up to `reach` places on each side ｜ "
                "位置 i 可以询问自己，以及两侧各至多 `reach` 个位置",
            )
    expect_function(answer, _attend_near, cases, tolerance=1e-5)
