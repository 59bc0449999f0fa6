"""Runs inside a notebook's kernel: which of our files, and which packages, its outputs rest on.

Imported before the first cell, it notes every file of segedu and of book/results that is opened;
`report` adds the sources of the modules that are loaded then, whoever imported them.
"""

import os
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, RESULTS = (f"{ROOT / folder}{os.sep}" for folder in ("segedu", "book/results"))
_opened: set[str] = set()


def _note(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        name = os.fspath(arguments[0])
        ours = isinstance(name, str) and name.startswith((PACKAGE, RESULTS))
        if ours and "__pycache__" not in name:
            _opened.add(name)


sys.addaudithook(_note)


def report() -> dict[str, list[str]]:
    """Our files, from the repository's root, and the distributions that are loaded."""
    modules = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
    files = _opened | {name for name in modules if name.startswith(PACKAGE)}
    loaded = {name.partition(".")[0] for name in list(sys.modules)}
    by_package = packages_distributions()
    packages = {name for top in loaded for name in by_package.get(top, ())}
    return {
        "files": sorted(Path(name).relative_to(ROOT).as_posix() for name in files),
        "packages": sorted(packages),
    }
