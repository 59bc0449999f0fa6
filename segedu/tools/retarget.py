"""Give the book its public address, or take it away, in every file that names it.

``python -m segedu.tools.retarget https://github.com/ORG/REPO main`` rewrites the setup cell of
every notebook below ``chapters/``, the two lines of ``_config.yml``, and the regions between
``[address]`` and ``[/address]`` in ``pyproject.toml``, ``CITATION.cff`` and ``README.md``; every
other byte stays as it is. With ``--check`` nothing is written: the files that name another address
are listed.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from segedu.files import write_bytes
from segedu.tools.setup_cell import setup_cell

# The line inside a notebook's JSON, where quotes are escaped.
_CONSTANT = re.compile(r'(REPOSITORY = \\")[^"\\]*(\\"  # URL@BRANCH)')
_REGION = re.compile(
    r"(^[^\n]*\[address\][^\n]*\n).*?(^[^\n]*\[/address\])", re.MULTILINE | re.DOTALL
)
_CONFIG = re.compile(r'(^repository:\n  url: )"[^"\n]*"(\n  branch: )[^\n]*', re.MULTILINE)
_URL = re.compile(r"(https?|ssh|file)://[\w.~:/%+-]+(@[\w.:/%+-]+)?")
_BRANCH = re.compile(r"[\w.][\w./+-]*")


def retarget(root: Path, url: str, branch: str = "main", *, write: bool = True) -> list[Path]:
    """Make ``url`` and ``branch`` the address in the whole book.

    All files are checked before the first is written, and each is replaced atomically.

    Args:
        root: folder of the book, which holds ``chapters/`` and ``_config.yml``.
        url: address of the repository, such as ``https://github.com/ORG/REPO``; empty to unset it.
        branch: branch, tag or commit.
        write: whether to write; otherwise only tell what would change.

    Returns:
        The files whose bytes change.

    Raises:
        FileNotFoundError: a file is missing, or there is no notebook.
        ValueError: ``url`` or ``branch`` is not of the form that pip understands, or a file lacks
            the place that names the address.
    """
    if url and not _URL.fullmatch(url):
        raise ValueError(f"url must look like https://host/owner/name, got {url!r}")
    url = _canonical(url)
    if not _BRANCH.fullmatch(branch):
        raise ValueError(f"branch must be the name of a branch, tag or commit, got {branch!r}")
    chapters = root / "chapters"
    notebooks = sorted(p for p in chapters.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    if not notebooks:
        raise FileNotFoundError(f"{chapters} holds no notebook (*.ipynb)")
    contents = {path: _notebook(path, f"{url}@{branch}" if url else "") for path in notebooks}
    contents[root / "_config.yml"] = _configuration(root / "_config.yml", url, branch)
    for name, lines in _REGIONS.items():
        contents[root / name] = _regions(root / name, lines(url, branch) if url else "")
    changed = [path for path, text in contents.items() if text.encode() != path.read_bytes()]
    if write:
        for path in changed:
            write_bytes(path, contents[path].encode())
    return changed


def _canonical(url: str) -> str:
    """The address without a slash at its end, and of GitHub, as pages have it, without ``.git``."""
    url = url.rstrip("/")
    return url.removesuffix(".git") if url.startswith("https://github.com/") else url


def _notebook(path: Path, repository: str) -> str:
    """The notebook's text with the new constant, proven to hold the canonical setup cell."""
    text, count = _CONSTANT.subn(lambda m: m[1] + repository + m[2], _read(path))
    cells = json.loads(text)["cells"]
    setup = [
        "".join(cell["source"])
        for cell in cells
        if "setup" in cell.get("metadata", {}).get("tags", [])
    ]
    if count != 1 or setup != [setup_cell(repository)]:
        raise ValueError(f"{path}: the cell tagged 'setup' is not segedu/tools/setup_cell.txt")
    return text


def _configuration(path: Path, url: str, branch: str) -> str:
    text, count = _CONFIG.subn(lambda m: f'{m[1]}"{url}"{m[2]}{branch}', _read(path))
    if count != 1:
        raise ValueError(
            f'{path}: needs the lines repository:, url: "..." and branch: in this order'
        )
    return text


def _regions(path: Path, lines: str) -> str:
    text, count = _REGION.subn(lambda m: m[1] + lines + m[2], _read(path))
    if count == 0:
        raise ValueError(f"{path}: needs a region between [address] and [/address]")
    return text


def _read(path: Path) -> str:
    return path.read_bytes().decode()  # not read_text, which would translate line breaks


def _project_urls(url: str, branch: str) -> str:
    lines = f'Repository = "{url}"\n'
    if url.startswith("https://github.com/"):
        lines += f'Issues = "{url}/issues"\n'
        lines += f'Changelog = "{url}/blob/{branch}/CHANGELOG.md"\n'
    return lines


def _citation(url: str, branch: str) -> str:
    return f'repository-code: "{url}"\n'


def _clone(url: str, branch: str) -> str:
    name = url.rsplit("/", 1)[-1].removesuffix(".git")
    return f"```bash\ngit clone --branch {branch} {url}\ncd {name}\n```\n"


_REGIONS: dict[str, Callable[[str, str], str]] = {
    "pyproject.toml": _project_urls,
    "CITATION.cff": _citation,
    "README.md": _clone,
}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, 1 if ``--check`` found a difference, or 2 after a mistake."""
    parser = argparse.ArgumentParser(prog="python -m segedu.tools.retarget", description=__doc__)
    parser.add_argument("url", help="repository address; an empty string unsets it")
    parser.add_argument("branch", nargs="?", default="main", help="branch or tag (default: main)")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file differs")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the book (default: .)")
    options = parser.parse_args(arguments)
    try:
        changed = retarget(options.root, options.url, options.branch, write=not options.check)
    except (OSError, ValueError) as error:
        print(f"retarget: {error}", file=sys.stderr)
        return 2
    for path in changed if options.check else ():
        print(f"{path} names another address than {options.url}@{options.branch}")
    print(f"{len(changed)} file(s) {'differ' if options.check else 'changed'}")
    return int(options.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
