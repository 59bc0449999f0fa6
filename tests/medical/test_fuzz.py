"""A few hundred damaged files; ``python tests/medical/fuzz.py dicom 5000`` reads many more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

HERE = Path(__file__).parent


@pytest.mark.parametrize(("kind", "count"), [("dicom", 250), ("nifti", 150)])
def test_damaged_files_are_read_or_refused(kind, count):
    """In a process of its own, so that its memory can be measured."""
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzz.py"), kind, str(count), "1"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["other_errors"] == 0, result["examples"][0]
    assert result["names_leaked"] == 0
    assert result["files"] > count
    assert result["read"] > 20 and result["refused"] > 100  # both ways are taken
    assert result["slowest_s"] < 5
    assert result["peak_MiB"] < 512
