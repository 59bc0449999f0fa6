"""The student edition: every chapter without solutions, with a place for each answer in words.

``python -m segedu.teaching student --language en`` writes a folder of notebooks that run in Jupyter
or Colab, and the same as a zip file. Hints and checks stay; nothing of it is ever committed.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segedu.files import atomic_write, write_text
from segedu.languages import plain
from segedu.tools.copy_chapter import copy_notebook

PLACE = "*Your answer in words ｜ 你的文字回答*"


def student_notebook(notebook: Mapping[str, Any], language: str = "both") -> dict[str, Any]:
    """A chapter for students: without solutions and answers, a place for words per exercise.

    Args:
        notebook: the chapter's JSON; it is not changed.
        language: ``"en"``, ``"zh"`` or ``"both"``.
    """
    result = copy_notebook(notebook, language=language, solutions=False)
    text = f"*{plain(PLACE.strip('*'), language)}*" if language != "both" else PLACE
    cells = []
    for cell in result["cells"]:
        cells.append(cell)
        if "exercise" in cell["metadata"].get("tags", []):
            cells.append(place(text, cell))
    return result | {"cells": cells}


def place(text: str, after: Mapping[str, Any]) -> dict[str, Any]:
    """An empty Markdown cell for an answer, whose id follows from the cell before it."""
    number = hashlib.sha256(f"place {after.get('id', '')}".encode()).hexdigest()[:8]
    metadata = {"tags": ["answer-in-words"]}
    return {"cell_type": "markdown", "id": number, "metadata": metadata, "source": [text]}


def student_edition(chapters: Path, out: Path, language: str = "both") -> Path:
    """Write the student edition of a folder of chapters.

    Args:
        chapters: the folder ``chapters`` of the repository.
        out: where the folder ``segedu-student-LANGUAGE`` and its zip file go.
        language: ``"en"``, ``"zh"`` or ``"both"``.

    Returns:
        The zip file; the folder has the same name.

    Raises:
        FileNotFoundError: there is no notebook in ``chapters``.
    """
    sources = sorted(chapters.glob("*/*.ipynb"))
    if not sources:
        raise FileNotFoundError(f"no notebook in {chapters}: give the repository's chapters/")
    folder = out / f"segedu-student-{language}"
    archive = folder.with_name(folder.name + ".zip")
    with atomic_write(archive) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for source in sources:
            notebook = json.loads(source.read_text(encoding="utf-8"))
            text = json.dumps(student_notebook(notebook, language), ensure_ascii=False, indent=1)
            name = source.relative_to(chapters)
            write_text(folder / name, text + "\n")
            packed.writestr(f"{folder.name}/{name.as_posix()}", text + "\n")
    return archive
