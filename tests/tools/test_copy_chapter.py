"""Copies of a chapter: one language, other parameters, no solutions."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from segedu.tools.copy_chapter import copy_notebook, main, with_values

ROOT = Path(__file__).resolve().parents[2]
PROFILES = yaml.safe_load((ROOT / "book/profiles.yml").read_text(encoding="utf-8"))
HAN = re.compile(r"[\u4e00-\u9fff]")


def folded(word: str, content: str) -> str:
    return f"\n\n<details><summary>{word}</summary>\n\n{content}\n\n</details>"


def cell(kind: str, source: str, *tags: str, printed: str = "") -> dict:
    made = {"cell_type": kind, "metadata": {"tags": list(tags)}, "source": source}
    if kind == "code":
        shown = [{"output_type": "stream", "name": "stdout", "text": [printed]}] if printed else []
        made |= {"execution_count": 1, "outputs": shown}
    return made


CHAPTER = {
    "cells": [
        cell("markdown", "# Masks ｜ 掩膜\n| Size ｜ 尺寸 | IoU |"),
        cell("markdown", "One." + folded("Hint", "h") + folded("Answer in words", "a"), "lang-en"),
        cell("markdown", "一。" + folded("答案要点", "乙"), "lang-zh"),
        cell("code", "epochs: int = 2  # many\nname: str = 'x'", "parameters"),
        cell("code", "x = 1  # one ｜ 一", printed="Right ｜ 正确\n"),
        cell("code", "answer = 42", "solution"),
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def text(notebook: dict) -> str:
    return json.dumps(notebook, ensure_ascii=False)


def test_one_language_holds_nothing_of_the_other():
    english, chinese = (copy_notebook(CHAPTER, language=language) for language in ("en", "zh"))
    assert not HAN.search(text(english)) and "｜" not in text(chinese)
    assert english["cells"][0]["source"] == ["# Masks\n", "| Size | IoU |"]
    assert chinese["cells"][0]["source"] == ["# 掩膜\n", "| 尺寸 | IoU |"]
    assert "".join(english["cells"][3]["source"]) == "x = 1  # one"
    assert english["cells"][3]["outputs"][0]["text"] == "Right\n"
    assert len(english["cells"]) == len(chinese["cells"]) == 5


def test_without_solutions_no_answer_is_left():
    student = copy_notebook(CHAPTER, solutions=False)
    assert "42" not in text(student) and "Answer" not in text(student) and "乙" not in text(student)
    assert "Hint" in text(student)


def test_new_parameters_take_the_outputs_away():
    result = copy_notebook(CHAPTER, parameters={"epochs": 7})
    assert "".join(result["cells"][3]["source"]) == "epochs: int = 7  # many\nname: str = 'x'"
    code = [c for c in result["cells"] if c["cell_type"] == "code"]
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in code)
    assert CHAPTER["cells"][4]["outputs"], "the chapter itself is not changed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"epoch": 1}}, r"no parameter \['epoch'\]; there are \['epochs', 'name'\]"),
        ({"language": "de"}, "language must be en, zh or both"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        copy_notebook(CHAPTER, **change)


def test_values_are_written_as_python():
    assert with_values("a: float = 1.0\nb: str = 'x'", {"a": 1e-3, "b": "y"}) == (
        "a: float = 0.001\nb: str = 'y'"
    )


def test_what_stands_beside_a_value_stays():
    code = "import os\n# 中 of ours\na: int = 1  # é: one\nb: tuple[int, ...] = (\n    1,\n)  # b\n"
    assert with_values(code, {"a": 2, "b": (3, 4)}) == (
        "import os\n# 中 of ours\na: int = 2  # é: one\nb: tuple[int, ...] = (3, 4)  # b\n"
    )
    with pytest.raises(ValueError, match=r"no parameter \['c'\]; there are \['a', 'b'\]"):
        with_values(code, {"c": 1})


def test_outputs_that_fit_stay():
    kept = copy_notebook(CHAPTER, parameters={})
    assert kept["cells"][4]["outputs"] == CHAPTER["cells"][4]["outputs"]


def test_a_raw_cell_stays():
    raw = {"cell_type": "raw", "metadata": {}, "source": "a ｜ 甲"}
    notebook = CHAPTER | {"cells": [raw]}
    result = copy_notebook(notebook, language="en", parameters={"x": 1})
    assert result["cells"] == [raw | {"source": ["a ｜ 甲"]}]


@pytest.mark.parametrize(
    ("line", "english", "chinese"),
    [
        ("**Crop ｜ 裁剪**", "**Crop**", "**裁剪**"),
        ("**Crop** it ｜ **裁剪** 它", "**Crop** it", "**裁剪** 它"),
        ("**Crop** ｜ **裁剪**", "**Crop**", "**裁剪**"),
        ("1. Crop ｜ 裁剪", "1. Crop", "1. 裁剪"),
        ("- *Crop ｜ 裁剪*", "- *Crop*", "- *裁剪*"),
        ("> ### Crop ｜ 裁剪", "> ### Crop", "> ### 裁剪"),
        ("| **Crop ｜ 裁剪** | 3 |", "| **Crop** | 3 |", "| **裁剪** | 3 |"),
        ("3.5 mm ｜ 3.5 毫米", "3.5 mm", "3.5 毫米"),
    ],
)
def test_marks_of_a_line_stay_in_both_languages(line, english, chinese):
    notebook = CHAPTER | {"cells": [cell("markdown", line)]}
    for language, wanted in (("en", english), ("zh", chinese)):
        assert copy_notebook(notebook, language=language)["cells"][0]["source"] == [wanted]


@pytest.mark.parametrize("path", sorted((ROOT / "chapters").rglob("*.ipynb")), ids=lambda p: p.stem)
def test_every_profile_of_every_chapter_can_be_copied(path, tmp_path, capsys):
    for profile in PROFILES[path.relative_to(ROOT).as_posix()]:
        out = tmp_path / f"{profile}.ipynb"
        assert main([str(path), "--lang", "en", "--profile", profile, "--out", str(out)]) == 0
        nbformat.validate(nbformat.read(out, as_version=4))
    assert main([str(path), "--profile", "none", "--out", str(out)]) == 2
    assert "--profile must be one of" in capsys.readouterr().err
    assert main([str(path), "--out", str(path)]) == 2
