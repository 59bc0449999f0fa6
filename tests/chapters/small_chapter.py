"""A small notebook that satisfies every gate, for tests to break."""

import base64
import json
from pathlib import Path

from segedu.tools.setup_cell import setup_cell
from tests.chapters.fingerprints import FILE, fingerprint
from tests.chapters.gates import Chapter, solution_metadata

NAME = "chapters/01-part/01-topic.ipynb"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
EXPLORER = '<div class="segedu-frames"><input type="range"></div>'
SECTIONS = (
    "Objectives ｜ 学习目标",
    "The idea ｜ 核心思想",
    "The mathematics ｜ 数学表述",
    "From scratch ｜ 从零实现",
    "The full implementation ｜ 完整实现",
    "Training ｜ 训练",
    "Measuring ｜ 度量",
    "Looking ｜ 观察结果",
    "Interactive figure ｜ 交互图",
    "Pitfalls ｜ 常见陷阱",
    "Exercises ｜ 练习",
    "Summary ｜ 小结",
    "Further reading ｜ 延伸阅读",
)
ENGLISH = (
    "The **mask** of 1,000 pixels has $a + b$ parts, see [@long2015fcn] and `mask[0]`.\n\n"
    "> 💡 **Rule.** Read [the other page](02-other.ipynb).\n\n"
)
CHINESE = (
    "由 1000 个像素组成的**掩膜**（mask）有 $a+b$ 个部分，见 [@long2015fcn] 与 `mask[0]`。\n\n"
    "> 💡 **规则。** 请读[另一页](02-other.ipynb)。\n\n"
)
EXERCISES = (
    "1. One.\n2. Two.\n3. Three.\n4. Four.\n\n<details><summary>Hint</summary>\n\nx\n\n</details>"
)
EXERCISES_ZH = (
    "1. 甲。\n2. 乙。\n3. 丙。\n4. 丁。\n\n<details><summary>提示</summary>\n\n无\n\n</details>"
)


def markdown(text: str, *tags: str) -> dict:
    """A Markdown cell."""
    metadata = {"tags": list(tags)} if tags else {}
    return {"cell_type": "markdown", "metadata": metadata, "source": text}


def code(text: str, *tags: str, outputs: list[dict] | None = None, **metadata) -> dict:
    """A code cell."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": ({"tags": list(tags)} if tags else {}) | metadata,
        "outputs": outputs or [],
        "source": text,
    }


def shows(kind: str, data: str) -> dict:
    """An output with one representation."""
    return {
        "output_type": "execute_result",
        "execution_count": 1,
        "metadata": {},
        "data": {kind: data},
    }


def pair(english: str, chinese: str) -> list[dict]:
    """The two halves of a prose pair."""
    return [markdown(english, "lang-en"), markdown(chinese, "lang-zh")]


def notebook() -> dict:
    """The notebook: every gate is satisfied, by a small margin where there is a limit."""
    cells = [markdown("# A topic ｜ 主题")]
    for number, section in enumerate(SECTIONS):
        cells.append(markdown(f"## {section}"))
        if section.startswith("Exercises"):
            cells += pair(EXERCISES, EXERCISES_ZH)
            for n in range(1, 5):
                cells.append(
                    code(f"# Exercise {n}\n{n}", "solution", "hide-cell", **solution_metadata(n))
                )
        else:
            cells += pair(
                ENGLISH + "Short plain words stand here. " * 14,
                CHINESE + "这里是一些平常的话。" * 12,
            )
        if number == 0:
            cells.append(code(setup_cell(), "setup", "hide-input"))
            cells.append(code("epochs: int = 2  # as many as fit\nname: str = 'x'", "parameters"))
    figure = {
        "figure": {"name": "fig-x", "caption": "A mask ｜ 掩膜"},
        "image": {"alt": "A mask ｜ 掩膜"},
    }
    cells += [
        code("draw()", outputs=[shows("image/png", PNG)], mystnb=figure),
        code("explore()", outputs=[shows("text/html", EXPLORER)]),
        code("print(1)", outputs=[{"output_type": "stream", "name": "stdout", "text": "1\n"}]),
        code(
            "{'mean_iou': 0.6}",
            "results",
            "nbval-ignore-output",
            outputs=[shows("text/plain", "{'mean_iou': 0.6}")],
        ),
        markdown("| Model ｜ 模型 | IoU |\n|---|---|\n| U-Net | 0.6 |"),
    ]
    for count, cell in enumerate((c for c in cells if c["cell_type"] == "code"), start=1):
        cell["execution_count"] = count
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def write(
    root: Path,
    content: dict,
    expected: str = "mean_iou: 0.61 ± 0.02",
    executed: dict | None = None,
) -> Chapter:
    """Store a notebook, its neighbour, its expected numbers and its fingerprint below a folder.

    `executed` is the notebook as `make notebooks` saw it, where it was edited since.
    """
    path = root / NAME
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    (path.parent / "02-other.ipynb").write_text("{}")
    (root / "book").mkdir()
    promise = f"{NAME}:\n  cpu:\n    {expected}\n"
    (root / "book" / "expected.yml").write_text(promise, encoding="utf-8")
    (root / "requirements.txt").touch()
    seen = fingerprint(executed or content, {"files": [], "packages": []}, root)
    (root / FILE).write_text(json.dumps({NAME: seen}), encoding="utf-8")
    return Chapter(path, root)
