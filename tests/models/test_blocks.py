import pytest
import torch

from segedu.models.blocks import ChannelNorm, center_crop, check_width, conv_norm


def test_center_crop_cuts_and_pads():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert center_crop(x, torch.Size([2, 2])).flatten().tolist() == [5, 6, 9, 10]
    assert torch.equal(center_crop(center_crop(x, torch.Size([7, 6])), x.shape), x)


def test_channel_norm_has_mean_0_and_deviation_1_at_each_pixel():
    y = ChannelNorm(8)(3 * torch.randn(2, 8, 3, 4) + 5)
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(1, correction=0), torch.ones(2, 3, 4), atol=1e-3, rtol=0)


def test_group_normalisation_needs_32_groups():
    check_width(64)
    assert conv_norm(3, 64, 3)(torch.randn(1, 3, 5, 7)).shape == (1, 64, 5, 7)
    for width in (0, 16, 40):
        with pytest.raises(ValueError, match=f"width must be a multiple of 32 .*, got {width}"):
            check_width(width)
