"""Notebooks that are written for instructors and students."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segedu.files import write_text

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def new_cell(kind: str, source: str, key: str, **metadata: Any) -> dict[str, Any]:
    """A cell without outputs, whose id follows from ``key``.

    Args:
        kind: ``"code"`` or ``"markdown"``.
        source: its text.
        key: of its own in the notebook.
        **metadata: such as ``tags``.
    """
    cell = {
        "cell_type": kind,
        "id": hashlib.sha256(key.encode()).hexdigest()[:8],
        "metadata": metadata,
        "source": source,
    }
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def new_notebook(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A notebook for Python."""
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return {"cells": [*cells], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def write_notebook(path: Path, notebook: Mapping[str, Any]) -> Path:
    """Write it as a whole."""
    return write_text(path, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")
