import pytest
import torch

from segedu.metrics import AveragePrecision
from segedu.models.deformable_attention import centres
from segedu.models.mask2former import (
    Mask2Former,
    at_random_points,
    at_uncertain_points,
    foreground,
    from_hugging_face,
    mask2former_tiny,
    sample,
)
from segedu.tasks import as_instances
from tests.models.mask_scenes import THINGS, panoptic_quality, scenes
from tests.models.overfit import learn, summed

SMALL = {
    "base_width": 8,
    "layers": (1, 1, 1, 1),
    "width": 32,
    "heads": 4,
    "encoder_ffn_width": 32,
    "encoder_layers": 1,
    "ffn_width": 32,
    "num_queries": 6,
    "num_layers": 2,
    "num_points": 50,
}


def small(num_classes: int = 4, **settings) -> Mask2Former:
    torch.manual_seed(0)
    return Mask2Former(num_classes, **SMALL | settings)


def test_parameters_are_the_references():
    with torch.device("meta"):
        model = Mask2Former(133)
    assert sum(p.numel() for p in model.parameters()) == 44_036_998


def training_losses(seed: int, targets: list[dict]) -> dict[str, torch.Tensor]:
    model = small().train()
    images = [torch.rand(3, 64, 80), torch.rand(3, 50, 33)]
    torch.manual_seed(seed)
    losses = model(images, targets)
    sum(losses.values()).backward()
    missing = [
        name
        for name, p in model.named_parameters()
        if p.grad is None or not p.grad.isfinite().all()
    ]
    assert missing == []
    return losses


def some_objects() -> list[dict]:
    masks = torch.zeros(1, 64, 80, dtype=torch.bool)
    masks[0, 10:30, 20:50] = True
    return [{"masks": masks, "labels": torch.tensor([2])}, no_objects((50, 33))]


def no_objects(size: tuple[int, int]) -> dict:
    return {"masks": torch.zeros(0, *size), "labels": torch.zeros(0, dtype=torch.int64)}


def test_training_gives_losses_before_and_after_every_layer():
    losses = training_losses(0, some_objects())
    names = {"loss_class", "loss_mask", "loss_dice"}
    assert losses.keys() == {name + end for name in names for end in ("", "_0", "_1")}
    assert losses["loss_mask"] > 0


def test_images_without_objects_train():
    losses = training_losses(0, [no_objects((64, 80)), no_objects((50, 33))])
    assert losses["loss_mask"] == losses["loss_dice_1"] == 0
    assert losses["loss_class"] > 0


def test_bfloat16_autocast_trains():
    with torch.autocast("cpu", torch.bfloat16):
        losses = training_losses(0, some_objects())
    assert all(value.isfinite() for value in losses.values())


def test_points_follow_the_seed():
    torch.manual_seed(7)
    first = training_losses(0, some_objects())
    torch.manual_seed(7)
    again = training_losses(0, some_objects())
    torch.manual_seed(7)
    other = training_losses(1, some_objects())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["loss_mask"], other["loss_mask"])


def test_a_query_looks_at_its_mask_alone_and_everywhere_without_one():
    logits = torch.full((1, 3, 8, 8), -5.0)
    logits[0, 0, :4] = 5  # the upper half
    logits[0, 1] = 5  # everywhere; query 2 is nowhere
    mask = foreground(logits, (4, 4))
    assert mask.shape == (1, 3, 16)
    assert mask[0].sum(1).tolist() == [8, 16, 16]
    assert mask[0, 0, :8].all()


def test_masked_attention_ignores_what_lies_outside():
    layer = small().transformer.layers[0].cross_attention
    query, memory = torch.randn(1, 1, 32), torch.randn(1, 4, 32)
    mask = torch.tensor([[[True, True, False, False]]])
    changed = memory.clone()
    changed[:, 2:] = 9
    assert torch.equal(layer(query, memory, memory, mask), layer(query, changed, changed, mask))
    assert not torch.equal(layer(query, memory, memory), layer(query, changed, changed))


def test_points_are_sampled_where_the_mask_is_undecided():
    logits = torch.linspace(-10, 10, 40).expand(2, 40, 40).contiguous()  # 0 in the middle
    torch.manual_seed(0)
    chosen, _ = at_uncertain_points(logits, logits, 400)
    random, same = at_random_points(logits, logits, 400)
    assert chosen.shape == random.shape == (2, 400)
    assert torch.equal(random, same)
    assert chosen.abs().mean() < 0.6 * random.abs().mean()
    assert (chosen.abs() > 5).any()  # a quarter is drawn anywhere


def test_sampling_at_pixel_centres_reads_the_pixels():
    maps = torch.randn(2, 3, 5)
    points = centres(torch.empty(1, 1, 3, 5)).expand(2, -1, -1)
    assert torch.allclose(sample(maps, points), maps.flatten(1), atol=1e-5)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="heads must divide the 32 channels, got 5"):
        small(heads=5)
    with pytest.raises(ValueError, match="width must be a multiple of 32"):
        small(width=40)


def test_the_attention_of_pytorch_is_cut_in_three():
    name = "model.transformer_module.decoder.layers.2.cross_attn."
    state = from_hugging_face({name + "in_proj_bias": torch.arange(6.0)})
    ours = "transformer.layers.2.cross_attention."
    assert {key: value.tolist() for key, value in state.items()} == {
        ours + "query.bias": [0, 1],
        ours + "key.bias": [2, 3],
        ours + "value.bias": [4, 5],
    }


@pytest.mark.slow  # 120 steps of training
def test_learns_two_scenes():
    samples = scenes(2)
    torch.manual_seed(0)
    model = mask2former_tiny(12, things=THINGS)
    learn(model, samples, 120, 2e-3, summed, clip_norm=1.0, warmup=0.1)
    assert panoptic_quality(model, samples) > 0.7
    metric = AveragePrecision()
    model.task = "instance"
    with torch.no_grad():
        metric.update(model([s["image"] for s in samples]), [as_instances(s) for s in samples])
    assert metric.compute()["AP50"] > 0.8
