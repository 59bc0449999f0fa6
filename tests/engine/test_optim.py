"""Schedules against their closed forms; parameter groups; precision."""

import math

import pytest
import torch
from torch import nn

from segedu.engine import cosine_lr, parameter_groups, plateau_lr, poly_lr, step_lr
from segedu.engine.optim import precision

LR = 0.3
TOTAL = 20


def rates(build, steps=TOTAL):
    """Learning rates of ``steps`` steps, for two groups."""
    groups = [
        {"params": [nn.Parameter(torch.zeros(1))], "lr": LR},
        {"params": [nn.Parameter(torch.zeros(1))], "lr": LR / 10},
    ]
    optimizer = torch.optim.SGD(groups)
    scheduler = build(optimizer)
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize(
    ("build", "factor"),
    [
        (lambda o: poly_lr(o, TOTAL), lambda t: (1 - t / TOTAL) ** 0.9),
        (lambda o: poly_lr(o, TOTAL, power=2), lambda t: (1 - t / TOTAL) ** 2),
        (lambda o: cosine_lr(o, TOTAL), lambda t: (1 + math.cos(math.pi * t / TOTAL)) / 2),
        (
            lambda o: cosine_lr(o, TOTAL, floor=0.1),
            lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t / TOTAL)) / 2,
        ),
        (lambda o: step_lr(o, [5, 12]), lambda t: 1 if t < 5 else 0.1 if t < 12 else 0.01),
        (
            lambda o: poly_lr(o, TOTAL, warmup_steps=4),
            lambda t: (t + 1) / 5 if t < 4 else (1 - (t - 4) / 16) ** 0.9,
        ),
        (
            lambda o: step_lr(o, [10], gamma=0.5, warmup_steps=3),
            lambda t: min(1, (t + 1) / 4) * (1 if t < 10 else 0.5),
        ),
    ],
)
def test_closed_forms(build, factor):
    for step, (first, second) in enumerate(rates(build)):
        assert first == pytest.approx(LR * factor(step), rel=1e-12)
        assert second == pytest.approx(LR / 10 * factor(step), rel=1e-12)


@pytest.mark.oracle
def test_equal_to_torch_schedulers():
    schedulers = torch.optim.lr_scheduler
    ours, theirs = (
        rates(lambda o: poly_lr(o, TOTAL)),
        rates(lambda o: schedulers.PolynomialLR(o, TOTAL, power=0.9)),
    )
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))
    ours, theirs = (
        rates(lambda o: cosine_lr(o, TOTAL)),
        rates(lambda o: schedulers.CosineAnnealingLR(o, TOTAL)),
    )
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))


def test_after_the_end_the_rate_stays():
    last = rates(lambda o: cosine_lr(o, TOTAL, floor=0.1), steps=TOTAL + 5)[-1]
    assert last[0] == pytest.approx(0.1 * LR)


def test_plateau_waits_then_lowers():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = plateau_lr(optimizer, patience=2, gamma=0.5)
    seen = []
    for loss in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9):
        scheduler.step(loss)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [1, 1, 1, 1, 0.5, 0.5]


@pytest.mark.parametrize("build", [poly_lr, cosine_lr])
def test_bad_lengths(build):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match="warmup_steps < total_steps, got 20 and 20"):
        build(optimizer, TOTAL, warmup_steps=TOTAL)


def test_groups_by_name_and_dimension():
    model = nn.ModuleDict(
        {
            "backbone": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            "head": nn.Conv2d(4, 2, 1),
        }
    )
    model["head"].bias.requires_grad_(False)
    groups = parameter_groups(model, 0.1, multipliers={"backbone": 0.1}, weight_decay=1e-4)
    found = {(round(g["lr"], 9), g["weight_decay"]): len(g["params"]) for g in groups}
    # backbone: one kernel; its bias, scale and shift without decay; head: one kernel
    assert found == {(0.01, 1e-4): 1, (0.01, 0.0): 3, (0.1, 1e-4): 1}
    assert sum(len(g["params"]) for g in groups) == 5
    with pytest.raises(ValueError, match=r"'backbon_'.*backbone"):
        parameter_groups(model, 0.1, multipliers={"backbon_": 0.1})


def test_precision_on_the_cpu():
    autocast, scaler = precision(None, torch.device("cpu"))
    layer = nn.Linear(2, 2)
    with autocast():
        assert layer(torch.zeros(1, 2)).dtype == torch.float32
    autocast, scaler = precision(True, torch.device("cpu"))
    with autocast():
        assert layer(torch.zeros(1, 2)).dtype == torch.bfloat16
    assert not scaler.is_enabled()
