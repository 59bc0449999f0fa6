"""What is built once for all test processes."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def once(name: str, factory: pytest.TempPathFactory, build: Callable[[], Path]) -> Path:
    """What `build` gives, called by the first of the test processes that asks; the others wait."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = shared / f"{name}.path"
        if not result.exists():
            result.write_text(str(build()))
        return Path(result.read_text())
