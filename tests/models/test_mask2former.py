import torch

from segedu.models.deformable_attention import centres
from segedu.models.mask2former import (
    Mask2Former,
    at_random_points,
    at_uncertain_points,
    foreground,
    from_hugging_face,
    sample,
)
from tests.models.mask_scenes import small, two_images, two_targets


def test_parameters_are_the_references():
    with torch.device("meta"):
        model = Mask2Former(133)
    assert sum(p.numel() for p in model.parameters()) == 44_036_998


def test_points_follow_the_seed():
    def losses(seed: int) -> dict[str, torch.Tensor]:
        model = small(Mask2Former).train()
        torch.manual_seed(seed)
        return model(two_images(), two_targets())

    first, again, other = losses(0), losses(0), losses(1)
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
    layer = small(Mask2Former).transformer.layers[0].cross_attention
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


def test_the_attention_of_pytorch_is_cut_in_three():
    name = "model.transformer_module.decoder.layers.2.cross_attn."
    state = from_hugging_face({name + "in_proj_bias": torch.arange(6.0)})
    ours = "transformer.layers.2.cross_attention."
    assert {key: value.tolist() for key, value in state.items()} == {
        ours + "query.bias": [0, 1],
        ours + "key.bias": [2, 3],
        ours + "value.bias": [4, 5],
    }
