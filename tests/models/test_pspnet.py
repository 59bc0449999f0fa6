import pytest
import torch
import torch.nn.functional as F
from torchvision.models import ResNet50_Weights

from segedu.models.pspnet import PyramidPooling, pspnet


def test_the_pyramid_keeps_the_map_and_adds_as_many_channels():
    x = torch.rand(2, 8, 12, 18)
    pyramid = PyramidPooling(8, bins=(1, 2)).eval()
    out = pyramid(x)
    assert out.shape == (2, 16, 12, 18)
    assert torch.equal(out[:, :8], x)
    assert out[:, 8:12].var(dim=(2, 3)).max() < 1e-10  # the 1x1 level is constant
    _, conv, norm, relu = pyramid.levels[1]
    corner = relu(norm(conv(F.adaptive_avg_pool2d(x, 2))))[..., 0, 0]
    assert torch.allclose(out[:, 12:, 0, 0], corner)


def test_one_image_in_training_is_refused_with_the_reason():
    model = pspnet(50, 5, base_width=4, layers=(1, 1, 1, 1))
    with pytest.raises(ValueError, match="batch of at least 2 images"):
        model(torch.zeros(1, 3, 64, 64))


def test_the_auxiliary_head_and_the_deep_stem_are_options():
    with torch.device("meta"):
        model = pspnet(50, 21)
        assert sum(p.numel() for p in model.aux_classifier.parameters()) == 2_365_205
        plain = pspnet(50, 21, aux_loss=False, deep_stem=False)
    assert plain.aux_classifier is None
    assert plain.backbone.conv1.kernel_size == (7, 7)
    with pytest.raises(ValueError, match="deep_stem=False"):
        pspnet(50, 21, weights=ResNet50_Weights.IMAGENET1K_V2)


@pytest.mark.parametrize(("channels", "bins"), [(16, (1, 2, 3)), (8, (6,)), (9, (1, 2))])
def test_the_pyramid_says_how_wide_it_is(channels, bins):
    pyramid = PyramidPooling(channels, bins).eval()
    assert pyramid(torch.rand(1, channels, 12, 12)).shape[1] == pyramid.out_channels


@pytest.mark.parametrize("bins", [(), (1, 2, 3, 6, 7)])
def test_a_pyramid_has_one_to_as_many_levels_as_channels(bins):
    with pytest.raises(ValueError, match="bins must name 1 to 4 levels"):
        PyramidPooling(4, bins)


def test_the_network_without_its_pyramid_sees_less():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 256, 256)
    changed = x.clone()
    changed[..., :8, :8] = 0
    seen = []
    for bins in ((1, 2, 3, 6), ()):
        model = pspnet(50, 5, bins=bins, base_width=4, layers=(1, 1, 1, 1)).eval()
        with torch.no_grad():
            seen.append(not torch.equal(model(x)[..., -8:, -8:], model(changed)[..., -8:, -8:]))
    assert seen == [True, False]
