from urllib.error import URLError

import pytest
import torch
import torchvision
from torchvision.models import ResNet50_Weights

from segedu.models import get_model
from segedu.models.backbones import ResNetFeatures, load_weights, read_weights, vgg16_stages
from tests.parity.closed_form import blank, fill

SMALL = {"base_width": 4, "layers": (1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("output_stride", "strides"), [(32, [4, 8, 16, 32]), (16, [4, 8, 16, 16]), (8, [4, 8, 8, 8])]
)
def test_resnet_features_have_their_strides_and_widths(output_stride, strides):
    features = ResNetFeatures(output_stride=output_stride, **SMALL)(torch.zeros(2, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (width, 64 // stride, 96 // stride)
        for width, stride in zip((16, 32, 64, 128), strides, strict=True)
    ]


def test_without_pooling_all_strides_are_half_as_large():
    features = ResNetFeatures(max_pool=False, **SMALL)(torch.zeros(2, 3, 64, 96))
    assert [64 // f.shape[2] for f in features] == [2, 4, 8, 16]


@pytest.mark.parametrize(
    "name", ["embedding_tiny", "panoptic_deeplab_tiny", "maskformer_tiny", "mask2former_tiny"]
)
@torch.no_grad()
def test_networks_without_pooling_answer_at_the_size_of_the_image(name):
    model = get_model(name, 3, base_width=8, max_pool=False).eval()
    (backbone,) = (m for m in model.modules() if isinstance(m, ResNetFeatures))
    seen = []
    backbone.layer1.register_forward_hook(lambda *call: seen.append(call[-1].shape[2]))
    (found,) = model([torch.rand(3, 64, 64)])
    assert found["panoptic_seg"].shape == (64, 64)
    assert seen[0] in (32, 33)  # Panoptic-DeepLab's images are a pixel larger


def dilations(stage: torch.nn.Sequential) -> list[int]:
    return [block.conv2.dilation[0] for block in stage]


def test_dilation_of_the_first_block_and_multi_grid():
    with torch.device("meta"):
        torchvision_form = ResNetFeatures(50, output_stride=8)
        own = ResNetFeatures(50, output_stride=8, first_block="own")
        grid = ResNetFeatures(50, output_stride=16, multi_grid=(1, 2, 4))
        last_only = ResNetFeatures(50, output_stride=32, multi_grid=(1, 2, 4))
    assert dilations(torchvision_form.layer3) == [1, 2, 2, 2, 2, 2]
    assert dilations(torchvision_form.layer4) == [2, 4, 4]
    assert dilations(own.layer3) == [2] * 6
    assert dilations(own.layer4) == [4] * 3
    assert dilations(grid.layer4) == [2, 4, 8]
    assert dilations(grid.layer3) == [1] * 6
    assert last_only.layer4[0].conv2.stride == (2, 2)


def computes_the_same(model, reference):
    """Whether the last map is torchvision's, once the weights are."""
    fill(reference)
    model.eval().load_state_dict({k: v for k, v in reference.state_dict().items() if k[:2] != "fc"})
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = torch.nn.Sequential(*list(reference.children())[:-2])(x)
        return torch.equal(model(x)[-1], expected)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_resnet_is_torchvisions(output_stride):
    dilated = [False, output_stride < 16, output_stride < 32]
    reference = blank(torchvision.models.resnet50, replace_stride_with_dilation=dilated)
    assert computes_the_same(blank(ResNetFeatures, 50, output_stride=output_stride), reference)


def test_resnet18_is_torchvisions():
    model = blank(ResNetFeatures, 18)
    assert computes_the_same(model, blank(torchvision.models.resnet18))
    assert model.channels == (64, 128, 256, 512)


def test_weights_from_a_file_and_bad_weights(tmp_path, monkeypatch):
    model = ResNetFeatures(**SMALL)
    torch.save(model.state_dict() | {"fc.weight": torch.zeros(3)}, tmp_path / "small.pth")
    other = ResNetFeatures(**SMALL, weights=tmp_path / "small.pth")
    assert torch.equal(other.conv1.weight, model.conv1.weight)
    with pytest.raises(FileNotFoundError, match="missing.pth"):
        ResNetFeatures(**SMALL, weights=str(tmp_path / "missing.pth"))
    with pytest.raises(TypeError, match="weights must be a torchvision weights enum"):
        read_weights(True)
    load_weights(model, None)  # random weights stay

    def unreachable(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(RuntimeError, match="must be downloaded from https://.*pass its path"):
        read_weights(ResNet50_Weights.IMAGENET1K_V2)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="depth must be one of"):
        ResNetFeatures(20)
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32, got 4"):
        ResNetFeatures(output_stride=4, **SMALL)
    with pytest.raises(ValueError, match="only bottlenecks can be dilated"):
        ResNetFeatures(18, output_stride=8)
    with pytest.raises(ValueError, match="first_block must be"):
        ResNetFeatures(first_block="new", **SMALL)
    with pytest.raises(ValueError, match="multi_grid needs 1 factors, got 3"):
        ResNetFeatures(multi_grid=(1, 2, 4), **SMALL)


def test_vgg16_stages_are_torchvisions():
    with torch.device("meta"):
        ours = vgg16_stages(batch_norm=True).state_dict()
        theirs = torchvision.models.vgg16_bn().features.state_dict()
    assert [v.shape for v in ours.values()] == [v.shape for v in theirs.values()]
