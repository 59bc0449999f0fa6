import pytest
import torch

from segedu.models.backbones import ViTFeatures
from segedu.models.setr import SETR


@pytest.mark.parametrize(
    ("decoder", "parameters"),
    # of mmsegmentation 1.2, whose projection of the patches has by default no bias, unlike ViT's
    [("naive", 306_535_500), ("pup", 318_466_124), ("mla", 310_678_111)],
)
def test_parameters_are_the_references(decoder, parameters):
    with torch.device("meta"):
        model = SETR(19, decoder, image_size=768)
    bias = model.backbone.conv_proj.bias.numel()
    assert sum(p.numel() for p in model.parameters()) - bias == parameters


def test_position_codes_are_interpolated_for_other_sizes():
    model = ViTFeatures(1, 8, 2, taps=(0,), image_size=32, patch_size=8)
    assert torch.equal(model.positions((4, 4)), model.encoder.pos_embedding)
    with torch.no_grad():
        model.encoder.pos_embedding[:, 1:] = 3.0
    codes = model.positions((5, 7))
    assert codes.shape == (1, 1 + 5 * 7, 8)
    assert torch.allclose(codes[:, 1:], torch.tensor(3.0))


def test_the_border_is_padded_with_zeros():
    model = SETR(3, "naive", size="tiny", image_size=64, channels=8).eval()
    x = torch.randn(1, 3, 64, 47)
    padded = torch.nn.functional.pad(x, (0, 1))
    assert torch.equal(model(x), model(padded)[..., :47])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="decoder must be 'naive', 'pup' or 'mla', got 'up'"):
        SETR(2, "up")
    with pytest.raises(ValueError, match="size must be one of tiny, small, base, large"):
        SETR(2, size="huge")
    with pytest.raises(ValueError, match="patch_size must be a power of 2 from 4 on, got 12"):
        SETR(2, patch_size=12)
    with pytest.raises(ValueError, match="layers must be 4 or more.*got 3"):
        SETR(2, layers=3)


@pytest.mark.parametrize("decoder", ["naive", "pup", "mla"])
@pytest.mark.parametrize("patch_size", [4, 8, 32])
def test_patches_and_depth_are_settings(decoder, patch_size):
    settings = {"size": "tiny", "layers": 5, "channels": 8, "image_size": 64}
    model = SETR(3, decoder, patch_size=patch_size, **settings)
    assert len(model.backbone.encoder.layers) == 5
    x = torch.randn(2, 3, 64, 47)
    assert [y.shape for y in model(x)] == [(2, 3, 64, 47)] * (5 if decoder == "mla" else 4)
    tokens, size = model.backbone.tokens(x)
    assert size == (64 // patch_size, -(-47 // patch_size))
    assert tokens.shape == (2, 1 + size[0] * size[1], 192)


def test_progressive_upsampling_ends_at_the_size_of_the_image():
    for patch_size in (4, 8, 16):
        model = SETR(3, "pup", size="tiny", layers=4, patch_size=patch_size, channels=8).eval()
        side = model.classifier(torch.zeros(1, 192, 2, 2)).shape[-1]
        assert side == 2 * patch_size


def test_attention_weights_are_those_of_the_layer():
    model = ViTFeatures(2, 8, 2, taps=(1,), image_size=32, patch_size=8).eval()
    x = torch.randn(3, 3, 32, 24)
    weights = model.attention(x, 1)
    assert weights.shape == (3, 2, 13, 13)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 13))
    tokens = model.encoder.layers[0](model.tokens(x)[0])
    block = model.encoder.layers[1]
    normed, attention = block.ln_1(tokens), block.self_attention
    value = normed @ attention.in_proj_weight[16:].T + attention.in_proj_bias[16:]
    read = weights @ value.unflatten(2, (2, 4)).transpose(1, 2)
    y = tokens + attention.out_proj(read.transpose(1, 2).flatten(2))
    y = y + block.mlp(block.ln_2(y))
    (found,) = model(x)
    assert torch.allclose(y[:, 1:].transpose(1, 2).reshape(3, 8, 4, 3), found, atol=1e-5)
