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
