import pytest
import torch

from segedu.models.blocks import center_crop
from segedu.models.unet import UNet, unet_valid, valid_output_size
from tests.models.parameters import count


def test_parameters_are_the_references():
    with torch.device("meta"):
        assert count(UNet(2)) == 31_037_698
        assert count(UNet(2, in_channels=1)) == 31_036_546
        assert count(unet_valid(2)) == 31_030_658
        assert count(unet_valid(2, in_channels=3)) == 31_031_810


def test_the_papers_network_turns_572_into_388():
    assert unet_valid(2, base_width=2)(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_valid_output_size_is_what_the_network_gives(depth):
    model = unet_valid(2, base_width=1, depth=depth).eval()
    for size in range(4, 120):
        expected = valid_output_size(size, depth)
        if expected:
            assert model(torch.zeros(1, 1, size, size)).shape[-2:] == (expected, expected)
        else:
            with pytest.raises(ValueError, match=f"{size} pixels do not fit"):
                model(torch.zeros(1, 1, size, size))


def test_valid_and_padded_agree_where_the_border_is_not_seen():
    # the same weights: padding only changes what lies within reach of the border
    # (one level: below, the borders that are lost shift the pooling grid)
    valid = UNet(2, base_width=4, depth=1, padded=False, batch_norm=False).eval()
    padded = UNet(2, base_width=4, depth=1, batch_norm=False).eval()
    padded.load_state_dict(valid.state_dict())
    x = torch.randn(1, 3, 124, 124)
    small, full = valid(x), padded(x)
    assert torch.allclose(small, center_crop(full, small.shape), atol=1e-5)


def test_without_skip_connections_the_decoder_does_not_see_the_encoder():
    with_skips, without = UNet(2, base_width=4), UNet(2, base_width=4, skip_connections=False)
    assert count(without) < count(with_skips)
    assert without(torch.zeros(1, 3, 97, 131)).shape == (1, 2, 97, 131)
    widths = [level.conv[0].in_channels for level in without.decoder]
    assert widths == [32, 16, 8, 4]


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="at least 16 pixels a side, got 64 x 15"):
        UNet(2, base_width=2)(torch.zeros(1, 3, 64, 15))
