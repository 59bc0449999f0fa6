"""Training as a process of its own: killed and continued, and split over two processes."""

import contextlib
import json
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from segedu.engine import load_checkpoint
from tests.engine.toy_training import train

pytestmark = pytest.mark.slow  # starts processes, each of which has to import torch

SCRIPT = Path(__file__).with_name("toy_training.py")
ROOT = SCRIPT.parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(folder: Path, launcher: tuple[str, ...] = (), script: Path = SCRIPT) -> subprocess.Popen:
    command = [sys.executable, *launcher, str(script), str(folder)]
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


class Training(Protocol):
    def poll(self) -> int | None: ...

    def kill(self) -> None: ...

    def wait(self) -> object: ...


class Forked:
    """A training process of ``server``, with the methods of `Popen` that are needed here."""

    def __init__(self, server: subprocess.Popen, folder: Path) -> None:
        self.server, self.status = server, None
        server.stdin.write(f"{folder}\n")
        server.stdin.flush()
        self.number = int(server.stdout.readline())

    def poll(self) -> int | None:
        if self.status is None and select.select([self.server.stdout], [], [], 0)[0]:
            self.wait()
        return self.status

    def kill(self) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):  # it may just have finished
                os.kill(self.number, signal.SIGKILL)

    def wait(self) -> None:
        if self.status is None:
            self.status = int(self.server.stdout.readline())


@pytest.fixture
def server() -> Iterator[subprocess.Popen]:
    """A process that has torch imported and forks: a start takes milliseconds, not seconds."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, SCRIPT, "--serve"], env=ENVIRONMENT, **pipes) as process:
        yield process
        process.stdin.close()


def complete(process: Training) -> None:
    process.wait()
    assert process.poll() == 0


def kill_and_continue(
    tmp_path: Path,
    begin: Callable[[Path], Training],
    end: Callable[[Path], Training],
    kills: int,
) -> None:
    """Strike at random moments, continue each time, and compare with a training in one.

    ``begin`` starts a process, ``end`` the one that comes last and is left alone.
    """
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    complete(begin(whole))
    records = json.loads((whole / "result.json").read_text())["records"]
    longest = 0.03 + 1.5 * statistics.median(record["seconds"] for record in records)
    draw = random.Random(0)
    log = cut / "losses.txt"
    struck = 0
    while struck < kills:
        process = begin(cut)
        size = log.stat().st_size if log.exists() else 0
        while process.poll() is None and (not log.exists() or log.stat().st_size == size):
            time.sleep(0.002)
        time.sleep(draw.random() * longest)  # so that it hits an epoch or its checkpoints
        ended = process.poll() is not None
        struck += not ended
        process.kill()
        process.wait()
        for name in ("last.pt", "best.pt"):
            load_checkpoint(cut / name)  # raises if it is damaged
        if ended:  # before it was struck: start anew
            assert process.poll() == 0
            compare(cut, whole)
            log.unlink()
            (cut / "last.pt").unlink()
    complete(end(cut))
    compare(cut, whole)


def compare(cut: Path, whole: Path) -> None:
    """Every loss, the history and the weights are the same to the last bit."""
    expected = dict(line.split() for line in (whole / "losses.txt").read_text().splitlines())
    for line in (cut / "losses.txt").read_text().splitlines():
        epoch, loss = line.split()
        assert loss == expected[epoch], f"epoch {epoch} differs"
    assert result(cut) == result(whole)
    assert not list(cut.glob(".segedu-tmp-*"))


@pytest.mark.parametrize("kills", [5, pytest.param(40, marks=pytest.mark.weekly)])
def test_killed_many_times_and_continued_in_a_new_interpreter(tmp_path, server, kills):
    kill_and_continue(tmp_path, lambda folder: Forked(server, folder), start, kills)


def test_two_processes_equal_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    train(one, dropout=0.0)
    finish(start(two, TWO))
    expected, got = result(one), result(two)
    assert got["weights"] == pytest.approx(expected["weights"], rel=1e-4, abs=1e-6)
    for a, b in zip(expected["records"], got["records"], strict=True):
        assert b.keys() == a.keys()
        for key, value in a.items():
            assert b[key] == pytest.approx(value, rel=1e-6), key
