"""An exercise of one's own to start from: a notebook with one, and its check.

``python -m segedu.teaching template mine`` writes ``mine.ipynb`` and ``mine.py``, which
``assignment mine.ipynb:1`` takes as they are.
"""

import json
from pathlib import Path

from segedu.files import write_text

TITLE = "### Twice as much (easy) ｜ 加倍（容易）"
WORDS = {
    "en": (
        "Write a function `answer(x)` that gives twice `x`, a tensor of any shape.",
        "Answer in words",
        "Adding a number to itself doubles it.",
    ),
    "zh": (
        "写一个函数 `answer(x)`，返回 `x` 的两倍；`x` 是任意形状的张量。",
        "答案要点",
        "一个数与自身相加，就得到它的两倍。",
    ),
}
STUB = """\
def answer(x):
    ...


check("{name}-1", answer)"""
SOLUTION = """\
def answer(x):
    return x + x


check("{name}-1", answer)"""
CHECK = '''\
"""Checks of {name}.ipynb; students do not get them."""

import torch

from segedu.teaching.checking import drawn, exercise, expect_function


@exercise(1)  # its number: {name}-1; what a person reads is marked @exercise(1, by_person=True)
def twice(answer):
    inputs = [(torch.randn(4, generator=drawn(n)),) for n in range(3)]  # hidden when you grade
    expect_function(answer, lambda x: 2 * x, inputs)
'''


def write_template(path: Path) -> Path:
    """Write a notebook with one exercise, as the end of a chapter has them, and its check.

    Args:
        path: the notebook, with or without its ending; the check stands beside it.

    Returns:
        The notebook.

    Raises:
        FileExistsError: one of the two files is there.
        ValueError: a name that `check` cannot have.
    """
    path = path.with_suffix(".ipynb")
    name = path.stem
    if not (name.isascii() and name.replace("-", "").isalnum() and name.islower()):
        raise ValueError(f"the name must be small letters, digits and hyphens, got {name!r}")
    for file in (path, path.with_suffix(".py")):
        if file.exists():
            raise FileExistsError(f"{file} exists: choose another name")
    cells = [_cell("markdown", TITLE)]
    for language, (question, summary, answer) in WORDS.items():
        folded = f"<details><summary>{summary}</summary>\n\n{answer}\n\n</details>"
        cells.append(_cell("markdown", f"{question}\n\n{folded}", f"lang-{language}"))
    cells += [
        _cell("code", STUB.format(name=name), "exercise"),
        _cell("code", SOLUTION.format(name=name), "solution"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": [cell | {"id": f"{name[:50]}-{number}"} for number, cell in enumerate(cells)],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    write_text(path, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")
    write_text(path.with_suffix(".py"), CHECK.format(name=name))
    return path


def _cell(kind: str, source: str, *tags: str) -> dict:
    cell = {"cell_type": kind, "metadata": {"tags": [*tags]} if tags else {}, "source": source}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})
