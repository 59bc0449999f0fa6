"""Checks of the exercises of *Choosing a model*."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from segedu.teaching.checking import drawn, exercise, expect, expect_function, expect_tensor

Row = tuple[float, float, float]  # score, ms, MB


@exercise(1, wrong=["A", "C", "D", "B, C", 0.74])
def other_limits(answer):
    """The best candidate within 70 ms and 100 MB."""
    expect(
        isinstance(answer, str),
        "the name of one candidate is wanted, as text ｜ 请写一个候选的名称（文本）",
    )
    name = answer.strip().upper()
    expect(name != "A", "A takes 140 ms ｜ A 需要 140 ms")
    expect(name != "C", "C takes 90 ms ｜ C 需要 90 ms")
    expect(name != "D", "D fits, but another one that fits is better ｜ D 符合，但另有更好的也符合")
    expect(name == "B", "it is one of A, B, C and D ｜ 应为 A、B、C、D 之一")


def _best(rows: Sequence[Row], ms: float, megabytes: float) -> int:
    left = [n for n, row in enumerate(rows) if row[1] <= ms and row[2] <= megabytes]
    return max(left, key=lambda n: rows[n][0], default=-1)


def _some(number: int, count: int = 9) -> list[Row]:
    return [tuple(row) for row in torch.rand(count, 3, generator=drawn(number)).tolist()]


@exercise(
    2,
    wrong=[
        lambda rows, ms, mb: max(range(len(rows)), key=lambda n: rows[n][0]),
        lambda rows, ms, mb: _best([(s, t, 0) for s, t, _ in rows], ms, mb),
        lambda rows, ms, mb: _best([(s, t + 1e-9, m) for s, t, m in rows], ms, mb),
        lambda rows, ms, mb: _best([(-t, t, m) for _, t, m in rows], ms, mb),
        lambda rows, ms, mb: max(0, _best(rows, ms, mb)),
        lambda rows, ms, mb: rows[_best(rows, ms, mb)][0],
        1,
    ],
)
def best_within(answer):
    """The place of the best row within the limits, or −1."""
    rows = [(0.8, 140, 30), (0.74, 60, 80), (0.7, 90, 40), (0.62, 30, 20)]
    limits = [(100, 50), (60, 80), (200, 100), (10, 50), (100, 19)]
    cases = [(rows, *limit) for limit in limits]
    expect_function(answer, _best, [*cases, (_some(2), 0.6, 0.7), (_some(2), 0.3, 0.9)])


def _unbeaten(rows: Sequence[Row]) -> list[int]:
    def beats(a: Row, b: Row) -> bool:
        return a != b and a[0] >= b[0] and a[1] <= b[1] and a[2] <= b[2]

    return [n for n, row in enumerate(rows) if not any(beats(other, row) for other in rows)]


@exercise(
    3,
    wrong=[
        lambda rows: _unbeaten([(s, t, 0) for s, t, _ in rows]),
        lambda rows: _unbeaten([(s, 0, m) for s, _, m in rows]),
        lambda rows: _unbeaten([(-s, t, m) for s, t, m in rows]),
        lambda rows: list(range(len(rows))),
        lambda rows: [n for n in range(len(rows)) if n not in _unbeaten(rows)],
        lambda rows: [
            n
            for n, b in enumerate(rows)
            if not any(a[0] > b[0] and a[1] < b[1] and a[2] < b[2] for a in rows)
        ],
        [0, 1],
    ],
)
def front_of_three(answer):
    """The places of the rows that no other one beats in score, time and memory."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    rows = [(0.8, 140, 30), (0.74, 60, 80), (0.7, 90, 40), (0.7, 90, 45), (0.62, 30, 20)]
    twins = [(0.5, 10, 10), (0.5, 10, 10), (0.4, 10, 10)]
    for case in (rows, twins, _some(3), _some(4)):
        found = answer(list(case))
        expect(found is not None, "the function returns nothing ｜ 函数没有返回结果")
        expect_tensor(sorted(int(n) for n in found), _unbeaten(case))


def _winner(first: Sequence[float], second: Sequence[float]) -> int:
    pairs = list(zip(first, second, strict=True))
    return all(a > b for a, b in pairs) - all(a < b for a, b in pairs)


@exercise(
    4,
    wrong=[
        lambda a, b: (sum(a) > sum(b)) - (sum(a) < sum(b)),
        lambda a, b: (min(a) > max(b)) - (max(a) < min(b)),
        lambda a, b: -_winner(a, b),
        lambda a, b: int(any(x > y for x, y in zip(a, b, strict=True))),
        lambda a, b: abs(_winner(a, b)),
        0,
    ],
)
def same_winner(answer):
    """1 or −1 if one of two networks wins under every seed, else 0."""
    cases = [
        ([0.6, 0.7, 0.5], [0.5, 0.65, 0.45]),
        ([0.5, 0.65, 0.45], [0.6, 0.7, 0.5]),
        ([0.9, 0.9, 0.4], [0.5, 0.5, 0.5]),
        ([0.5, 0.6, 0.7], [0.5, 0.4, 0.3]),
        ([0.4], [0.3]),
    ]
    some = torch.rand(4, 3, generator=drawn(5)).tolist()
    better = [[score + 1 for score in scores] for scores in some]
    drawn_cases = [(some[0], some[1]), (better[2], some[2]), (some[3], better[3])]
    expect_function(answer, _winner, [*cases, *drawn_cases])


def _tree() -> dict[str, Any]:
    """A tree whose leaves are texts of drawn numbers."""
    x, y, z, w = (f"network {n}" for n in torch.randperm(1000, generator=drawn(6))[:4].tolist())
    return {"class": {"photographs": x, "scans": {"few": y, "many": z}}, "object": w}


def _walk(tree: Mapping[str, Any], replies: Sequence[str]) -> Any:
    for reply in replies:
        tree = tree[reply]
    return tree


@exercise(
    5,
    wrong=[
        lambda tree, replies: tree[replies[0]],
        lambda tree, replies: tree[replies[0]][replies[1]],
        lambda tree, replies: _walk(tree, replies[:-1]),
        lambda tree, replies: replies[-1],
        lambda tree, replies: str(_walk(tree, replies[:-1])),
        "X",
    ],
)
def walk(answer):
    """What stands at the end of a path through a tree."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    tree = _tree()
    paths = (["class", "photographs"], ["class", "scans", "many"], ["object"])
    for path in paths:
        try:
            found = answer(tree, list(path))
        except (KeyError, IndexError, TypeError, AttributeError):
            found = "?"
        expect(found is not None, "the function returns nothing ｜ 函数没有返回结果")
        shown = "/".join(path)
        expect(
            found == _walk(tree, path),
            f"the path {shown} ends elsewhere ｜ 路径 {shown} 的终点不对",
        )
