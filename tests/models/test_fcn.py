import pytest
import torch
import torch.nn.functional as F

from segedu.models.fcn import FCN, bilinear_kernel


@pytest.mark.parametrize("factor", [2, 8, 16])
def test_bilinear_kernel_interpolates(factor):
    x = torch.randn(1, 3, 6, 7)
    weight = bilinear_kernel(3, 2 * factor)
    up = F.conv_transpose2d(x, weight, stride=factor, padding=factor // 2)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear")
    inside = (..., slice(factor, -factor), slice(factor, -factor))  # borders: zeros, not the edge
    assert torch.allclose(up[inside], expected[inside], atol=1e-6)


def test_an_untrained_network_scores_zero():
    # section 4.1 (CVPR) and the release: score layers start with zeros
    model = FCN(5, base_width=4, head_width=8).eval()
    assert model(torch.randn(1, 3, 64, 64)).abs().max() == 0


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(33, 45), (1, 1), (224, 97)])
def test_the_paper_padding_covers_any_image(stride, size):
    model = FCN(5, stride, base_width=2, head_width=4, paper_padding=True).eval()
    assert model(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_the_padded_form_stays_aligned(stride):
    # a network that copies its input downwards and upwards must not shift a step edge
    model = FCN(1, stride, in_channels=1, base_width=1, head_width=1).eval()
    with torch.no_grad():
        for layer in [conv for stage in model.stages for conv in stage[::2]] + [
            model.head[0],
            model.head[3],
            *model.score,
        ]:
            layer.weight.zero_()
            center = layer.kernel_size[0] // 2
            layer.weight[:, :, center, center] = 1 / layer.in_channels
        x = torch.zeros(1, 1, 256, 256)
        x[..., :128] = 1
        row = model(x)[0, 0, 128]
    middle = (row[64:192] > (row[64] + row[191]) / 2).sum().item()
    assert middle == 64  # the edge stays at column 128


def test_vgg16_weights_from_a_file_fill_stages_and_head(tmp_path):
    torchvision_state = {}
    model = FCN(2, base_width=64, head_width=8)
    for index, value in enumerate(model.stages.state_dict().values()):
        torchvision_state[f"features.{index}"] = torch.randn_like(value)
    torchvision_state["classifier.0.weight"] = torch.zeros(1, 1)
    torchvision_state["classifier.3.weight"] = torch.zeros(1, 1)
    torch.save(torchvision_state, tmp_path / "vgg16.pth")
    loaded = FCN(2, base_width=64, head_width=8, weights=tmp_path / "vgg16.pth")
    for expected, actual in zip(
        torchvision_state.values(), loaded.stages.state_dict().values(), strict=False
    ):
        assert torch.equal(expected, actual)


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="stride must be 32, 16 or 8, got 4"):
        FCN(2, stride=4)
    with pytest.raises(FileNotFoundError, match="no file at"):
        FCN(2, base_width=4, head_width=4, weights=tmp_path / "missing.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="weights do not fit"):
        FCN(2, base_width=4, head_width=4, weights=tmp_path / "other.pth")
