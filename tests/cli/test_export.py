"""``export``: the file, what it says of itself, and what cannot be exported."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segedu.cli import main
from segedu.engine.deployed import Deployed
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

    checkpoint(tmp_path, "yolact_tiny", config={"task": "instance"})
    assert "yolact_tiny cannot be exported: the number of its objects" in refused()
    checkpoint(tmp_path, "enet", base_width=8)
    assert "cannot be exported: it places values by the indices" in refused()
    checkpoint(tmp_path)
    assert "--size must be 64 at least" in refused("--size", "32", "64")
    assert "must end in .onnx" in refused("--out", str(tmp_path / "network.pt"))
    assert not (tmp_path / "network.onnx").exists()
    assert export(tmp_path) == 0
    assert "is there already: --force replaces it" in refused()
    assert export(tmp_path, "--force") == 0
    assert "--image-size must be positive" in refused("--force", "--image-size", "0", "64")


def test_the_file_says_into_which_size_pictures_are_scaled(tmp_path):
    checkpoint(tmp_path, config={"image_size": [48, 64]})
    for more, size in (([], (48, 64)), (["--image-size", "24", "32", "--force"], (24, 32))):
        assert export(tmp_path, *more) == 0
        network = Deployed(tmp_path / "network.onnx", 1)
        assert network.contract.image_size == size
        picture = torch.zeros(3, 480, 640, dtype=torch.uint8)
        assert network.prepared(picture).shape[1:] == size
        assert network(picture).labels.shape == (480, 640)


class Runtime:
    """An onnxruntime for GPUs, on a machine that may have none."""

    def __init__(self, falls_back):
        self.falls_back = falls_back

    def __getattr__(self, name):
        return getattr(runtime, name)

    def get_available_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, path, options, providers):  # noqa: N802
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        real = SimpleNamespace(**{name: getattr(session, name) for name in dir(session)})
        real.get_providers = lambda: providers[self.falls_back :]
        return real


def test_a_gpu_is_asked_for_and_never_silently_replaced(tmp_path, monkeypatch):
    checkpoint(tmp_path)
    assert export(tmp_path) == 0
    file = tmp_path / "network.onnx"
    with pytest.raises(ValueError, match="pip install onnxruntime-gpu"):
        Deployed(file, device="cuda")
    monkeypatch.setattr("segedu.engine.deployed.import_extra", lambda name: Runtime(False))
    assert Deployed(file, device="cuda").contract.network == "unet"
    monkeypatch.setattr("segedu.engine.deployed.import_extra", lambda name: Runtime(True))
    with pytest.raises(ValueError, match="onnxruntime could not use it"):
        Deployed(file, device="cuda")


def test_a_detector_is_exported_by_way_of_torchvision(tmp_path, capsys):
    narrow = {"base_width": 4, "channels": 8, "box_width": 8, "mask_width": 8}
    settings = {"config": {"task": "instance"}, "box_score_thresh": 0.3} | narrow
    model = checkpoint(tmp_path, "mask_rcnn_tiny", **settings)
    assert export(tmp_path, "--size", "96", "128") == 0
    assert "one image of any size" in capsys.readouterr().out
    file = tmp_path / "network.onnx"
    about = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert about["task"] == "instance" and "pixels / 255" in about["preprocessing"]
    image = torch.rand(3, 80, 150, generator=torch.Generator().manual_seed(1))
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = dict(
        zip(
            ("boxes", "labels", "scores", "masks"),
            session.run(None, {"image": image.numpy()}),
            strict=True,
        )
    )
    with torch.no_grad():
        (wanted,) = model([image])
    assert len(wanted["boxes"]) > 0
    for key, value in wanted.items():
        assert np.abs(found[key] - value.numpy()).max() < 1e-3


def test_a_promptable_network_is_two_files(tmp_path, capsys):
    small = {"image_size": 64, "layers": 1, "width": 16, "embed_width": 16}
    checkpoint(tmp_path, "sam_tiny", num_classes=None, config={"task": "promptable"}, **small)
    assert export(tmp_path) == 0
    said = capsys.readouterr().out
    assert "network.encoder.onnx" in said and "network.decoder.onnx" in said
    assert "longer side is 64 pixels" in said
    for part in ("encoder", "decoder"):
        file = tmp_path / f"network.{part}.onnx"
        about = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
        assert (about["task"], about["part"], about["size"]) == ("promptable", part, "[64, 64]")
    assert export(tmp_path) == 2
    assert "network.encoder.onnx is there already: --force replaces it" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is for promptable segmentation, not semantic or inst"):
        Deployed(file)
