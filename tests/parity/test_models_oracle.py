"""Ours against reference packages, run live: torchvision's state dict goes into ours unrenamed."""

import pytest
import torch
from closed_form import blank, fill, images
from torchvision.models import segmentation

from segedu.models import get_model

pytestmark = pytest.mark.oracle


@torch.no_grad()
def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, relative to the largest output."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05 * theirs.abs().max(), "a constant output proves nothing"
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("depth", [50, 101])
@torch.no_grad()
def test_fcn_resnet_equals_torchvision(depth):
    settings = {"weights": None, "weights_backbone": None, "num_classes": 5, "aux_loss": True}
    reference = fill(blank(getattr(segmentation, f"fcn_resnet{depth}"), **settings))
    model = blank(get_model, f"fcn_resnet{depth}", 5, aux_loss=True).eval()
    model.load_state_dict(reference.state_dict())
    x = images((1, 3, 65, 97))
    expected = reference(x)
    assert difference(model(x), expected["out"]) < 1e-6
    features = model.backbone(x)
    assert difference(model.aux_classifier(features[2]), reference.aux_classifier(features[2])) == 0
