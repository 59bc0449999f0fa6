"""Data sets that are not shipped: below the folder that `SEGEDU_DATA` names, if it names one."""

import os
from pathlib import Path

import pytest

REAL = Path(os.environ.get("SEGEDU_DATA") or "absent")


def needs(folder: str) -> pytest.MarkDecorator:
    """Skips a test where `REAL` does not hold this folder."""
    return pytest.mark.skipif(
        not (REAL / folder).is_dir(), reason=f"needs SEGEDU_DATA with {folder}"
    )
