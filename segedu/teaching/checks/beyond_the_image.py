"""Checks of the exercises of *Beyond the image*."""

import torch
from torch import Tensor

from segedu.metrics.video import VideoObjects, region_similarity
from segedu.teaching.checking import drawn, exercise, expect, expect_function, expect_number

NAMES = ("sum", "maximum", "first", "sorted", "flatten")


@exercise(1, wrong=[0.75, 0.9, 0.875, 24 / 25, 1.0])
def a_speck(answer):
    """F of a perfect square of 3 pixels a side and a single pixel far away."""
    near = {
        24 / 25: "the contour of a single pixel has more than one pixel: three neighbours differ "
        "from it, too ｜ 单个像素的轮廓不止一个像素：还有三个邻居与它不同",
        0.9: "that is J; F compares contours ｜ 那是 J；F 比较的是轮廓",
        0.875: "that is the mean of precision and recall; F is twice their product divided by "
        "their sum ｜ 那是精确率与召回率的平均；F 是两者乘积的两倍除以两者之和",
        0.75: "that is the precision; F needs the recall, too ｜ 那是精确率；F 还需要召回率",
    }
    expect_number(answer, 6 / 7, tolerance=2e-3, near=near)


def _carry(before: Tensor, labels: Tensor, after: Tensor, radius: int) -> Tensor:
    place = torch.arange(len(before))
    far = (place[:, None] - place).abs() > radius
    return labels[torch.cdist(after, before).masked_fill(far, torch.inf).argmin(1)]


@exercise(
    2,
    wrong=[
        lambda before, labels, after, radius: labels,
        lambda before, labels, after, radius: labels[torch.cdist(after, before).argmin(1)],
        lambda before, labels, after, radius: _carry(before, labels, after, radius - 1),
        lambda before, labels, after, radius: _carry(after, labels, before, radius),
        lambda before, labels, after, radius: _carry(
            before, torch.arange(len(labels)), after, radius
        ),
        3,
    ],
)
def nearest_match(answer):
    """Labels of the nearest features within a radius, in a picture of one row."""
    cases = []
    for count, width, radius in ((8, 1, 1), (12, 3, 2), (6, 2, 0)):
        before = 3 * torch.rand(count, width, generator=drawn(count))
        after = before[torch.randperm(count, generator=drawn(1))] + 0.01
        labels = torch.randint(0, 50, (count,), generator=drawn(2)) + 7
        cases.append((before, labels, after, radius))
    expect_function(answer, _carry, cases)


@exercise(
    3,
    wrong=[
        lambda labels: (labels[1:] == labels[:1]).float().mean().item(),
        lambda labels: (labels[1:] != labels[:-1]).float().mean().item(),
        lambda labels: (labels[0] == labels[-1]).float().mean().item(),
        lambda labels: (labels == labels.roll(1, 0)).float().mean().item(),
        0.5,
    ],
)
def what_stays(answer):
    """Share of pixels whose label stays from frame to frame."""
    cases = [(torch.randint(0, 3, (4, 3, 5), generator=drawn(i)),) for i in range(2)]
    cases.append((torch.tensor([[[0, 0]], [[1, 0]], [[1, 0]], [[1, 0]]]),))
    expect_function(answer, lambda labels: (labels[1:] == labels[:-1]).float().mean().item(), cases)


@exercise(
    4,
    wrong=[
        {"sum", "maximum"},
        {"maximum"},
        {"sum", "maximum", "sorted", "flatten"},
        {"sum", "maximum", "sorted", "first"},
        {"max"},
        set(),
        3,
    ],
)
def forgets_the_order(answer):
    """Which functions do not depend on the order of points."""
    expect(
        isinstance(answer, set | frozenset | list | tuple)
        and all(isinstance(name, str) and name in NAMES for name in answer),
        f"answer must be a set of names out of {', '.join(NAMES)}; got {answer!r} ｜ "
        f"answer 应为下列名称的集合：{', '.join(NAMES)}；得到的是 {answer!r}",
    )
    for name, message in (
        ("first", "with another order another point comes first ｜ 顺序一变，第一个点就变了"),
        ("flatten", "the numbers then stand in another order, too ｜ 数的排列也随之改变"),
    ):
        expect(name not in answer, f'"{name}": {message}')
    expect(
        {"sum", "maximum", "sorted"} <= set(answer),
        "one more of them gives the same for swapped points: try each on two orders ｜ "
        "交换点之后结果不变的还不止这些：每一个都用两种顺序试一试",
    )


def _clip_j(pred: Tensor, truth: Tensor) -> float:
    judge = VideoObjects()
    judge.update(pred, truth)
    return judge.compute()["J"]


def _over_frames(pred: Tensor, truth: Tensor) -> float:
    numbers = [n for n in truth[0].unique().tolist() if n]
    each = [
        region_similarity(p == n, t == n) for n in numbers for p, t in zip(pred, truth, strict=True)
    ]
    return sum(each) / len(each)


@exercise(
    5,
    wrong=[
        _over_frames,
        lambda pred, truth: _over_frames(pred[1:], truth[1:]),
        lambda pred, truth: _over_frames(pred[:-1], truth[:-1]),
        lambda pred, truth: (pred == truth)[1:-1].float().mean().item(),
        lambda pred, truth: region_similarity(
            *(x[1:-1].flatten()[None] > 0 for x in (pred, truth))
        ),
        0.5,
    ],
)
def j_of_a_clip(answer):
    """J over objects and frames, as DAVIS takes it."""
    cases = []
    for i in range(2):
        truth = torch.randint(0, 3, (5, 4, 6), generator=drawn(i)) * 7
        pred = torch.where(torch.rand(5, 4, 6, generator=drawn(5 + i)) < 0.3, 0, truth)
        cases.append((pred, truth))
    truth = torch.tensor([[[4, 9, 9]], [[4, 0, 9]], [[0, 9, 9]], [[0, 0, 9]]])
    cases.append((torch.tensor([[[4, 9, 9]], [[4, 4, 9]], [[0, 9, 0]], [[4, 4, 4]]]), truth))
    expect_function(answer, _clip_j, cases)
