import pytest
import torch

from segedu.models.segformer import EfficientAttention, SegFormer, from_hugging_face


@pytest.mark.parametrize(
    ("variant", "num_classes", "parameters"),
    [
        (0, 19, 3_719_027),
        (0, 150, 3_752_694),
        (1, 150, 13_715_798),
        (2, 150, 27_461_974),
        (5, 150, 84_708_694),
    ],
)
def test_parameters_are_the_references(variant, num_classes, parameters):
    with torch.device("meta"):
        model = SegFormer(num_classes, variant)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_every_token_attends_to_the_reduced_map():
    attention = EfficientAttention(8, heads=2, reduction=2)
    x = torch.randn(1, 4 * 6, 8, requires_grad=True)
    attention(x, torch.Size([4, 6]))[0, 0].sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()


def test_published_names_and_those_in_memory_become_ours():
    published = {
        "segformer.encoder.patch_embeddings.1.proj.weight": "stages.1.embed.proj.weight",
        "segformer.encoder.patch_embeddings.0.layer_norm.bias": "stages.0.embed.norm.bias",
        "segformer.encoder.block.2.1.layer_norm_1.weight": "stages.2.blocks.1.norm1.weight",
        "segformer.encoder.block.0.1.attention.self.query.bias": (
            "stages.0.blocks.1.attention.query.bias"
        ),
        "segformer.encoder.block.0.1.attention.self.sr.weight": (
            "stages.0.blocks.1.attention.reduce.weight"
        ),
        "segformer.encoder.block.0.1.attention.self.layer_norm.weight": (
            "stages.0.blocks.1.attention.norm.weight"
        ),
        "segformer.encoder.block.0.1.attention.output.dense.bias": (
            "stages.0.blocks.1.attention.out.bias"
        ),
        "segformer.encoder.block.3.0.mlp.dense2.weight": "stages.3.blocks.0.ffn.fc2.weight",
        "segformer.encoder.layer_norm.3.weight": "stages.3.norm.weight",
        "decode_head.linear_c.2.proj.weight": "project.2.weight",
        "segformer.stages.3.layer_norm.weight": "stages.3.norm.weight",
        "decode_head.batch_norm.running_var": "fuse.1.running_var",
    }
    for name, ours in published.items():
        assert list(from_hugging_face({name: torch.zeros(1)})) == [ours]


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="variant must be 0 to 5, got 6"):
        SegFormer(2, 6)
    with pytest.raises(ValueError, match="at least 32 pixels a side"):
        SegFormer(2, base_width=8, depths=(1, 1, 1, 1))(torch.zeros(1, 3, 31, 64))
