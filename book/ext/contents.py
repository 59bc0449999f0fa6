"""The chapters of the book as ``_toc.yml`` lists them, for the directives that go through all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml
from sphinx.environment import BuildEnvironment
from yaml_file import LOADER


class Notebook(NamedTuple):
    """A chapter that is written."""

    page: str  #: from the root, without ``.ipynb``
    part: str  #: title of its part
    file: Path


def notebooks(root: Path) -> Iterator[Notebook]:
    """The chapters in their order; pages that are no notebooks are left out."""
    contents = yaml.load((root / "_toc.yml").read_text(encoding="utf-8"), LOADER)
    for part in contents["parts"]:
        for entry in part["chapters"]:
            file = root / f"{entry['file']}.ipynb"
            if file.is_file():
                yield Notebook(entry["file"], part["caption"], file)


def note_notebooks(env: BuildEnvironment) -> None:
    """Have the page at hand read again when a chapter changes, comes or goes."""
    root = Path(env.srcdir)
    env.note_dependency(str(root / "_toc.yml"))
    for notebook in notebooks(root):
        env.note_dependency(str(notebook.file))
