"""A few hundred damaged files; ``python -m tests.medical.fuzz dicom 5000`` reads many more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("kind", "count"), [("dicom", 250), ("nifti", 150)])
def test_damaged_files_are_read_or_refused(kind, count):
    """In a process of its own, so that its memory can be measured."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.medical.fuzz", kind, str(count), "1"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["other_errors"] == 0, result["examples"][0]
    assert result["names_leaked"] == 0
    assert result["files"] > count
    assert result["read"] > 20 and result["refused"] > 100  # both ways are taken
    assert result["slowest_s"] < 5
    assert result["peak_MiB"] < 512
