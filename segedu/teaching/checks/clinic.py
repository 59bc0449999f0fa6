"""Checks of the exercises of *The clinic: from symptom to cure*."""

import math
from typing import Any

import torch
from torch import Tensor

from segedu.data import scenes
from segedu.losses import CrossEntropyLoss
from segedu.models import get_model
from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
)


@exercise(1, wrong=[0.0, 0.31, 1.6187, 0.6931, 0.5514, math.e / (math.e + 1)])
def floor_of_two(answer):
    """The lowest loss after two softmax functions, two classes."""
    near = {
        math.log(1 + 11 / math.e): "that is the value for 12 classes ｜ 那是 12 个类别时的值",
        math.log(1 + 2 / math.e): "C - 1 is 1, not 2 ｜ C - 1 是 1，不是 2",
        math.log(2): "that is the first loss, not the lowest one ｜ 那是首步损失，不是最低损失",
        math.e / (1 + math.e): "that is the probability; take its negative logarithm ｜ "
        "那是概率，还要取负对数",
        0.31: "give three decimals ｜ 请给出三位小数",
    }
    expect_number(answer, math.log(1 + 1 / math.e), tolerance=6e-4, near=near)


REPORTS = ["one label", "rate too low", "gradients add up", "normalization"]


@exercise(
    2,
    wrong=[
        REPORTS[::-1],
        ["one label", "rate too high", "gradients add up", "normalization"],
        ["one label", "still", "gradients add up", "normalization"],
        REPORTS[:3],
        "one label",
        ["one label", "rate too low", "gradients", "normalization"],
    ],
)
def four_reports(answer):
    """The faults behind four reports."""
    expect(
        isinstance(answer, list | tuple) and len(answer) == 4,
        "give a list of four names ｜ 请给出由四个名称组成的列表",
    )
    known = {*REPORTS, "rate too high", "still", "eval mode"}
    expect(
        all(name in known for name in answer),
        "use the seven names as they are written ｜ 请照原样使用那七个名称",
    )
    expect(
        answer[1] != "still",
        "in the second run the weights did change, if only a little ｜ "
        "第二次训练的权重变了，只是变得很少",
    )
    wrong = sum(a != b for a, b in zip(answer, REPORTS, strict=True))
    expect(not wrong, f"{wrong} of 4 are wrong ｜ 4 个中有 {wrong} 个不对")


def count_leaked(train_images: Tensor, val_images: Tensor) -> int:
    """How many validation images occur among the training images."""
    return sum(any(torch.equal(v, t) for t in train_images) for v in val_images)


@exercise(
    3,
    wrong=[
        lambda t, v: sum(torch.equal(a, b) for a, b in zip(t, v, strict=False)),
        lambda t, v: sum(torch.equal(a, b) for a in t for b in v),
        lambda t, v: count_leaked(v, t),
        lambda t, v: sum(any((a == b).any() for a in t) for b in v),
        lambda t, v: count_leaked(t, v) / len(v),
        lambda t, v: None,
    ],
)
def leaked_images(answer):
    """How many validation images occur in the training set."""
    generator = drawn(0)
    images = torch.randint(0, 9, (9, 3, 4, 5), generator=generator).float()
    almost = images[:1].clone()
    almost[0, 0, 0, 0] += 1
    train = torch.cat([images[:5], images[4:5]])  # one stands in it twice
    val = torch.cat([images[5:], images[[4, 2, 2]], almost])
    found = answer(train, val)
    expect(found is not None, NOTHING)
    pairs = sum(torch.equal(a, b) for a in train for b in val)
    expect(
        found != pairs,
        "a validation image counts once, even if it occurs twice in the training set ｜ "
        "一幅验证图像即使在训练集里出现两次，也只算一幅",
    )
    expect_function(answer, count_leaked, [(train, val), (train, images[5:]), (images, val)])


UNKNOWN = ["no class", "still", "gradients add up"]


def unknown_run() -> dict[str, Any]:
    """A training run with three faults, each of which hides the next.

    Returns:
        Arguments of `segedu.checkup`: ``model``, ``loader`` (two batches of painted scenes with 12
        classes), ``loss``, ``optimizer`` and ``step``.
    """
    dataset, _ = scenes.splits(16, 1, 32, seed=0)
    images, masks = (torch.stack([s[key] for s in dataset]) for key in ("image", "mask"))
    model, other = (get_model("unet", 12, base_width=8, depth=2) for _ in range(2))

    def step(model, batch, optimizer):
        value = CrossEntropyLoss()(model(batch["image"]), batch["mask"])
        value.backward()
        optimizer.step()
        return value

    pairs = zip(images.split(8), masks.long().split(8), strict=True)
    return {
        "model": model,
        "loader": [{"image": image, "mask": mask + 1} for image, mask in pairs],
        "loss": CrossEntropyLoss(),
        "optimizer": torch.optim.AdamW(other.parameters(), 0.01),
        "step": step,
    }


