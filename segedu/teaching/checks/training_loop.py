"""Checks of the exercises of *The training loop*."""

import math
import operator

import torch
from torch import nn
from torch.nn import functional as F

from segedu.teaching.checking import drawn, exercise, expect, expect_number


def _in_order(*names):
    """A step that does zero_grad, backward and step in this order."""

    def answer(model, optimizer, images, masks):
        loss = F.cross_entropy(model(images), masks)
        parts = {
            "zero_grad": optimizer.zero_grad,
            "backward": loss.backward,
            "step": optimizer.step,
        }
        for name in names:
            parts[name]()
        return loss.item()

    return answer


_step = _in_order("zero_grad", "backward", "step")
_without_zero_grad = _in_order("backward", "step")
_zero_grad_after_backward = _in_order("backward", "zero_grad", "step")
_step_before_backward = _in_order("step", "zero_grad", "backward")


def _softmax_twice(model, optimizer, images, masks):
    return _step(lambda images: model(images).softmax(1), optimizer, images, masks)


def _loss_after(model, optimizer, images, masks):
    _step(model, optimizer, images, masks)
    return F.cross_entropy(model(images), masks).item()


def _three_steps(answer) -> tuple[list, torch.Tensor]:
    """What three steps return, and all weights after them."""
    torch.manual_seed(0)
    model, generator = nn.Conv2d(3, 4, 1), drawn(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    returned = []
    for _ in range(3):
        images = torch.randn(2, 3, 4, 4, generator=generator)
        masks = torch.randint(4, (2, 4, 4), generator=generator)
        returned.append(answer(model, optimizer, images, masks))
    return returned, nn.utils.parameters_to_vector(model.parameters()).detach()


@exercise(
    1,
    wrong=[
        _without_zero_grad,
        _zero_grad_after_backward,
        _step_before_backward,
        _softmax_twice,
        _loss_after,
        lambda model, optimizer, images, masks: _step(model, optimizer, images, masks) / 2,
        lambda model, optimizer, images, masks: None,
        0.5,
    ],
)
def one_step(answer):
    """One step of training: its loss, and the weights that it leaves."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    mistakes = {
        "the gradients of earlier steps are still there: where is zero_grad? ｜ "
        "前几步的梯度还在：zero_grad 在哪里？": _without_zero_grad,
        "the weights do not change: zero_grad empties what backward has just computed ｜ "
        "权重没有变：zero_grad 把 backward 刚算出的梯度清空了": _zero_grad_after_backward,
        "cross_entropy applies softmax itself: give it the logits ｜ "
        "cross_entropy 自带 softmax：应把 logit 值交给它": _softmax_twice,
    }
    returned, weights = _three_steps(answer)
    losses, right = _three_steps(_step)
    for message, mistake in mistakes.items():
        same = torch.allclose(weights, _three_steps(mistake)[1])
        expect(torch.allclose(weights, right) or not same, message)
    expect(
        torch.allclose(weights, right),
        "the weights after three steps are wrong ｜ 三步之后权重不对",
    )
    later = _three_steps(_loss_after)[0][0]
    near = {later: "that is the loss after the step ｜ 那是这一步之后的损失"}
    expect_number(returned[0], losses[0], tolerance=1e-5, near=near)


def _stopped_after(losses, patience, better=operator.lt):
    best, waited = math.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        best, waited = (loss, 0) if better(loss, best) else (best, waited + 1)
        if waited == patience:
            return epoch
    return len(losses)


@exercise(
    2,
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
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    for losses, patience in cases:
        right, asked = _stopped_after(losses, patience), f"({losses}, {patience})"
        found = answer(losses, patience)
        expect(
            isinstance(found, int) and found == right,
            f"for {asked} the epoch is {right}, got {found} ｜ "
            f"对 {asked}，应是第 {right} 个轮次，得到的是 {found}",
        )


@exercise(3, wrong=[4, 8, 16, 64])
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
    4,
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
