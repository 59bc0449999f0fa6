"""Training as a process of its own: killed and continued, and split over two processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segedu.engine import load_checkpoint

SCRIPT = Path(__file__).with_name("toy_training.py")
ROOT = SCRIPT.parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


def start(folder: Path, *options: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen:
    command = [sys.executable, *launcher, str(SCRIPT), str(folder), *options]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]


def result(folder: Path) -> dict:
    found = json.loads((folder / "result.json").read_text())
    for record in found["records"]:
        del record["seconds"]
    return found


def kill_and_continue(tmp_path: Path, kills: int) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    finish(start(whole))
    expected = dict(line.split() for line in (whole / "losses.txt").read_text().splitlines())
    draw = random.Random(0)
    log = cut / "losses.txt"
    for kill in range(1, kills + 1):
        process = start(cut)
        # Wait for the first sign of training, then strike at a random moment.
        size = log.stat().st_size if log.exists() else 0
        while process.poll() is None and (not log.exists() or log.stat().st_size == size):
            time.sleep(0.002)
        time.sleep(draw.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for name in ("last.pt", "best.pt"):
            load_checkpoint(cut / name)  # raises if it is damaged
        if kill % 5 == 0:  # from time to time start anew
            log.unlink()
            (cut / "last.pt").unlink()
    finish(start(cut))
    for line in log.read_text().splitlines():
        epoch, loss = line.split()
        assert loss == expected[epoch], f"epoch {epoch} differs"
    assert result(cut) == result(whole)
    assert not list(cut.glob(".tmp-*"))


def test_killed_and_continued_bit_by_bit(tmp_path):
    kill_and_continue(tmp_path, kills=2)


@pytest.mark.slow  # each kill starts a Python process that imports torch: 3 seconds
def test_killed_many_times(tmp_path):
    kill_and_continue(tmp_path, kills=20)


def test_two_processes_equal_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    finish(start(one, "--distributed"))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    finish(start(two, "--distributed", launcher=launcher))
    expected, got = result(one), result(two)
    assert got["weights"] == pytest.approx(expected["weights"], rel=1e-4, abs=1e-6)
    for a, b in zip(expected["records"], got["records"], strict=True):
        assert b.keys() == a.keys()
        for key, value in a.items():
            assert b[key] == pytest.approx(value, rel=1e-6), key
