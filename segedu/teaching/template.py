"""An exercise of one's own to start from: a notebook with one, and its check.

``python -m segedu.teaching template mine`` writes ``mine.ipynb`` and ``mine.py``, which
``assignment mine.ipynb:1`` takes as they are.
"""

from pathlib import Path

from segedu.files import write_text
from segedu.teaching.notebooks import new_cell, new_notebook, write_notebook

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
    name = path.name.removesuffix(".ipynb")
    if not (name.isascii() and name.replace("-", "").isalnum() and name.islower()):
        raise ValueError(f"the name must be small letters, digits and hyphens, got {name!r}")
    path = path.with_name(f"{name}.ipynb")
    for file in (path, path.with_suffix(".py")):
        if file.exists():
            raise FileExistsError(f"{file} exists: choose another name")
    cells = [new_cell("markdown", TITLE, "title")]
    for language, (question, summary, answer) in WORDS.items():
        text = f"{question}\n\n<details><summary>{summary}</summary>\n\n{answer}\n\n</details>"
        cells.append(new_cell("markdown", text, language, tags=[f"lang-{language}"]))
    for kind, source in (("exercise", STUB), ("solution", SOLUTION)):
        cells.append(new_cell("code", source.format(name=name), kind, tags=[kind]))
    write_text(path.with_suffix(".py"), CHECK.format(name=name))
    return write_notebook(path, new_notebook(cells))
