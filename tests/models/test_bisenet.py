import pytest
import torch

from segedu.models.bisenet import BiSeNetV1
from segedu.models.bisenet_v2 import BiSeNetV2
from tests.models.parameters import count


def test_parameters_are_the_references():
    with torch.device("meta"):
        assert count(BiSeNetV1(19)) == 13_425_721
        assert count(BiSeNetV1(19, aux_loss=False)) == 13_275_539
        assert count(BiSeNetV2(19)) == 5_231_487
        assert count(BiSeNetV2(19, aux_loss=False)) == 3_358_627


@pytest.mark.parametrize(("build", "outputs"), [(BiSeNetV1, 3), (BiSeNetV2, 5)])
def test_training_returns_the_auxiliary_logits(build, outputs):
    model = build(4, base_width=8)
    assert len(model(torch.randn(2, 3, 65, 97))) == outputs
    assert isinstance(
        build(4, base_width=8, aux_loss=False)(torch.randn(2, 3, 64, 64)), torch.Tensor
    )


@pytest.mark.parametrize("build", [BiSeNetV1, BiSeNetV2])
def test_one_image_in_training_is_refused_with_the_reason(build):
    with pytest.raises(ValueError, match="batch of at least 2 images"):
        build(4, base_width=8)(torch.randn(1, 3, 64, 64))
