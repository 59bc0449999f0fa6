"""Checkpoints: whole or absent, damage noticed, data only."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from segedu.engine import CheckpointError, load_checkpoint, save_checkpoint

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


def test_code_in_a_checkpoint_never_runs(tmp_path, monkeypatch):
    witness = tmp_path / "ran"
    # With a valid checksum: only the restricted unpickler stands in the way.
    monkeypatch.setattr("segedu.engine.checkpoint._check_plain", lambda *_: None)
    save_checkpoint(tmp_path / "evil.pt", {"model": Evil(witness)})
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
    """A real short write, from the kernel: the process may not write files over 64 KiB."""
    before = path.read_bytes()
    program = (
        "import resource, signal, sys, torch\n"
        "from segedu.engine import save_checkpoint, CheckpointError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n"
        "    save_checkpoint(sys.argv[1], {'w': torch.zeros(100_000)})\n"
        "except CheckpointError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=120
    )
    assert "cannot write" in done.stdout, done.stderr
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
