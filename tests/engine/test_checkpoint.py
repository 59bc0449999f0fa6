"""Checkpoints: whole or absent, damage noticed, data only."""

import hashlib
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from segedu.engine import CheckpointError, load_checkpoint, load_model, save_checkpoint
from segedu.engine.checkpoint import network_of
from segedu.models import get_model
from segedu.models.state import load_state

STATE = {"model": {"w": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "names": ["a", "b"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "x.pt", STATE)
    return tmp_path / "x.pt"


class Evil:
    """Runs a command when unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def test_round_trip(path):
    state = load_checkpoint(path)
    assert torch.equal(state["model"]["w"], STATE["model"]["w"])
    assert (state["epoch"], state["names"]) == (3, ["a", "b"])
    # torch alone reads it, too
    assert torch.load(path, weights_only=True)["epoch"] == 3
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"]


def test_every_kind_of_damage_is_one_error(path):
    good = path.read_bytes()
    generator = torch.Generator().manual_seed(0)

    def draw(high):
        return int(torch.randint(high, (), generator=generator))

    for _ in range(200):
        bad = bytearray(good)
        kind = draw(4)
        if kind == 0:  # one bit flips
            bad[draw(len(bad))] ^= 1 << draw(8)
        elif kind == 1:  # the file ends early
            del bad[draw(len(bad)) :]
        elif kind == 2:  # a block is lost
            start = draw(len(bad) - 20)
            bad[start : start + 20] = bytes(20)
            if bad == good:
                continue
        else:  # something is appended
            bad += bytes([draw(256)] * (1 + draw(9)))
        path.write_bytes(bad)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_files_of_others_are_refused(tmp_path):
    torch.save(STATE, tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match="not written by save_checkpoint"):
        load_checkpoint(tmp_path / "plain.pt")
    (tmp_path / "empty.pt").touch()
    with pytest.raises(CheckpointError, match="too short"):
        load_checkpoint(tmp_path / "empty.pt")
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
        load_checkpoint(tmp_path / "nothing.pt")


def test_code_in_a_checkpoint_never_runs(tmp_path):
    witness = tmp_path / "ran"
    # With a valid checksum: only the restricted unpickler stands in the way.
    content = io.BytesIO()
    torch.save({"model": Evil(witness)}, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest().encode()
    (tmp_path / "evil.pt").write_bytes(content.getvalue() + b"\nsha256:" + digest + b"\n")
    with pytest.raises(CheckpointError, match="plain data"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not witness.exists()
    pickle.loads(pickle.dumps(Evil(witness)))  # the attack itself is real
    assert witness.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_keeps_the_previous_file(path, monkeypatch):
    before = path.read_bytes()
    real_open = open

    def full(file, mode="r", *rest, **options):
        return real_open("/dev/full" if "x" in mode else file, mode.replace("x", "w"), buffering=0)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(path, {"w": torch.zeros(100_000)})
    monkeypatch.undo()
    assert path.read_bytes() == before


def test_a_size_limit_keeps_the_previous_file(path):
    """A real short write, from the kernel: for a while no file may grow over 64 KiB."""
    resource = pytest.importorskip("resource")  # not on Windows; Python ignores SIGXFSZ
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(CheckpointError, match="cannot write"):
            save_checkpoint(path, {"w": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_keeps_the_previous_file(path):
    path.parent.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="cannot write"):
            save_checkpoint(path, {})
    finally:
        path.parent.chmod(0o700)
    assert load_checkpoint(path)["epoch"] == 3


def test_a_folder_that_is_a_file(path):
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(path / "below.pt", {})


@pytest.mark.parametrize(
    ("value", "name"),
    [(lambda: None, "function"), (np.float64(1), "float64"), (torch.__version__, "TorchVersion")],
)
def test_what_cannot_be_read_back_is_refused(path, value, name):
    before = path.read_bytes()
    with pytest.raises(TypeError, match=rf"state\['a'\]\[1\] is a {name}"):
        save_checkpoint(path, {"a": [0, value]})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"]


@pytest.mark.parametrize(
    ("name", "classes", "settings"),
    [
        ("unet", 3, {"base_width": 2, "depth": 2}),
        ("sam_tiny", None, {"image_size": 64, "layers": 1}),
        ("mask_rcnn_tiny", 2, {"base_width": 4, "channels": 8, "box_width": 8, "mask_width": 8}),
        ("embedding_tiny", 3, {"base_width": 4, "things": [1, 2]}),
    ],
)
def test_a_network_comes_back_without_being_described(tmp_path, name, classes, settings):
    network = get_model(name, classes, **settings)
    state = {"model": network.state_dict(), "network": network.built_as}
    save_checkpoint(tmp_path / "x.pt", state)
    again = load_model(tmp_path / "x.pt")
    assert type(again) is type(network) and not again.training
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


def test_a_network_comes_back_without_the_file_of_its_first_weights(tmp_path):
    """Mask R-CNN freezes its normalisations if there are weights: that comes back, too."""
    backbone = torchvision.models.resnet50()
    torch.save(backbone.state_dict(), tmp_path / "resnet50.pth")
    small = {"min_size": 64, "box_detections_per_img": 2}
    network = get_model(
        "mask_rcnn_resnet50_fpn", 2, weights_backbone=str(tmp_path / "resnet50.pth"), **small
    ).eval()
    (tmp_path / "resnet50.pth").unlink()
    state = {"model": network.state_dict(), "network": network.built_as}
    again = network_of(state, "x.pt")
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (one,), (two,) = network([image]), again([image])
    assert torch.equal(one["boxes"], two["boxes"])
    trained = [p.requires_grad for p in network.parameters()]
    assert [p.requires_grad for p in again.parameters()] == trained and not all(trained)


def test_a_checkpoint_of_an_unknown_network_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no network, only \['epoch'\]"):
        network_of({"epoch": 1}, "x.pt")
    with pytest.raises(CheckpointError, match="x.pt does not say which network.*load_state_dict"):
        network_of({"model": {}, "network": None}, "x.pt")


def test_other_shapes_and_names_are_one_line():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    state = network.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    wide = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)).state_dict()
    for wrong, message in (
        (wide, r"0.weight is \(5, 3, 1, 1\) there and \(4, 3, 1, 1\) here \(and 5 more\)"),
        ({"0.weight": state["0.weight"]}, r"0.bias is missing \(and 5 more\)"),
        (state | {"2.bias": torch.zeros(1)}, "2.bias has no place here$"),
    ):
        with pytest.raises(ValueError, match=f"x.pt does not fit this network: {message}"):
            load_state(network, wrong, "x.pt")
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in before)
