"""Point the setup cell of every notebook at another repository.

``python -m segedu.tools.retarget https://github.com/ORG/REPO main`` rewrites one line in each
notebook below ``chapters/`` and leaves every other byte as it is.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from segedu.files import write_text
from segedu.tools.setup_cell import setup_cell

# The line inside the notebook's JSON, where quotes are escaped.
_CONSTANT = re.compile(r'(REPOSITORY = \\")[^"\\]*(\\"  # URL@BRANCH)')
_URL = re.compile(r"(https?|ssh|file)://[\w.~:/%+-]+(@[\w.:/%+-]+)?")
_BRANCH = re.compile(r"[\w.][\w./+-]*")


def retarget(chapters: Path, url: str, branch: str = "main") -> list[Path]:
    """Write ``url@branch`` into the setup cell of every notebook below ``chapters``.

    All notebooks are checked before the first is written, and each file is replaced atomically.

    Args:
        chapters: Folder that is searched for ``*.ipynb``.
        url: Address of the repository, such as ``https://github.com/ORG/REPO``; empty to unset it.
        branch: Branch, tag or commit.

    Returns:
        The notebooks whose bytes changed.

    Raises:
        FileNotFoundError: ``chapters`` holds no notebook.
        ValueError: ``url`` or ``branch`` is not of the form that pip understands, or a notebook's
            setup cell is not the canonical one.
    """
    if url and not _URL.fullmatch(url):
        raise ValueError(f"url must look like https://host/owner/name, got {url!r}")
    if not _BRANCH.fullmatch(branch):
        raise ValueError(f"branch must be the name of a branch, tag or commit, got {branch!r}")
    notebooks = sorted(p for p in chapters.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    if not notebooks:
        raise FileNotFoundError(f"chapters={str(chapters)!r} holds no notebook (*.ipynb)")
    repository = f"{url}@{branch}" if url else ""
    changes = {path: _rewritten(path, repository) for path in notebooks}
    changed = [path for path, text in changes.items() if text.encode() != path.read_bytes()]
    for path in changed:
        write_text(path, changes[path])
    return changed


def _rewritten(path: Path, repository: str) -> str:
    """The notebook's text with the new constant, proven to hold the canonical setup cell."""
    text = path.read_bytes().decode()  # not read_text, which would translate line breaks
    text, count = _CONSTANT.subn(lambda m: m[1] + repository + m[2], text)
    cells = json.loads(text)["cells"]
    setup = [
        "".join(cell["source"])
        for cell in cells
        if "setup" in cell.get("metadata", {}).get("tags", [])
    ]
    if count != 1 or setup != [setup_cell(repository)]:
        raise ValueError(f"{path}: the cell tagged 'setup' is not segedu/tools/setup_cell.txt")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Command line: ``retarget URL [BRANCH] [--chapters FOLDER]``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m segedu.tools.retarget", description=__doc__)
    parser.add_argument("url", help="repository address; an empty string unsets it")
    parser.add_argument("branch", nargs="?", default="main", help="branch or tag (default: main)")
    parser.add_argument("--chapters", type=Path, default=Path("chapters"), help="notebook folder")
    options = parser.parse_args(arguments)
    try:
        changed = retarget(options.chapters, options.url, options.branch)
    except (OSError, ValueError) as error:
        print(f"retarget: {error}", file=sys.stderr)
        return 1
    print(f"{len(changed)} notebook(s) changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
