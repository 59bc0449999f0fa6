"""Begin a chapter: a small one that passes every gate, to be rewritten piece by piece.

``python -m segedu.tools.new_chapter 02-semantic "SegNet ｜ SegNet"`` writes the notebook, executed,
the checks of its exercises, and its entries in ``_toc.yml``, ``book/profiles.yml`` and
``book/expected.yml``. With ``--draft`` it is left out of ``_toc.yml`` and may stand in one language
until it is finished.
"""

import argparse
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

from segedu.files import write_text
from segedu.languages import BAR
from segedu.tools.setup_cell import setup_cell

PROFILES = "  cpu: {}\n  smoke: {image_size: 16}\n  gpu: {image_size: 512}\n"
RESULT = "iou: 0.598 ± 0.02"  # of the template, in its `results` cell


def new_chapter(
    root: Path, part: str, title: str, *, number: int | None = None, draft: bool = False
) -> Path:
    """Write a new chapter at the end of a part, or where its number belongs.

    Args:
        root: folder of the book.
        part: folder below ``chapters/``, such as ``"02-semantic"``.
        title: ``English ｜ 中文``.
        number: 1 to 99, of no other chapter of the part; one more than the last when ``None``.
        draft: keep it out of the table of contents for now.

    Returns:
        The notebook, not yet executed.

    Raises:
        ValueError: title, part or number is not of the wanted form, or the part is not in
            ``_toc.yml``.
        FileExistsError: there are a chapter or checks of this name, or a chapter of this number.
    """
    english, bar, chinese = title.partition(f" {BAR} ")
    if not (bar and english.strip() and chinese.strip()):
        raise ValueError(f"title must read 'English {BAR} 中文', got {title!r}")
    if not re.fullmatch(r"\d\d-[a-z0-9-]+", part):
        raise ValueError(f"part must be a folder such as 02-semantic, got {part!r}")
    slug = "-".join(re.findall(r"[a-z0-9]+", english.lower()))
    if not slug:
        raise ValueError(
            f"the English half of title must hold letters a-z or digits, got {title!r}"
        )
    folder = root / "chapters" / part
    if number is None:
        number = 1 + max((int(p.name[:2]) for p in folder.glob("[0-9][0-9]-*.ipynb")), default=0)
    if not 1 <= number <= 99:
        raise ValueError(f"number must be 1 to 99, got {number}")
    path = folder / f"{number:02d}-{slug}.ipynb"
    checks = root / "segedu" / "teaching" / "checks" / f"{slug.replace('-', '_')}.py"
    taken = [*folder.glob(f"[0-9][0-9]-{slug}.ipynb"), *([checks] if checks.exists() else [])]
    if taken:
        raise FileExistsError(f"{taken[0]} exists already: choose another title")
    if taken := list(folder.glob(f"{number:02d}-*.ipynb")):
        raise FileExistsError(f"{taken[0]} has this number already: choose another one")
    contents = _in_contents(root / "_toc.yml", part, path) if not draft else None

    name = path.relative_to(root).as_posix()
    write_text(path, _notebook(title, slug, _repository(root), draft))
    write_text(checks, _template("chapter_checks.txt").replace("TITLE", english.strip()))
    _append(root / "book" / "profiles.yml", f"{name}:\n{PROFILES}")
    _append(root / "book" / "expected.yml", f"{name}:\n  cpu:\n    {RESULT}\n")
    if contents:
        write_text(root / "_toc.yml", contents)
    return path


def execute(notebook: Path) -> None:
    """Run a notebook in place.

    Raises:
        RuntimeError: a cell failed, or nbconvert is not installed.
    """
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"]
    command += ["--ExecutePreprocessor.record_timing=False", str(notebook)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{notebook} was written, but does not run:\n{done.stderr[-2000:]}")


def _notebook(title: str, slug: str, repository: str, draft: bool) -> str:
    text = _template("chapter_template.ipynb")
    text = text.replace("# TITLE", f"# {title}").replace("KEY-", f"{slug}-")
    notebook = json.loads(text.replace("template-", f"{slug}-"))
    for cell in notebook["cells"]:
        if "setup" in cell["metadata"].get("tags", []):
            cell["source"] = setup_cell(repository).splitlines(keepends=True)
    if draft:
        notebook["metadata"]["segedu"] = {"draft": True}
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def _repository(root: Path) -> str:
    """What the other chapters install from."""
    for notebook in sorted((root / "chapters").rglob("*.ipynb")):
        if match := re.search(r'REPOSITORY = \\"([^"\\]*)', notebook.read_text(encoding="utf-8")):
            return match[1]
    return re.search(r'^REPOSITORY = "([^"]*)"', setup_cell(), re.MULTILINE)[1]


def _in_contents(toc: Path, part: str, path: Path) -> str:
    """``_toc.yml`` with one more chapter, in the order of names within the part."""
    lines = toc.read_text(encoding="utf-8").splitlines(keepends=True)
    places = [i for i, line in enumerate(lines) if f"chapters/{part}/" in line]
    if not places:
        wanted = f"Part {int(part[:2])}."
        raise ValueError(
            f"{toc} has no chapter of {part}: add a part '{wanted} … ｜ …' with a first line "
            f"'- file: chapters/{part}/{path.stem}' by hand"
        )
    line = f"      - file: chapters/{part}/{path.stem}\n"
    if line in lines:  # the first of a new part, as the message above asks
        return "".join(lines)
    later = [i for i in places if lines[i].strip() > line.strip()]
    lines.insert(later[0] if later else places[-1] + 1, line)
    return "".join(lines)


def _append(path: Path, entry: str) -> None:
    write_text(path, path.read_text(encoding="utf-8").rstrip("\n") + f"\n\n{entry}")


def _template(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m segedu.tools.new_chapter", description=__doc__)
    parser.add_argument("part", help="folder below chapters/, such as 02-semantic")
    parser.add_argument("title", help="English ｜ 中文")
    parser.add_argument("--number", type=int, help="of the chapter (default: after the last one)")
    parser.add_argument("--draft", action="store_true", help="not yet in the table of contents")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the book (default: .)")
    options = parser.parse_args(arguments)
    try:
        path = new_chapter(
            options.root, options.part, options.title, number=options.number, draft=options.draft
        )
        execute(path)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"new_chapter: {error}", file=sys.stderr)
        return 2
    print(f"{path}\nNow write it, in Jupyter; tests/chapters/README.md is the guide.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
