"""Losses, optimizers and schedules by name with settings."""

import inspect

import pytest
import torch

from segedu import losses
from segedu.cli import specs


def test_factors_and_settings():
    loss = specs.build_loss("0.25*focal:gamma=3,normalizer=pixels+dice")
    assert loss.weights == {"focal": 0.25, "dice": 1.0}
    assert loss.losses["focal"].gamma == 3


def test_every_loss_of_several_classes_has_a_name():
    given = {getattr(losses, name) for name in losses.__all__}
    given = {loss for loss in given if inspect.isclass(loss) and "Binary" not in loss.__name__}
    others = {losses.CombinedLoss, losses.AuxiliaryLoss}  # of losses
    others |= {losses.DiscriminativeLoss, losses.LovaszHingeLoss}  # of embeddings, of one output
    others |= {losses.BoxTightnessLoss, losses.NeighborLoss, losses.SizeConstraintLoss}  # no masks
    assert {getattr(losses, name) for name in specs.LOSSES.values()} == given - others


@pytest.mark.parametrize("name", specs.LOSSES)
def test_every_loss_learns_from_logits_of_classes(name):
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.arange(128).view(2, 8, 8) % 3
    loss = specs.build_loss(name)(logits, target)
    loss.backward()
    assert loss.ndim == 0 and loss.isfinite() and logits.grad.abs().sum() > 0


def test_weights_of_classes_reach_the_parts_that_take_them():
    weights = torch.tensor([1.0, 2.0])
    loss = specs.build_loss("ce+dice", weights)
    assert torch.equal(loss.losses["ce"].weight, weights)


@pytest.mark.parametrize(
    "text", ["focal:gamma", "ce+ce", "x*ce", "1e*ce", "focal:gamma=word", "ce dice", "", "focal:=1"]
)
def test_malformed_losses(text):
    with pytest.raises(ValueError, match="--loss"):
        specs.build_loss(text)


def test_a_decay_of_the_optimizer_is_of_all_parameters():
    weight, bias = (torch.zeros(1, requires_grad=True) for _ in range(2))
    groups = [{"params": [weight], "weight_decay": 0.5}, {"params": [bias], "weight_decay": 0.0}]

    def decays(text):
        optimizer = specs.build_optimizer(text, groups, 1.0)
        return {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}

    assert decays("adamw") == {weight: 0.5, bias: 0.0}
    assert decays("adamw:weight_decay=0.01") == {weight: 0.01, bias: 0.01}


@pytest.mark.parametrize("text", ["poly:power=1", "cosine", "step:milestones=(2,4),gamma=0.5"])
def test_schedules(text):
    optimizer = specs.build_optimizer(
        "sgd", [{"params": [torch.zeros(1, requires_grad=True)]}], 1.0
    )
    assert optimizer.defaults["momentum"] == 0.9
    schedule = specs.build_schedule(text, optimizer, 5, 0)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    expected = {"poly": 0.2, "cosine": 0.0955, "step": 0.25}[text.partition(":")[0]]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-4)
