"""Checks of the exercises of *Running a project*."""

import torch
from torch import Tensor

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[0.8, 0.675, 0.125, 0.15, 0.6, -0.38, "0.4 or so"])
def kappa_by_hand(answer):
    """Cohen's kappa of 100 pixels: 10 times both car, 70 both road, 5 and 15 times one of each."""
    near = {
        0.8: "that is the share on which they agree ｜ 那是两人一致的比例",
        0.675: "that is the share by chance ｜ 那是偶然一致的比例",
        0.125: "divide by what chance leaves to be gained ｜ 还要除以偶然之外可以提高的部分",
        0.6: "the two do not use their labels equally often ｜ 两人使用各标签的次数并不相同",
    }
    expect_number(answer, 0.125 / 0.325, tolerance=0.006, near=near)


def _by_place(masks: Tensor) -> Tensor:
    counts = torch.stack([(masks == label).sum(0) for label in range(255)])
    return counts.argmax(0).masked_fill(counts.sum(0) == 0, 255)


@exercise(
    2,
    wrong=[
        lambda masks: masks.mode(dim=0).values,
        lambda masks: masks.mode(dim=0).values.masked_fill((masks == 255).any(0), 255),
        lambda masks: torch.stack([(masks == label).sum(0) for label in range(255)]).argmax(0),
        lambda masks: masks.flatten().mode().values.expand(masks.shape[1:]),
        lambda masks: masks.float().mean(0).round(),
        lambda masks: _by_place(masks.transpose(1, 2)),
        lambda masks: None,
        3,
    ],
)
def commonest_by_place(answer):
    """The commonest label at each place (H,W) of masks (N,H,W), 255 left out."""
    generator = drawn(2)
    masks = torch.randint(0, 5, (9, 6, 4), generator=generator)
    masks[4:, 0] = 255  # the commonest, if it counted
    masks[:, 1, 1] = 255
    masks[3:, 2] = 11
    more = torch.randint(0, 12, (40, 3, 5), generator=generator)
    more[torch.rand(more.shape, generator=generator) < 0.3] = 255
    expect_function(answer, _by_place, [(masks,), (more,)])


@exercise(3, wrong=[(0.575, 0.725), (0.65, 0.65), (0.8, 0.5), (0.725, 0.65), 0.575, (0.7, 0.6)])
def another_mix(answer):
    """Mean scores with 1/4 and with 3/4 of the pictures at dusk, 0.8 at noon and 0.5 at dusk."""
    before, after = expect_numbers(answer, 2)
    swapped = {0.575: "dusk is a quarter at first ｜ 起初黄昏只占四分之一"}
    expect_number(before, 0.75 * 0.8 + 0.25 * 0.5, tolerance=1e-6, near=swapped)
    expect_number(after, 0.25 * 0.8 + 0.75 * 0.5, tolerance=1e-6)


@exercise(4, wrong=[1.0, 0.05, 0.95, 0.3585, 20])
def alarm_by_chance(answer):
    """Chance that one of 20 groups or more looks bad, each with a chance of 0.05."""
    near = {
        1.0: "such chances do not add: several may happen ｜ 概率不能这样相加：几件事可能同时发生",
        0.05: "that is for one group ｜ 那是一个组的概率",
        0.3585: "that is the chance that none does ｜ 那是一个也没有的概率",
    }
    expect_number(answer, 1 - 0.95**20, tolerance=0.0051, near=near)


def _gain(settings: Tensor, scores: Tensor, column: int) -> Tensor:
    others = [c for c in range(settings.shape[1]) if c != column]
    gains = [
        scores[j] - scores[i]
        for i, low in enumerate(settings)
        for j, high in enumerate(settings)
        if low[column] == 0 and high[column] == 1 and torch.equal(low[others], high[others])
    ]
    return torch.stack(gains).mean()


def _all_against_all(settings: Tensor, scores: Tensor, column: int) -> Tensor:
    on = settings[:, column] == 1
    return scores[on].mean() - scores[~on].mean()


@exercise(
    5,
    wrong=[
        _all_against_all,
        lambda settings, scores, column: -_gain(settings, scores, column),
        lambda settings, scores, column: _gain(settings, scores, 0),
        lambda settings, scores, column: scores[settings[:, column] == 1].mean(),
        lambda settings, scores, column: None,
        0.1,
    ],
)
def gain_of_a_setting(answer):
    """Mean gain in score of a setting, over pairs of runs (R,K) that differ in it alone."""
    generator = drawn(5)
    every = torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(3))
    scores = torch.rand(len(every), generator=generator, dtype=torch.float64)
    kept = torch.tensor([0, 1, 3, 4, 6, 7, 8, 10])  # some runs have no partner
    cases = [(every, scores, 0), (every[kept], scores[kept], 0), (every[kept], scores[kept], 1)]
    expect_function(answer, _gain, cases)
