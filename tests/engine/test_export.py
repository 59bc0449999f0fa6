"""ONNX files compute what their networks compute."""

import json

import pytest
import torch
from torch import nn

from segedu.engine.export import ExportError, compare, export_onnx, half_onnx
from tests.models.test_models import EVERY_TIME, narrow, others_weekly, wake

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

#: Which network cannot be exported, and why; every other takes images of any size.
CANNOT = dict.fromkeys(("segnet_vgg16", "segnet_basic", "enet"), "max_unpool2d")
#: Attention of torchvision keeps the size and the number of images of the example.
ONE_SIZE = ("setr_naive", "setr_pup", "setr_mla")
SIZE = (64, 96)


@pytest.mark.parametrize("name", others_weekly(EVERY_TIME))
def test_every_network_exports_with_any_size_or_says_why_not(name, tmp_path, capfd):
    model, path = wake(narrow(name)).eval(), tmp_path / "network.onnx"
    if name in CANNOT:
        with pytest.raises(ExportError, match=CANNOT[name]):
            export_onnx(model, path, {}, size=SIZE)
        assert not path.exists()
    else:
        written = export_onnx(model, path, {}, size=SIZE)
        assert written.dynamic == written.several == (name not in ONE_SIZE)
        assert written.difference < 1e-4
        more = [(96, 64), (64, 128)] if written.dynamic else [SIZE]  # sizes never tried before
        assert compare(model, path.read_bytes(), 3, more, written.several) < 1e-4
    assert capfd.readouterr().out == ""


def test_metadata(tmp_path):
    path = tmp_path / "network.onnx"
    export_onnx(nn.Conv2d(4, 2, 3), path, {"task": "semantic", "mean": [0.5, 1]}, channels=4)
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert found == {"task": "semantic", "mean": "[0.5, 1]", "size": "any", "images": "any number"}
    assert json.loads(found["mean"]) == [0.5, 1]


class OneSize(nn.Module):
    """Adds a map as large as the example to its image: any other size fails."""

    def __init__(self):
        super().__init__()
        self.map = nn.Parameter(torch.rand(1, 1, *SIZE))

    def forward(self, x):
        return x + self.map if x.shape[-2:] == SIZE else x * 2


def test_a_network_of_one_size_keeps_it(tmp_path):
    path = tmp_path / "network.onnx"
    written = export_onnx(OneSize(), path, {}, size=SIZE)
    assert not written.dynamic
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(found["size"]) == [*SIZE]


class Counting(nn.Module):
    """Never computes the same twice: what is written is one call, later ones give more."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.scale + self.calls


def test_a_file_that_computes_something_else_is_not_kept(tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(b"older")
    with pytest.raises(ExportError, match="computes something else"):
        export_onnx(Counting(), path, {})
    assert path.read_bytes() == b"older"


def test_a_network_that_is_not_finite_is_not_kept(tmp_path):
    model = nn.Conv2d(3, 2, 1)
    model.bias.data.fill_(float("nan"))
    with pytest.raises(ExportError, match="differ by nan"):
        export_onnx(model, tmp_path / "network.onnx", {}, size=SIZE)
    assert not list(tmp_path.iterdir())


def test_the_network_stays_as_it_is(tmp_path):
    model = narrow("pspnet_resnet50").eval()
    layers = [type(module) for module in model.modules()]
    export_onnx(model, tmp_path / "network.onnx", {}, size=SIZE)
    assert [type(module) for module in model.modules()] == layers


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(package, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=rf"needs the package {package}: .*segedu\[deploy\]"):
        export_onnx(nn.Conv2d(3, 2, 1), tmp_path / "network.onnx", {})


def test_a_file_of_half_the_size_computes_the_same():
    model = wake(narrow("unet")).eval()
    halves = {
        k: v.half().float() if v.is_floating_point() else v for k, v in model.state_dict().items()
    }
    model.load_state_dict(halves)
    data = half_onnx(model, size=SIZE)
    assert compare(model, data, 3, [SIZE, (96, 64), (64, 128)], several=False) < 1e-5
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert len(data) < 2 * parameters + 60_000  # bytes; the graph takes the rest


def test_weights_that_half_precision_cannot_hold_stay_whole():
    model = nn.Conv2d(3, 2, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1 / 3)
    stored = onnx.load_from_string(half_onnx(model)).graph.initializer
    assert [weight.data_type for weight in stored] == [onnx.TensorProto.FLOAT]
