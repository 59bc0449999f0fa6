"""What MaskFormer and Mask2Former must both do."""

import pytest
import torch
from torch import Tensor, nn

from segedu.metrics import AveragePrecision
from segedu.models import get_model
from segedu.models.mask2former import Mask2Former
from segedu.models.maskformer import MaskFormer
from segedu.tasks import as_instances
from tests.models.mask_scenes import (
    THINGS,
    panoptic_quality,
    small,
    two_images,
    two_targets,
)
from tests.models.overfit import PLAIN_64, learn, panoptic_scenes, summed

LOSSES = {"loss_class", "loss_mask", "loss_dice"}
each_network = pytest.mark.parametrize("network", [MaskFormer, Mask2Former])


def gradients(model: nn.Module, losses: dict[str, Tensor]) -> dict[str, Tensor | None]:
    sum(losses.values()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(
    ("network", "before"), [(MaskFormer, ("_0",)), (Mask2Former, ("_0", "_1"))]
)
def test_training_gives_losses_of_every_layer_and_a_gradient_to_every_parameter(network, before):
    model = small(network).train()
    losses = model(two_images(), two_targets())
    assert losses.keys() == {name + end for name in LOSSES for end in ("", *before)}
    assert losses["loss_mask"] > 0
    assert all(g is not None and g.isfinite().all() for g in gradients(model, losses).values())


@each_network
def test_bfloat16_autocast_trains(network):
    model = small(network).train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(two_images(), two_targets())
    assert all(value.isfinite() for value in losses.values())
    assert all(g.isfinite().all() for g in gradients(model, losses).values())


@each_network
def test_images_without_objects_train(network):
    model = small(network).train()
    losses = model(two_images()[1:] * 2, two_targets()[1:] * 2)
    assert losses["loss_mask"] == losses["loss_dice"] == losses["loss_dice_0"] == 0
    assert losses["loss_class"] > 0
    assert all(g is None or g.isfinite().all() for g in gradients(model, losses).values())


@each_network
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 48}, "width must be a multiple of 32"),
        ({"heads": 5}, "heads must divide the 32 channels, got 5"),
    ],
)
def test_bad_settings_are_refused(network, settings, message):
    with pytest.raises(ValueError, match=message):
        small(network, **settings)


@pytest.mark.weekly  # trainings of over 100 steps; a few are in test_tasks.py
@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("maskformer_tiny", 130),
        ("mask2former_tiny", 120),
    ],
)
def test_two_scenes_are_learnt_by_heart(name, steps):
    samples = panoptic_scenes(2, min_area=16, config=PLAIN_64)
    torch.manual_seed(0)
    model = get_model(name, 12, things=THINGS)
    learn(model, samples, steps, 2e-3, summed, clip_norm=1.0, warmup=0.1)
    assert panoptic_quality(model, samples) > 0.7
    metric = AveragePrecision()
    model.task = "instance"
    with torch.no_grad():
        metric.update(model([s["image"] for s in samples]), [as_instances(s) for s in samples])
    assert metric.compute()["AP50"] > 0.8