@exercise(
    4,
    wrong=[
        UNKNOWN[:1],
        UNKNOWN[::-1],
        ["no class", "rate too low", "gradients add up"],
        ["no class", "still", "eval mode"],
        "no class",
    ],
    by_person=True,  # the reader must run `unknown_run`, which stands among the checks
)
def three_hidden_faults(answer):
    """The faults of `unknown_run`, in the order in which they come to light."""
    expect(
        isinstance(answer, list | tuple) and len(answer) == 3,
        "give a list of three names ｜ 请给出由三个名称组成的列表",
    )
    expect(
        list(answer) == UNKNOWN or sorted(map(str, answer)) != sorted(UNKNOWN),
        "the names are right, their order is not ｜ 名称都对，次序不对",
    )
    wrong = sum(a != b for a, b in zip(answer, UNKNOWN, strict=True))
    expect(not wrong, f"{wrong} of 3 are wrong ｜ 3 个中有 {wrong} 个不对")


def share_of_climbs(mask: Tensor) -> float:
    """Climbs, in rows and columns, divided by steps; 0 where there is no step."""
    steps, climbs = 0, 0
    for axis in (0, 1):
        rise = mask.diff(dim=axis).sign().movedim(axis, 0)
        steps += int((rise != 0).sum())
        climbs += int((rise[1:] * rise[:-1] > 0).sum())
    return climbs / steps if steps else 0.0


def _thin_lines_too(mask: Tensor) -> float:
    steps, climbs = 0, 0
    for axis in (0, 1):
        rise = mask.diff(dim=axis).sign().movedim(axis, 0)
        steps += int((rise != 0).sum())
        climbs += int((rise[1:] * rise[:-1] != 0).sum())
    return climbs / max(1, steps)


def _rows_only(mask: Tensor) -> float:
    rise = mask.diff(dim=1).sign()
    return float((rise[:, 1:] * rise[:, :-1] > 0).sum()) / max(1, int((rise != 0).sum()))


def _rises_only(mask: Tensor) -> float:
    steps, climbs = 0, 0
    for axis in (0, 1):
        rise = mask.diff(dim=axis).movedim(axis, 0)
        steps += int((rise != 0).sum())
        climbs += int(((rise[1:] > 0) & (rise[:-1] > 0)).sum())
    return climbs / max(1, steps)


@exercise(
    5,
    wrong=[
        _thin_lines_too,
        _rises_only,
        _rows_only,
        lambda mask: _thin_lines_too(mask) - share_of_climbs(mask),
        lambda mask: share_of_climbs(mask) * 2,
        lambda mask: None,
    ],
)
def climbing_labels(answer):
    """The share of label steps that go on in the same direction."""
    one_way = torch.tensor([[0, 0, 1, 2], [0, 0, 1, 2], [0, 0, 2, 2]])
    thin = torch.tensor([[0, 3, 0, 0], [0, 3, 0, 0], [4, 4, 2, 1]])
    flat = torch.zeros(3, 3, dtype=torch.long)
    generator = drawn(0)
    mixed = torch.randint(0, 4, (6, 7), generator=generator)
    expect(answer(thin) is not None, NOTHING)
    expect(
        abs(float(answer(thin)) - _thin_lines_too(thin)) > 1e-6,
        "a line one pixel wide rises and falls: that is no climb ｜ "
        "一个像素宽的细线先升后降，不算攀升",
    )
    expect(
        abs(float(answer(thin)) - _rises_only(thin)) > 1e-6,
        "falling twice is a climb, too ｜ 连续下降两次也算攀升",
    )
    expect(
        abs(float(answer(mixed)) - _rows_only(mixed)) > 1e-6,
        "columns count, too: add the climbs and the edges of both directions ｜ "
        "列也要计入：把两个方向的攀升数与边界数分别相加",
    )
    expect_function(answer, share_of_climbs, [(one_way,), (thin,), (flat,), (mixed,)])
