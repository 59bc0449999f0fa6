"""Checks of the exercises of *The training loop*."""

import math
import operator

import torch
from torch import nn
from torch.nn import functional as F

from segedu.teaching.checking import drawn, exercise, expect, expect_function, expect_number


@exercise(1, wrong=[120, 112.5, 108, 13, 900])
def count_the_steps(answer):
    """Optimizer steps of 9 epochs over 100 images in batches of 8."""
    near = {
        112.5: "half a step does not exist: the last batch is smaller ｜ 没有半步：最后一批较小",
        108: "the last, smaller batch counts, too ｜ 最后那个较小的小批量也算一步",
        13: "that is one epoch ｜ 那只是一个轮次",
        900: "a step takes a whole batch ｜ 一步处理一个小批量，而不是一幅图像",
    }
    expect_number(answer, 117, near=near)


@exercise(2, wrong=[2 / 3, 2.0, 0.5, 0.4])
def mean_over_images(answer):
    """Mean loss of 10 images out of the means 0.5, 0.5, 1.0 of batches of 4, 4 and 2."""
    near = {
        2 / 3: "a small batch counts as much as a large one there ｜ 那样小的批与大的批分量相同",
        2.0: "that is the sum of the three means ｜ 那是三个平均值之和",
    }
    expect_number(answer, 0.6, tolerance=1e-3, near=near)


def _stopped_after(losses, patience, better=operator.lt):
    best, waited = math.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        best, waited = (loss, 0) if better(loss, best) else (best, waited + 1)
        if waited == patience:
            return epoch
    return len(losses)


@exercise(
    3,
    wrong=[
        lambda losses, patience: len(losses),
        lambda losses, patience: 1 + losses.index(min(losses)),
        lambda losses, patience: min(len(losses), 1 + losses.index(min(losses)) + patience),
        lambda losses, patience: _stopped_after(losses, patience + 1),
        lambda losses, patience: _stopped_after(losses, patience) - 1,
        lambda losses, patience: _stopped_after(losses, patience, operator.le),
    ],
)
def stopped_after(answer):
    """The epoch after which early stopping ends a training."""
    cases = [
        ([1.2, 0.9, 1.0, 1.1, 1.2], 2),
        ([1.2, 0.9, 1.0, 0.8, 0.9, 0.85, 0.5], 2),
        ([3.0, 2.0, 1.0], 1),
        ([1.0, 1.0, 1.0, 0.5], 3),
        ([1.0, 1.1, 0.9, 0.95], 1),
        ([1.0, 1.0, 1.0, 1.0], 2),  # as good as the best is not better
    ]
    more = torch.randint(5, 12, (4, 8), generator=drawn(0)) / 10
    cases += [(losses, patience) for patience, losses in enumerate(more.tolist(), start=1)]
    expect_function(answer, _stopped_after, cases)


@exercise(4, wrong=[4, 8, 16, 64])
def seeds_needed(answer):
    """Seeds for each of two trainings whose gap 0.02 shall be twice its standard error."""
    near = {
        8: "the difference must be twice its standard error ｜ 差要达到其标准误的两倍",
        4: "the standard error is divided by the root of the number ｜ 标准误除以的是个数的平方根",
        16: "both trainings have a spread: two squares ｜ 两种训练都有波动：有两个平方",
    }
    expect_number(answer, 32, near=near)


class _Probe(nn.Module):
    """A small network with batch normalization that notes how it was asked."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.asked_with_gradient = False

    def forward(self, images):
        logits = self.layers(images)
        self.asked_with_gradient |= logits.requires_grad
        return logits


def _probe_batches() -> list[dict[str, torch.Tensor]]:
    """Two full batches and a smaller one."""
    generator = drawn(0)
    return [
        {
            "image": torch.randn(n, 3, 4, 4, generator=generator) + n,
            "mask": torch.randint(4, (n, 4, 4), generator=generator),
        }
        for n in (4, 4, 1)
    ]


def _validation_loss(model, loader):
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in loader:
            loss = F.cross_entropy(model(batch["image"]), batch["mask"])
            total += loss.item() * len(batch["image"])
            count += len(batch["image"])
    model.train()
    return total / count


def _in_training_mode(model, loader):
    with torch.no_grad():
        losses = [F.cross_entropy(model(b["image"]), b["mask"]).item() for b in loader]
    return sum(losses) / len(losses)


def _mean_of_batches(model, loader):
    model.eval()
    mean = _in_training_mode(model, loader)
    model.train()
    return mean


def _stays_in_evaluation(model, loader):
    loss = _validation_loss(model, loader)
    model.eval()
    return loss


def _with_gradients(model, loader):
    model.eval()
    sums = [F.cross_entropy(model(b["image"]), b["mask"]) * len(b["image"]) for b in loader]
    model.train()
    return sum(sums).item() / sum(len(b["image"]) for b in loader)


@exercise(
    5,
    wrong=[_in_training_mode, _mean_of_batches, _stays_in_evaluation, _with_gradients, 0.5],
    by_person=True,
)
def validation_loss(answer):
    """The mean loss over images, in evaluation mode, without gradients; then training goes on."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    model, batches = _Probe().train(), _probe_batches()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = answer(model, batches)
    same = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    expect(same, "the network changed: judge in evaluation mode ｜ 网络变了：评判要用评估模式")
    expect(model.training, "go back to training mode at the end ｜ 最后要回到训练模式")
    expect(
        not model.asked_with_gradient,
        "gradients were recorded: use torch.no_grad() ｜ 记录了梯度：要用 torch.no_grad()",
    )
    expect_number(
        found,
        _validation_loss(model, batches),
        tolerance=1e-5,
        near={
            _mean_of_batches(model, batches): "the last batch is smaller: weight by images ｜ "
            "最后一个小批量较小：要按图像数加权"
        },
    )
