"""``export``: the file, what it says of itself, and what cannot be exported."""

import json

import numpy as np
import pytest
import torch
from torchvision.models import detection

from segedu.cli import main
from segedu.cli.export import INSTEAD
from segedu.models import get_model
from tests.cli.test_predict import CLASSES, COLORS, checkpoint

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def export(folder, *more):
    command = ["export", "--checkpoint", str(folder / "best.pt"), "--out"]
    return main([*command, str(folder / "network.onnx"), *more])


def test_the_file_is_all_that_another_program_needs(tmp_path, capsys):
    statistics = {"mean": [0.2, 0.4, 0.1, 0.5], "std": [0.3, 0.2, 0.1, 0.2]}
    model = checkpoint(tmp_path, in_channels=4, config=statistics)
    assert export(tmp_path) == 0
    assert "images of any size" in capsys.readouterr().out
    file = tmp_path / "network.onnx"
    about = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert json.loads(about["classes"]) == CLASSES and json.loads(about["colors"]) == COLORS
    assert about["task"] == "semantic" and about["network"] == "unet" and about["segedu"]
    mean, std = (np.array(json.loads(about[key]), np.float32) for key in ("mean", "std"))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 4)).astype(np.float32)
    images = ((pixels / 255 - mean) / std).transpose(2, 0, 1)[None]
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"image": images})
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).numpy()
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_mistakes(tmp_path, capsys):
    def refused(*more):
        assert export(tmp_path, *more) == 2
        text = capsys.readouterr().err
        assert text.startswith("segedu: error: ") and text.count("\n") == 1
        return text

    checkpoint(tmp_path, "mask_rcnn_tiny", config={"task": "instance"})
    assert "mask_rcnn_tiny cannot be exported: the number of its objects" in refused()
    checkpoint(tmp_path, "enet", base_width=8)
    assert "cannot be exported: it places values by the indices" in refused()
    checkpoint(tmp_path)
    assert "--size must be 64 at least" in refused("--size", "32", "64")
    assert "must end in .onnx" in refused("--out", str(tmp_path / "network.pt"))
    assert not (tmp_path / "network.onnx").exists()
    assert export(tmp_path) == 0
    assert "is there already: --force replaces it" in refused()
    assert export(tmp_path, "--force") == 0


@pytest.mark.parametrize("name", INSTEAD)
def test_networks_to_export_instead_have_the_same_weights(name):
    with torch.device("meta"):
        own = get_model(name, 3).state_dict()
        other = getattr(detection, INSTEAD[name])(
            weights=None, weights_backbone=None, num_classes=3
        ).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in other.items()}
