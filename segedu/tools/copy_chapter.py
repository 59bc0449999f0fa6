"""Copy a chapter for a reader: in one language, with other parameters, without solutions.

``python -m segedu.tools.copy_chapter chapters/02-semantic/02-unet.ipynb --lang en --profile gpu``
writes ``02-unet.en.gpu.ipynb``, ready for Jupyter, Colab or papermill. The chapter itself stays.
"""

import argparse
import ast
import copy
import json
import re
import sys
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from segedu.files import write_text
from segedu.languages import BAR, plain
from segedu.tools.languages import split_code, split_html, split_lines

MARKS = re.compile(r"((?:\s|#+\s|>|[-*+]\s|\d+[.)]\s)*)(.*)")
EMPHASIS = re.compile(r"([*_]+)(.*)\1")
ANSWER = re.compile(r"\n*<details><summary>(?:Answer|答案).*?</details>", re.DOTALL)


def copy_notebook(
    notebook: Mapping[str, Any],
    *,
    language: str = "both",
    parameters: Mapping[str, Any] | None = None,
    solutions: bool = True,
) -> dict[str, Any]:
    """A notebook as one reader wants it.

    Args:
        notebook: the notebook's JSON; it is not changed.
        language: ``"en"``, ``"zh"`` or ``"both"``.
        parameters: new values of the cell tagged ``parameters``; if there are any, outputs, which
            no longer fit them, are left out.
        solutions: whether solutions and answers in words stay.

    Raises:
        ValueError: for another language, or a parameter that the notebook does not have.
    """
    if language not in ("en", "zh", "both"):
        raise ValueError(f"language must be en, zh or both, got {language!r}")
    result = copy.deepcopy(dict(notebook))
    cells = [c for c in result["cells"] if solutions or "solution" not in _tags(c)]
    for cell in cells:
        cell["source"] = "".join(cell["source"])
        if not solutions and cell["cell_type"] == "markdown":
            cell["source"] = ANSWER.sub("", cell["source"])
    if language != "both":
        other = "lang-zh" if language == "en" else "lang-en"
        cells = [cell for cell in cells if other not in _tags(cell)]
        for cell in cells:
            _speak(cell, language)
    if parameters:
        _set_parameters(cells, parameters)
    for cell in cells:
        cell["source"] = cell["source"].splitlines(keepends=True)
    return result | {"cells": cells}


def with_values(code: str, values: Mapping[str, Any]) -> str:
    """Typed assignments ``name: type = value`` with new values.

    Raises:
        ValueError: a name is not assigned in the code.
    """
    places = {
        statement.target.id: statement.value
        for statement in ast.parse(code).body
        if isinstance(statement, ast.AnnAssign) and statement.value is not None
    }
    if unknown := values.keys() - places.keys():
        raise ValueError(f"no parameter {sorted(unknown)}; there are {sorted(places)}")
    lines = code.encode().splitlines(keepends=True)  # ast counts columns in bytes
    starts = [0, *accumulate(map(len, lines))]
    source = b"".join(lines)
    for name, place in reversed(places.items()):
        if name in values:
            first = starts[place.lineno - 1] + place.col_offset
            last = starts[place.end_lineno - 1] + place.end_col_offset
            source = source[:first] + repr(values[name]).encode() + source[last:]
    return source.decode()


def _tags(cell: Mapping[str, Any]) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def _speak(cell: dict[str, Any], language: str) -> None:
    """Leave of every bilingual text of a cell the half in one language."""
    if cell["cell_type"] == "markdown":
        lines = (_line(line, language) for line in cell["source"].split("\n"))
        cell["source"] = "\n".join(lines)
        return
    if cell["cell_type"] != "code":
        return
    cell["source"] = split_code(cell["source"], language)
    for output in cell["outputs"]:
        if "text" in output:
            output["text"] = split_lines("".join(output["text"]), language)
        data = output.get("data", {})
        for kind, split in (
            ("text/plain", split_lines),
            ("text/markdown", split_lines),
            ("text/html", split_html),
            ("image/svg+xml", split_html),
        ):
            if kind in data:
                data[kind] = split("".join(data[kind]), language)


def _line(line: str, language: str) -> str:
    """A heading, a caption, an item of a list, or a row of a table."""
    if line.lstrip().startswith("|"):
        return "|".join(
            f" {_line(part.strip(), language)} " if BAR in part else part
            for part in line.split("|")
        )
    marks, text = MARKS.fullmatch(line).groups()
    wrapped = EMPHASIS.fullmatch(text)
    if wrapped and wrapped[1] not in wrapped[2]:  # **English ｜ 中文**, not **One** ｜ **一**
        return f"{marks}{wrapped[1]}{plain(wrapped[2], language)}{wrapped[1]}"
    return marks + plain(text, language)


def _set_parameters(cells: list[dict[str, Any]], values: Mapping[str, Any]) -> None:
    for cell in cells:
        if "parameters" in _tags(cell):
            cell["source"] = with_values(cell["source"], values)
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m segedu.tools.copy_chapter", description=__doc__
    )
    parser.add_argument("chapter", type=Path, help="a notebook below chapters/")
    parser.add_argument("--lang", default="both", choices=("en", "zh", "both"))
    parser.add_argument("--profile", help="set the parameters as book/profiles.yml says")
    parser.add_argument("--no-solutions", action="store_true", help="without solutions and answers")
    parser.add_argument("--out", type=Path, help="file to write (default: in this folder)")
    options = parser.parse_args(arguments)
    try:
        chapter = options.chapter.resolve()
        notebook = json.loads(chapter.read_text(encoding="utf-8"))
        values = None
        if options.profile:
            import yaml

            root = chapter.parents[2]
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some six times as fast
            text = (root / "book" / "profiles.yml").read_text(encoding="utf-8")
            profiles = yaml.load(text, loader)
            known = profiles.get(chapter.relative_to(root).as_posix(), {})
            if options.profile not in known:
                raise ValueError(f"--profile must be one of {[*known]}, got {options.profile!r}")
            values = known[options.profile]
        solutions = not options.no_solutions
        result = copy_notebook(
            notebook, language=options.lang, parameters=values, solutions=solutions
        )
        chosen = [None if options.lang == "both" else options.lang, options.profile]
        chosen += [None if solutions else "student"]
        name = ".".join([chapter.stem, *filter(None, chosen), "ipynb"])
        out = options.out or Path(name)
        if out.resolve() == chapter:
            raise ValueError(f"--out {out} is the chapter itself: choose another name")
        write_text(out, json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    except (OSError, ValueError) as error:
        print(f"copy_chapter: {error}", file=sys.stderr)
        return 2
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
