from functools import partial

import pytest
import torch

from segedu.models.deeplab import (
    ASPP,
    DeepLabV3Plus,
    deeplab_v3_mobilenet_v3,
    deeplab_v3_resnet,
)
from tests.models.parameters import count


def test_parameters_are_the_references():
    with torch.device("meta"):
        assert count(deeplab_v3_resnet(50, 21, aux_loss=True)) == 42_004_074
        assert count(deeplab_v3_resnet(101, 21, aux_loss=True)) == 60_996_202
        assert count(deeplab_v3_mobilenet_v3(21, aux_loss=True)) == 11_029_328
        assert count(DeepLabV3Plus(21, separable=False, decoder_convs=1)) == 39_761_845
        assert count(DeepLabV3Plus(21, depth=101, separable=False, decoder_convs=1)) == 58_753_973


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(32, [3, 6, 9]), (16, [6, 12, 18]), (8, [12, 24, 36])]
)
def test_rates_double_when_the_map_is_twice_as_fine(output_stride, rates):
    small = {"base_width": 4, "layers": (1, 1, 3, 3), "output_stride": output_stride}
    model = DeepLabV3Plus(2, **small, multi_grid=(1, 2, 4), separable=False)
    assert [conv[0].dilation[0] for conv in list(model.aspp.convs)[1:4]] == rates
    unit = 32 // output_stride
    grid = [block.conv2.dilation[0] for block in model.backbone.layer4]
    assert grid == [unit, 2 * unit, 4 * unit]
    assert model.backbone(torch.zeros(2, 3, 64, 64))[-1].shape[-1] == 64 // output_stride


def test_one_image_in_training_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="batch of at least 2 images: after global pooling"):
        ASPP(4, (2,), 4)(torch.zeros(1, 4, 8, 8))
    ASPP(4, (2,), 4).eval()(torch.zeros(1, 4, 8, 8))


def test_bad_settings_are_refused():
    for build in (partial(deeplab_v3_resnet, 50), DeepLabV3Plus):
        with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32, got 4"):
            build(2, output_stride=4)


@pytest.mark.parametrize("rates", [(), (1, 2, 3, 5)])
def test_other_rates(rates):
    small = {"base_width": 4, "layers": (1, 1, 1, 1)}
    v3 = deeplab_v3_resnet(50, 2, rates=rates, **small).eval()
    plus = DeepLabV3Plus(2, rates=rates, separable=False, **small).eval()
    for model, aspp in ((v3, v3.classifier[0]), (plus, plus.aspp)):
        assert tuple(conv[0].dilation[0] for conv in list(aspp.convs)[1:-1]) == rates
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 2, 64, 64)
