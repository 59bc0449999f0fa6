"""A training on scans, killed again and again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.test_resume import ENVIRONMENT, ROOT, Forked, kill_and_continue
from tests.medical.tiny_training import write_scans


@pytest.mark.slow  # trains in other processes
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.weekly)])
def test_killed_many_times_and_continued_bit_by_bit(tmp_path, kills):
    """No checkpoint is ever unreadable, and history and weights are those of a training in one."""
    write_scans(tmp_path / "data")
    command = [sys.executable, "-m", "tests.medical.tiny_training", str(tmp_path / "data")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, **pipes) as server:

        def begin(out: Path) -> Forked:
            return Forked(server, out)

        kill_and_continue(tmp_path, begin, begin, kills)
        server.stdin.close()
