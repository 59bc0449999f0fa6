"""Checks of the exercises of *From prediction to report*."""

from typing import Any

import torch
from torch import Tensor

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
    expect_tensor,
)


@exercise(1, wrong=[600, 1.2, 2.4, 0.3])
def millilitres(answer):
    """The volume of 1,200 voxels."""
    near = {
        600.0: "that is in mm³: 1 ml is 1,000 mm³ ｜ 那是 mm³：1 ml 是 1,000 mm³",
        1.2: "rows and columns both have a spacing of 0.5 mm ｜ 行与列的间距都是 0.5 mm",
    }
    expect_number(answer, 0.6, tolerance=6e-4, near=near)


def two_dices(counts: Tensor) -> tuple[float, float]:
    """Mean Dice per case without empty ones, and pooled Dice."""
    counts = counts[counts.sum(1) > 0].double()
    both, predicted, true = counts.unbind(1)
    per_case = (2 * both / (predicted + true)).mean().item()
    return per_case, (2 * both.sum() / (predicted.sum() + true.sum())).item()


def _smooth(counts: Tensor) -> tuple[float, float]:
    both, predicted, true = counts.double().unbind(1)
    return ((2 * both + 1) / (predicted + true + 1)).mean().item(), two_dices(counts)[1]


def _empty_is_zero(counts: Tensor) -> tuple[float, float]:
    both, predicted, true = counts.double().unbind(1)
    return (2 * both / (predicted + true)).nan_to_num(0).mean().item(), two_dices(counts)[1]


def _empty_is_one(counts: Tensor) -> tuple[float, float]:
    both, predicted, true = counts.double().unbind(1)
    return (2 * both / (predicted + true)).nan_to_num(1).mean().item(), two_dices(counts)[1]


@exercise(
    2,
    wrong=[
        lambda c: two_dices(c)[::-1],
        _smooth,
        _empty_is_one,
        _empty_is_zero,
        lambda c: two_dices(c)[0],
        lambda c: two_dices(c[c[:, 2] > 0]),
        lambda c: tuple(d / (2 - d) for d in two_dices(c)),
        lambda c: None,
    ],
)
def per_case_and_pooled(answer):
    """Two ways to make one Dice of many patients."""
    fixed = torch.tensor([[90, 90, 100], [0, 0, 10], [0, 0, 0], [0, 5, 0]])
    other = torch.randint(0, 50, (6, 3), generator=drawn(0))
    other[:, 0] = other[:, 1:].amin(1)
    for counts in (fixed, other):
        found, expected = expect_numbers(answer(counts), 2), two_dices(counts)
        near = [
            (expected[::-1], "per case first, then over all voxels ｜ 先逐例，后合并"),
            (_smooth(counts), "add nothing to the fraction ｜ 分子、分母上不要加数"),
            (_empty_is_one(counts), "an empty patient is left out ｜ 两个掩膜都为空的病人不计入"),
            (_empty_is_zero(counts), "leave out empty patients ｜ 两者皆空的病人不计入"),
        ]
        for wrong, message in near:
            same = torch.allclose(torch.tensor(found), torch.tensor(wrong), atol=1e-5)
            expect(not same or wrong == expected, message)
        expect_tensor(found, expected, tolerance=1e-5)


Findings = list[tuple[float, str]]


def froc_point(
    findings: Findings, lesions: int, scans: int, threshold: float
) -> tuple[float, float]:
    """Sensitivity, and false alarms per scan."""
    kept = [lesion for score, lesion in findings if score >= threshold]
    return len(set(kept) - {""}) / lesions, kept.count("") / scans


def _twice(findings: Findings, lesions: int, scans: int, threshold: float) -> Any:
    kept = [lesion for score, lesion in findings if score >= threshold]
    return (len(kept) - kept.count("")) / lesions, kept.count("") / scans


def _above(findings: Findings, lesions: int, scans: int, threshold: float) -> Any:
    return froc_point([f for f in findings if f[0] > threshold], lesions, scans, 0)


@exercise(
    3,
    wrong=[
        _twice,
        _above,
        lambda f, n, s, t: froc_point(f, n, s, t)[::-1],
        lambda f, n, s, t: froc_point(f, n, 1, t),
        lambda f, n, s, t: froc_point(f, n, n, t),
        lambda f, n, s, t: froc_point(f, n, s, t)[0],
        lambda f, n, s, t: None,
    ],
)
def point_of_froc(answer):
    """One point of the FROC curve."""
    findings = [(0.95, "a"), (0.8, ""), (0.7, "b"), (0.6, "a"), (0.55, ""), (0.4, ""), (0.2, "d")]
    scores = torch.rand(7, generator=drawn(0)).tolist()
    other = list(zip(scores, ("a", "", "b", "", "a", "d", ""), strict=True))
    cases = [(findings, 5, 2, threshold) for threshold in (0.9, 0.7, 0.5, 0.1)]
    cases += [(other, 6, 3, threshold) for threshold in (scores[1], 0.0)]
    for case in cases:
        found, expected = expect_numbers(answer(*case), 2), froc_point(*case)
        if found != expected:
            total = froc_point(*case[:2], 1, case[3])
            expect(found != total, "divide the false alarms by the scans ｜ 误报数要除以扫描数")
            twice, above = _twice(*case), _above(*case)
            expect(
                found != twice,
                "two findings in one lesion are one hit ｜ 同一病灶中的两处发现只算一次命中",
            )
            expect(
                found != above,
                "a score that equals the threshold is kept ｜ 得分等于阈值的发现要保留",
            )
        expect_tensor(found, expected)


def means_of_draws(dice: Tensor, owner: Tensor, chosen: Tensor) -> Tensor:
    """Mean Dice (D,) of the scans of drawn patients (D, n)."""
    count, total = torch.bincount(owner), torch.bincount(owner, weights=dice)
    return total[chosen].sum(1) / count[chosen].sum(1)


def _mean_of_means(dice: Tensor, owner: Tensor, chosen: Tensor) -> Tensor:
    return (torch.bincount(owner, weights=dice) / torch.bincount(owner))[chosen].mean(1)


def _once(dice: Tensor, owner: Tensor, chosen: Tensor) -> Tensor:
    return torch.stack([dice[torch.isin(owner, row)].mean() for row in chosen])


@exercise(
    4,
    wrong=[
        _mean_of_means,
        _once,
        lambda dice, owner, chosen: dice[chosen].mean(1),
        lambda dice, owner, chosen: means_of_draws(dice, owner, chosen).mean(),
        lambda dice, owner, chosen: None,
    ],
)
def draws_of_patients(answer):
    """Means of draws of patients who have several scans."""
    generator = drawn(0)
    owner = torch.tensor([0, 1, 1, 2, 3, 3, 3])
    dice = torch.rand(7, generator=generator, dtype=torch.float64)
    chosen = torch.randint(4, (5, 4), generator=generator)
    chosen[0] = torch.tensor([0, 0, 3, 1])
    case = (dice, owner, chosen)
    found = answer(*case)
    if torch.is_tensor(found) and found.shape == (5,):
        expect(
            not torch.allclose(found.double(), _mean_of_means(*case)),
            "that is a mean over patients; average over their scans ｜ "
            "那是对病人取平均，应当对他们的扫描取平均",
        )
        expect(
            not torch.allclose(found.double(), _once(*case)),
            "a patient who is drawn twice counts twice ｜ 抽中两次的病人要计两次",
        )
    expect_function(answer, means_of_draws, [case])
