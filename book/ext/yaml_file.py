"""Reads the tables that several directives and pages ask for, once each."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

# Ten times as fast where PyYAML was built with libyaml, as its wheels are.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_entries(path: str | Path) -> tuple[dict[str, Any], ...]:
    """The list of entries that a YAML file holds; callers share it and leave it as it is."""
    return _entries(Path(path).read_text(encoding="utf-8"))


@cache
def _entries(text: str) -> tuple[dict[str, Any], ...]:
    return tuple(yaml.load(text, LOADER))
