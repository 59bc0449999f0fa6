"""Checks of the exercises of *One network for all three tasks: queries and matching*."""

import torch
from torch import Tensor

from segedu.ops import hungarian
from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[[0, 1, 2], [1, 1, 2], [1, 0], [2, 0, 1], [0, 1, 1]])
def three_queries_by_hand(answer):
    """The segments of three queries."""
    found = expect_numbers(answer, 3)
    expect(
        sorted(found) == [0, 1, 2],
        "each of the segments 0, 1 and 2 must occur once ｜ 区域 0、1、2 必须各出现一次",
    )
    costs = [[4, 1, 3], [2, 0, 5], [3, 2, 2]]
    total = sum(row[int(segment)] for row, segment in zip(costs, found, strict=True))
    expect(
        found == (1, 0, 2),
        f"your sum is {total}, a smaller one is possible ｜ 总和是 {total}，还可以更小",
    )


@exercise(2, wrong=[7 / 24, 0.7 / 24, 17 / 17.7, 0.1, 0.7])
def part_of_the_loss_without_objects(answer):
    """Share of 7 queries of weight 0.1 beside 17 of weight 1."""
    near = {
        7 / 24: "that is the part without the weight ｜ 那是不加权时的部分",
        0.7 / 24: "divide by the weighted sum of all queries ｜ 应除以全部查询的加权和",
        17 / 17.7: "that is the part of the matched queries ｜ 那是配上对的查询所占的部分",
    }
    expect_number(answer, 0.7 / 17.7, tolerance=1e-3, near=near)


def masks_of(queries: Tensor, pixels: Tensor) -> Tensor:
    """Where the dot product of vectors (Q, C) and (C, H, W) is positive: bool (Q, H, W)."""
    return torch.einsum("qc,chw->qhw", queries, pixels) > 0


def _vectors(count: int, width: int, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    generator = drawn(seed)
    pixels = torch.randn(width, *size, generator=generator)
    return torch.randn(count, width, generator=generator), pixels


@exercise(
    3,
    wrong=[
        lambda queries, pixels: torch.einsum("qc,chw->qhw", queries, pixels),
        lambda queries, pixels: torch.einsum("qc,chw->qhw", queries, pixels) > 0.5,
        lambda queries, pixels: torch.einsum("qc,chw->qhw", queries, pixels) < 0,
        lambda queries, pixels: torch.einsum("qc,chw->qwh", queries, pixels) > 0,
        lambda queries, pixels: (queries[0][:, None, None] * pixels).sum(0) > 0,
        lambda queries, pixels: None,
    ],
)
def masks_from_vectors(answer):
    """Masks of queries."""
    expect_function(answer, masks_of, [_vectors(2, 3, (4, 5), 0), _vectors(5, 8, (3, 7), 1)])


def by_votes(p: Tensor, masks: Tensor) -> Tensor:
    """The class with most votes, (H, W), of classes (Q, C + 1) and masks (Q, H, W)."""
    return torch.einsum("qc,qhw->chw", p[:, :-1], masks).argmax(0)


def _answers(count: int, classes: int, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    generator = drawn(seed)
    logits = 2 * torch.randn(count, classes + 1, generator=generator)
    logits[::2, -1] += 6  # every other query says "no object", surely enough to win pixels
    return logits.softmax(1), torch.rand(count, *size, generator=generator)


def _winner(p: Tensor, masks: Tensor) -> Tensor:
    surest, labels = p[:, :-1].max(1)
    return labels[(surest[:, None, None] * masks).argmax(0)]


@exercise(
    4,
    wrong=[
        _winner,
        lambda p, masks: torch.einsum("qc,qhw->chw", p, masks).argmax(0),
        lambda p, masks: torch.einsum("qc,qhw->chw", p[:, 1:], masks).argmax(0),
        lambda p, masks: torch.einsum("qc,qhw->chw", p[:, :-1], masks),
        lambda p, masks: p[:, :-1].argmax(1)[masks.argmax(0)],
        lambda p, masks: None,
    ],
)
def semantic_reading(answer):
    """Class maps from answers."""
    cases = [_answers(4, 3, (9, 7), 0), _answers(8, 5, (12, 10), 1)]
    expect_function(answer, by_votes, cases)


def smallest_sum(cost: Tensor) -> float:
    """Total of the cheapest one-to-one choice in (N, N)."""
    return float(cost[hungarian(cost)].sum())


def _greedy_sum(cost: Tensor) -> float:
    left, total = cost.clone().double(), 0.0
    for _ in range(len(left)):
        row, column = divmod(int(left.argmin()), len(left))
        total += float(cost[row, column])
        left[row], left[:, column] = torch.inf, torch.inf
    return total


@exercise(
    5,
    wrong=[
        _greedy_sum,
        lambda cost: float(cost.min(0).values.sum()),
        lambda cost: float(cost.min(1).values.sum()),
        lambda cost: float(cost.diagonal().sum()),
        lambda cost: -smallest_sum(-cost),
        lambda cost: None,
    ],
)
def smallest_of_all_orders(answer):
    """The smallest sum of a square table."""
    four = torch.tensor([[1, 2, 6, 7], [2, 8, 7, 9], [6, 7, 3, 5], [7, 9, 4, 8]])
    generator = drawn(0)
    others = [torch.randint(0, 20, (size, size), generator=generator) for size in (3, 5, 5)]
    expect_function(answer, smallest_sum, [(cost,) for cost in (four, *others)])
