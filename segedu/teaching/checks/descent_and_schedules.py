"""Checks of the exercises of *Gradient descent and schedules*."""

import math

import torch

from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
)

TOLERANCE = 2e-4


def stairs(t: int, milestones: list[int]) -> float:
    """The reference of exercise 4."""
    return 0.1 ** sum(t >= milestone for milestone in milestones)


@exercise(1, wrong=[0.02, 0.08, 25, 50])
def largest_rate(answer):
    """The limit of the rate at curvature 50."""
    near = {
        0.02: "at this rate one step arrives; larger ones still come closer"
        " ｜ 这个学习率一步就到；更大的仍能靠近",
        0.08: "the curvature is 50, not 25 ｜ 曲率是 50，不是 25",
        25: "turn the fraction round ｜ 分子与分母颠倒了",
        50: "that is the curvature ｜ 那是曲率",
    }
    expect_number(answer, 0.04, tolerance=TOLERANCE, near=near)


@exercise(2, wrong=[0.366, 0.9999, 1.0, 0.0])
def idle_weight(answer):
    """What AdamW leaves of a weight without a gradient."""
    near = {
        0.366: "the learning rate multiplies the decay, too ｜ 衰减还要乘以学习率",
        0.9999: "the weight shrinks in each of the 100 steps ｜ 100 步中的每一步，权重都会缩小",
    }
    expect_number(answer, 0.9999**100, tolerance=6e-4, near=near)


def momentum_step(
    w: float, u: float, gradient: float, rate: float, mu: float
) -> tuple[float, float]:
    """The reference of exercise 3."""
    u = mu * u + gradient
    return w - rate * u, u


@exercise(
    3,
    wrong=[
        lambda w, u, g, rate, mu: (w - rate * u, mu * u + g),
        lambda w, u, g, rate, mu: (w + rate * (mu * u + g), mu * u + g),
        lambda w, u, g, rate, mu: (w - rate * (mu * u + (1 - mu) * g), mu * u + (1 - mu) * g),
        lambda w, u, g, rate, mu: (mu * u + g, w - rate * (mu * u + g)),
        lambda w, u, g, rate, mu: w - rate * (mu * u + g),
        lambda w, u, g, rate, mu: None,
        0.6,
    ],
)
def step_with_momentum(answer):
    """New weight and new memory."""
    cases = [(1.0, 2.0, 3.0, 0.1, 0.5), (4.0, 0.0, 8.0, 0.25, 0.9), (2.0, -1.0, 0.0, 0.1, 0.9)]
    near = {
        (0.8, 4.0): "the weight must step along the new memory ｜ 权重应沿新的累积走一步",
        (1.4, 4.0): "the step goes against the memory ｜ 更新的方向与累积相反",
        (0.75, 2.5): "the gradient is added whole ｜ 梯度要整个加上",
        (4.0, 0.6): "the weight comes first ｜ 权重在前，累积在后",
    }
    if callable(answer) and isinstance(found := answer(*cases[0]), tuple):
        seen = tuple(round(float(number), 6) for number in found)
        expect(seen not in near, near.get(seen, ""))
    more = torch.randint(1, 100, (3, 5), generator=drawn(0)) / 10
    expect_function(answer, momentum_step, [*cases, *map(tuple, more.tolist())], tolerance=1e-5)


@exercise(
    4,
    wrong=[
        lambda t, milestones: 0.1 ** sum(t > milestone for milestone in milestones),
        lambda t, milestones: 0.1 if t >= milestones[0] else 1.0,
        lambda t, milestones: 1 - 0.1 * sum(t >= milestone for milestone in milestones),
        lambda t, milestones: 0.1 ** len(milestones),
        lambda t, milestones: None,
        0.1,
    ],
)
def schedule_of_stairs(answer):
    """Factor of a step schedule."""
    expect(
        callable(answer),
        f"a function is wanted, got {type(answer).__name__}"
        f" ｜ 需要一个函数，得到的是 {type(answer).__name__}",
    )
    cases = [(t, [50, 80]) for t in (0, 49, 50, 79, 80, 99)]
    generator = drawn(0)
    for _ in range(4):
        steps = torch.randperm(60, generator=generator).tolist()
        cases.append((steps[0], sorted(steps[:4])))
    for t, milestones in [*cases, (7, []), (7, [3, 5, 7])]:
        found, wanted = answer(t, milestones), stairs(t, milestones)
        expect(found is not None, NOTHING)
        expect(
            math.isclose(found, wanted, abs_tol=1e-6),
            f"stairs({t}, {milestones}) is {found:g}, wanted is {wanted:g}"
            f" ｜ stairs({t}, {milestones}) 是 {found:g}，应为 {wanted:g}",
        )


@exercise(5, wrong=[2 / 9, 1 / 9, 1.0, 0.8, 0.1])
def best_rate(answer):
    """The rate that is best for the curvatures 1 and 9."""
    near = {
        2 / 9: "that is the limit: the steep direction jumps to and fro"
        " ｜ 那是上限：陡的方向会一直来回跳",
        1 / 9: "that is best for the steep direction alone ｜ 那只对陡的方向最好",
        1.0: "that is best for the flat direction alone ｜ 那只对平的方向最好",
        0.8: "that is the factor per step ｜ 那是每一步的系数",
    }
    expect_number(answer, 0.2, tolerance=TOLERANCE, near=near)
