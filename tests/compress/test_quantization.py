"""Files of eight-bit integers: smaller, of the same contract, and they say nearly the same."""

import numpy as np
import pytest
import torch

from segedu.cli import main
from tests.cli.test_predict import checkpoint
from tests.compress.networks import CLASSES, NETWORKS, break_weights, build

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from segedu import monitor  # noqa: E402
from segedu.compress import quantize  # noqa: E402
from segedu.engine.deployed import Deployed  # noqa: E402
from segedu.engine.export import export_onnx  # noqa: E402

ABOUT = {
    "task": "semantic",
    "network": "a network",
    "classes": [f"class {c}" for c in range(CLASSES)],
    "colors": [[40 * c, 0, 0] for c in range(CLASSES)],
    "channels": 3,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "image_size": None,
    "segedu": "0",
}


def pictures(count, size=(64, 96)):
    """Coloured clouds, uint8 (3,H,W)."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (count, 3, 8, 12), generator=draw).float()
    fine = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return list(fine.to(torch.uint8))


@pytest.mark.slow  # networks of their published size are calibrated
@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_is_smaller_and_says_nearly_the_same(name, tmp_path):
    model = build(name)
    export_onnx(model, tmp_path / "n.onnx", ABOUT, size=(64, 96))
    *seen, new = pictures(5)
    file = quantize(tmp_path / "n.onnx", tmp_path / "int8.onnx", seen)
    assert file.stat().st_size < 0.45 * (tmp_path / "n.onnx").stat().st_size
    whole, small = Deployed(tmp_path / "n.onnx", 1), Deployed(file, 1)
    assert small.contract == whole.contract
    assert (whole(new).labels == small(new).labels).mean() > 0.9
    logits = [n.run(n.prepared(new)[None])["logits"] for n in (whole, small)]
    error = np.abs(logits[0] - logits[1]).mean() / np.abs(logits[0] - logits[0].mean()).mean()
    assert 0 < error < 0.25


def test_each_filter_has_a_scale_of_its_own(tmp_path):
    export_onnx(build("unet"), tmp_path / "n.onnx", ABOUT, size=(64, 96))
    file = quantize(tmp_path / "n.onnx", tmp_path / "int8.onnx", pictures(1))
    network = onnx.load(file)
    made = {tensor.name: tensor for tensor in network.graph.initializer}
    convolutions = [node for node in network.graph.node if node.op_type == "Conv"]
    scales = {}
    for node in network.graph.node:
        if node.op_type == "DequantizeLinear":
            scales[node.output[0]] = made[node.input[1]].dims
    assert convolutions
    for node in convolutions:
        assert list(scales[node.input[1]]) and scales[node.input[0]] == []


def test_a_reference_of_other_numbers_is_not_kept(tmp_path):
    """What was recorded of the whole network would report a drift of the quantized one."""
    export_onnx(build("unet"), tmp_path / "n.onnx", ABOUT, size=(64, 96))
    monitor.record(tmp_path / "n.onnx", pictures(10))
    file = quantize(tmp_path / "n.onnx", tmp_path / "int8.onnx", pictures(1))
    assert Deployed(tmp_path / "n.onnx").contract.reference["pictures"] == 10
    assert Deployed(file).contract.reference is None
    monitor.record(file, pictures(10))
    assert Deployed(file).contract.reference and Deployed(file).about["precision"] == "int8"


def test_mistakes(tmp_path):
    checkpoint(tmp_path)
    source = tmp_path / "n.onnx"
    command = ["export", "--checkpoint", str(tmp_path / "best.pt"), "--out", str(source)]
    assert main([*command, "--size", "64", "96"]) == 0
    target = tmp_path / "int8.onnx"
    with pytest.raises(ValueError, match="pictures must hold one picture at least"):
        quantize(source, target, [])
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such file"):
        quantize(tmp_path / "none.onnx", target, pictures(1))
    assert not target.exists()
    quantize(source, target, pictures(1))
    with pytest.raises(ValueError, match="is quantized already"):
        quantize(target, tmp_path / "twice.onnx", pictures(1))


def test_a_network_that_is_not_finite_is_refused(tmp_path):
    export_onnx(build("unet"), tmp_path / "n.onnx", ABOUT, size=(64, 96))
    break_weights(tmp_path / "n.onnx", tmp_path / "n.onnx")
    with pytest.raises(ValueError, match="not finite"):
        quantize(tmp_path / "n.onnx", tmp_path / "int8.onnx", pictures(1))
    assert not (tmp_path / "int8.onnx").exists()
