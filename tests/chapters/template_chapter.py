"""The chapter that `segedu.tools.new_chapter` begins with, executed: it satisfies every gate."""

import json
import os
import shutil
from pathlib import Path
from unittest import mock

from segedu.tools.new_chapter import execute, new_chapter
from tests.chapters.fingerprints import record
from tests.chapters.gates import Chapter
from tests.chapters.prose import ROOT

PART, TITLE = "02-semantic", "Thresholds, again ｜ 再谈阈值"
NAME = "chapters/02-semantic/03-thresholds-again.ipynb"


def small_book(folder: Path) -> Path:
    """What of the book a new chapter touches or links to."""
    first = "01-foundations/01-what-is-segmentation"
    files = [
        "requirements.txt",
        "_toc.yml",
        "book/profiles.yml",
        "book/expected.yml",
        "book/bibliography.md",
    ]
    files += [
        f"chapters/{name}.ipynb" for name in (first, "02-semantic/01-fcn", "02-semantic/02-unet")
    ]
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "segedu/teaching/checks").mkdir(parents=True)
    return folder


def executed(root: Path) -> Chapter:
    """A new chapter in a small book, run by a kernel that finds the checks written for it."""
    path, site = new_chapter(root, PART, TITLE), root / "site"
    shutil.copytree(ROOT / "segedu", site / "segedu", ignore=shutil.ignore_patterns("__pycache__"))
    for module in (root / "segedu/teaching/checks").iterdir():
        shutil.copy(module, site / "segedu/teaching/checks")
    with mock.patch.dict(os.environ, PYTHONPATH=str(site)):
        execute(path)
    record(root, path, {"files": [], "packages": []})
    return Chapter(path, root)


def with_cells(chapter: Chapter, folder: Path, change) -> Chapter:
    """A copy of the chapter whose notebook has been changed."""
    notebook = json.loads(chapter.path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    change(notebook)
    path = folder / chapter.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
    return Chapter(path, folder)
