"""`evaluate` and `predict` take the file that ships: as its checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from segedu.cli import main
from tests.cli.own_data import write
from tests.cli.test_predict import COLORS, checkpoint

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package)

NAMES = ["ground", "thing"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Own data, a network of two classes, and its file."""
    folder = tmp_path_factory.mktemp("deployed")
    write(folder / "data", 5)
    config = {"classes": NAMES, "colors": COLORS[:2]}
    checkpoint(folder, num_classes=2, base_width=8, config=config)
    command = ["export", "--checkpoint", str(folder / "best.pt"), "--out", str(folder / "n.onnx")]
    assert main([*command, "--size", "64", "96"]) == 0
    return folder


def test_scores_are_those_of_the_checkpoint(folder):
    found = {}
    for name in ("best.pt", "n.onnx"):
        out = folder / name.replace(".", "-")
        data = ["--data", str(folder / "data"), "--classes", *NAMES, "--val-split", "0.4"]
        command = ["evaluate", "--checkpoint", str(folder / name), *data, "--split", "val"]
        assert main([*command, "--out", str(out)]) == 0
        found[name] = json.loads((out / "scores.json").read_text())
        assert (out / "report.html").is_file()
    assert found["best.pt"]["confusion_matrix"] == found["n.onnx"]["confusion_matrix"]
    assert np.min(found["n.onnx"]["confusion_matrix"]) > 0  # else all pixels have one class


def test_masks_are_those_of_the_checkpoint(folder):
    masks = []
    for name in ("best.pt", "n.onnx"):
        out = folder / f"out-{name}"
        command = ["predict", str(folder / "data/images"), "--checkpoint", str(folder / name)]
        assert main([*command, "--out", str(out), "--device", "cpu"]) == 0
        masks.append([np.asarray(Image.open(file)) for file in sorted((out / "mask").iterdir())])
    assert len(masks[0]) == 5 and len(np.unique(masks[0])) == 2
    assert all(np.array_equal(*pair) for pair in zip(*masks, strict=True))


def test_what_the_file_does_not_take_is_a_mistake_in_one_line(folder):
    from segedu.cli.deployed import DeployedModel

    model = DeployedModel(folder / "n.onnx")
    with pytest.raises(ValueError, match="^the network cannot run on pictures of 64 x 96 pixels"):
        model(torch.zeros(1, 4, 64, 96))
    model.network.contract = model.network.contract._replace(size=(64, 96))
    assert model(torch.zeros(2, 3, 64, 96)).shape == (2, 2, 64, 96)
    with pytest.raises(ValueError, match=r"of 64 x 96 pixels \(height x width\), got 96 x 64"):
        model(torch.zeros(1, 3, 96, 64))


def test_what_is_for_checkpoints_is_refused(folder, capsys):
    def refused(*arguments):
        capsys.readouterr()
        assert main(list(map(str, arguments))) == 2
        text = capsys.readouterr().err
        assert text.startswith("segedu: error: ") and text.count("\n") == 1, text
        return text

    file, pictures = folder / "n.onnx", folder / "data/images"
    text = refused("export", "--checkpoint", file, "--out", folder / "again.onnx")
    assert "is exported already" in text
    predict = ["predict", pictures, "--checkpoint", file, "--out", folder / "none"]
    assert "--image-size and --device are for" in refused(*predict, "--image-size", 8, 8)
    assert "for checkpoints" in refused(*predict, "--set", "min_size=8")
    predict[3] = folder / "none.onnx"
    assert "no such file" in refused(*predict)
