"""Ours against reference packages, run live: torchvision's state dict goes into ours unrenamed."""

import pytest
import torch
from closed_form import blank, fill, images
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP as SmpASPP
from torchvision.models import segmentation

from segedu.models import get_model
from segedu.models.deeplab import ASPP

pytestmark = pytest.mark.oracle


@torch.no_grad()
def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, relative to the largest output."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05 * theirs.abs().max(), "a constant output proves nothing"
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


TORCHVISION = {
    "fcn_resnet50": "fcn_resnet50",
    "fcn_resnet101": "fcn_resnet101",
    "deeplab_v3_resnet50": "deeplabv3_resnet50",
    "deeplab_v3_resnet101": "deeplabv3_resnet101",
    "deeplab_v3_mobilenet_v3": "deeplabv3_mobilenet_v3_large",
}


@pytest.mark.parametrize("name", TORCHVISION)
@torch.no_grad()
def test_equals_torchvision(name):
    settings = {"weights": None, "weights_backbone": None, "num_classes": 5, "aux_loss": True}
    reference = fill(blank(getattr(segmentation, TORCHVISION[name]), **settings))
    model = blank(get_model, name, 5, aux_loss=True).eval()
    model.load_state_dict(reference.state_dict())
    x = images((1, 3, 65, 97))
    assert difference(model(x), reference(x)["out"]) < 1e-6
    middle = model.backbone(x)[-2]
    assert difference(model.aux_classifier(middle), reference.aux_classifier(middle)) == 0


@torch.no_grad()
def test_lraspp_equals_torchvision():
    build = segmentation.lraspp_mobilenet_v3_large
    reference = fill(blank(build, weights=None, weights_backbone=None, num_classes=5))
    model = blank(get_model, "lraspp_mobilenet_v3", 5).eval()
    model.load_state_dict(reference.state_dict())
    x = images((1, 3, 65, 97))
    assert difference(model(x), reference(x)["out"]) < 1e-6


@torch.no_grad()
def test_separable_aspp_equals_smp():
    reference = fill(SmpASPP(32, 16, (6, 12, 18), separable=True, dropout=0.1))
    model = fill(ASPP(32, (6, 12, 18), 16, separable=True, dropout=0.1))
    x = images((2, 32, 24, 30))
    assert difference(model(x), reference(x)) < 1e-6
