import pytest
import torch
import torchvision

from segedu.models import get_model
from segedu.models.backbones import DenseNetFeatures
from segedu.models.dense_unet import DenseBlock, DenseUNet, FCDenseNet


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("fc_densenet56", 1_376_795), ("fc_densenet67", 3_463_243), ("fc_densenet103", 9_322_091)],
)
def test_parameters_are_the_references(name, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in get_model(name, 11).parameters()) == parameters


def test_a_block_gives_its_new_features_and_each_layer_sees_all_before():
    block = DenseBlock(6, growth_rate=4, layers=3, dropout=0.0).eval()
    assert block(torch.randn(1, 6, 5, 5)).shape == (1, 12, 5, 5)
    assert [layer[2].in_channels for layer in block.layers] == [6, 10, 14]


def test_only_new_features_go_up():
    model = FCDenseNet(2, layers=(2, 3), bottleneck=4, growth_rate=5, first_width=7)
    assert [layer.in_channels for layer in model.unpool] == [20, 15]


def test_densenet_is_torchvisions_and_its_published_names_load(tmp_path):
    reference = torchvision.models.densenet121().eval()
    state = reference.state_dict()
    # the published file says "norm.1" where the module now says "norm1"
    old = {
        name.replace("norm1.", "norm.1.").replace("conv1.", "conv.1.")
        if "denselayer" in name
        else name: value
        for name, value in state.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "densenet121.pth")
    model = DenseNetFeatures(weights=tmp_path / "densenet121.pth").eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(x)[-1], reference.features(x))


def test_too_small_images_are_refused():
    for model in (FCDenseNet(2, layers=(1,) * 5, bottleneck=1), DenseUNet(2)):
        with pytest.raises(ValueError, match="at least 32 pixels a side"):
            model(torch.zeros(1, 3, 31, 40))
