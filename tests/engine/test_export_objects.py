"""ONNX files of detectors find what their networks find."""

import pytest
import torch

from segedu.engine.export import ExportError
from segedu.engine.export_objects import agreement, as_torchvision, export_detector
from segedu.models import get_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SIZES = [(96, 128), (128, 96), (64, 200)]
BOXES = {"mask_width": 0, "base_width": 4, "channels": 8, "box_width": 8}  # the quickest
OTHER = {"attention": True, "channels": 32, "mask_layers": 1, "max_size": 140}


def detector(**settings):
    torch.manual_seed(0)
    return get_model("mask_rcnn_tiny", 4, **settings).eval()


@pytest.mark.parametrize(
    "settings",
    [
        BOXES,
        pytest.param({}, marks=pytest.mark.weekly),  # the command line exports it every time
        pytest.param(OTHER, marks=pytest.mark.weekly),
    ],
    ids=["Faster R-CNN", "Mask R-CNN", "another backbone, and heads of other widths"],
)
def test_the_file_finds_the_same(settings, tmp_path):
    model, path = detector(box_score_thresh=0.2, **settings), tmp_path / "network.onnx"
    assert export_detector(model, path, {}, SIZES) > 0.99
    assert model.settings.box_score_thresh == 0.2
    assert agreement(model, path.read_bytes(), [(80, 80), (150, 300)]) > 0.99  # not tried before
    with torch.no_grad():  # else the agreement would be on nothing
        assert all(len(model([torch.rand(3, *size)])[0]["boxes"]) for size in SIZES)


def test_torchvisions_network_shares_the_weights():
    model = detector()
    twin = as_torchvision(model)
    own = {id(p) for p in model.backbone.parameters()}
    assert own <= {id(p) for p in twin.parameters()}
    image = torch.rand(3, 70, 90, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (wanted,), (found,) = model([image]), twin([image])
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value)


def test_a_file_that_finds_something_else_is_not_kept(tmp_path, monkeypatch):
    path, other = tmp_path / "network.onnx", detector(box_nms_thresh=0.1, **BOXES)
    monkeypatch.setattr(
        "segedu.engine.export_objects.as_torchvision", lambda _: as_torchvision(other)
    )
    with pytest.raises(ExportError, match="the file finds something else"):
        export_detector(detector(**BOXES), path, {}, SIZES)
    assert not path.exists()


def test_a_network_that_is_not_finite_is_not_kept(tmp_path):
    path, model = tmp_path / "network.onnx", detector(**BOXES)
    model.roi_heads.box_predictor.cls_score.bias.data.fill_(float("nan"))
    with pytest.raises(ExportError, match="its weights are broken"):
        export_detector(model, path, {}, SIZES)
    assert not path.exists()
