"""Checks of the exercises of *Gradient descent and schedules*."""

import math

from segedu.teaching.checking import exercise, expect, expect_number

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


@exercise(3, wrong=[0.99, 1.00002, 0.998, 1.002, 0.01])
def first_step_of_adam(answer):
    """The weight after Adam's first step."""
    near = {
        0.99: "the step goes against the gradient ｜ 更新的方向与梯度相反",
        1.00002: "that is the step of SGD ｜ 那是 SGD 的更新量",
        0.01: "that is the step; add it to the weight ｜ 那是更新量；还要加到权重上",
    }
    expect_number(answer, 1.01, tolerance=TOLERANCE, near=near)


@exercise(
    4,
    wrong=[
        lambda t, milestones: 0.1 ** sum(t > milestone for milestone in milestones),
        lambda t, milestones: 0.1 if t >= milestones[0] else 1.0,
        lambda t, milestones: 1 - 0.1 * sum(t >= milestone for milestone in milestones),
        lambda t, milestones: 0.1 ** len(milestones),
    ],
)
def schedule_of_stairs(answer):
    """Factor of a step schedule."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    cases = [(t, [50, 80]) for t in (0, 49, 50, 79, 80, 99)]
    for t, milestones in [*cases, (7, []), (7, [3, 5, 7])]:
        expect(
            math.isclose(answer(t, milestones), stairs(t, milestones), abs_tol=1e-6),
            f"stairs({t}, {milestones}) is not right ｜ stairs({t}, {milestones}) 不对",
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
