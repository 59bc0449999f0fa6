"""Results of long trainings that stand in the repository, for the pages that show them."""

from pathlib import Path
from typing import Any

from segedu.files import read_json


def recorded(name: str) -> dict[str, Any]:
    """A file of ``book/results``, such as ``"semantic.json"``.

    Where a notebook stands alone, without the repository, the answer is empty, and a line says so.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (path := folder / "book" / "results" / name).is_file():
            return read_json(path)
    print(
        f"book/results/{name} is not here: it comes with the repository, not with the package "
        f"｜ 此处没有 book/results/{name}：它随仓库提供，不随软件包提供"
    )
    return {}
