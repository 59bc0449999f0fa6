"""Each gate of teaching notices what it is for: the new chapter, broken in one way at a time."""

from pathlib import Path

import pytest

from tests.chapters import template_chapter
from tests.chapters.gates import Chapter, report
from tests.chapters.teaching import TEACHING, gates_of, is_founded, names_in, numbers_in
from tests.once import once

pytestmark = pytest.mark.slow  # the new chapter is executed once in a kernel


@pytest.fixture(scope="module")
def chapter(tmp_path_factory) -> Chapter:
    def build() -> Path:
        root = template_chapter.small_book(tmp_path_factory.mktemp("book"))
        return template_chapter.executed(root).path

    path = once("template_chapter", tmp_path_factory, build)
    return Chapter(path, path.parents[2])


def holding(notebook: dict, text: str) -> dict:
    return next(cell for cell in notebook["cells"] if text in cell["source"])


def swap(old: str, new: str):
    def change(notebook: dict) -> None:
        cell = holding(notebook, old)
        cell["source"] = cell["source"].replace(old, new)

    return change


def remove(text: str):
    return lambda notebook: notebook["cells"].remove(holding(notebook, text))


def meta(text: str, **values):
    return lambda notebook: holding(notebook, text)["metadata"].update(values)


def no_output(text: str):
    return lambda notebook: holding(notebook, text).update(outputs=[])


def printing(text: str):
    output = {"output_type": "stream", "name": "stdout", "text": [text]}
    return lambda notebook: holding(notebook, "print(iou(empty").update(outputs=[output])


def repeat(text: str, times: int):
    def change(notebook: dict) -> None:
        place = notebook["cells"].index(holding(notebook, text))
        notebook["cells"][place:place] = [dict(holding(notebook, text)) for _ in range(times)]

    return change


BROKEN = [
    ("is_framed", remove("## Objectives"), "first section is"),
    ("is_framed", remove("## Summary"), "last three sections"),
    ("is_framed", swap("## Move the threshold ｜ 移动阈值", "## Training ｜ 训练"), "fits every chapter"),
    ("is_framed", swap("# Thresholds, again ｜ 再谈阈值", "x"), "is the title"),
    ("is_framed", swap("[the first chapter](../01-foundations/01-what-is-segmentation.ipynb)", "x"), "needs to know"),
    ("has_a_teaching_size", repeat("$$ m_i", 80), "steps .a pair counts as one"),
    ("has_a_teaching_size", repeat("def iou(", 60), "visible lines of code"),
    ("has_a_teaching_size", swap("Nine pixels are too few", "few " * 2600), "words of English"),
    ("has_a_teaching_size", swap("九个像素太少", "少" * 4200), "words of Chinese"),
    ("has_a_teaching_size", lambda n: n["metadata"].update(x="x" * 1_500_000), "bytes, allowed"),
    ("takes_one_step_at_a_time", swap("Nine pixels are", "few " * 120), "words, allowed are 120"),
    ("takes_one_step_at_a_time", swap("九个像素太少", "少" * 221), "characters, allowed are 220"),
    ("takes_one_step_at_a_time", swap("Nine pixels are", "One.\n\nTwo."), "2 paragraphs"),
    ("shows_short_cells", swap("def iou(", "x = 1\n" * 16 + "def iou("), "visible lines, allowed are 15"),
    ("writes_a_formula_once", swap("Nine pixels are", "$$ x $$"), "put it between the pairs"),
    ("refers_by_number", swap("Nine pixels are too few", "The figure above"), "refers by position: 'figure above'"),
    ("refers_by_number", swap("九个像素太少", "见上图"), "refers by position: '上图'"),
    ("draws_only_in_hidden_cells", swap("empty, empty", "thresholds, 1"), "'thresholds', which is defined in cell"),
    ("draws_only_in_hidden_cells", swap("empty, empty", "nowhere, 1"), "'nowhere', which is defined in no"),
    ("comments_in_both_languages", swap("def iou(", "# how good it is\ndef iou("), "comment in one language"),
    ("comments_in_both_languages", swap("def iou(", "# (x, 1 or 0 ｜ 1 或 0)\ndef iou("), "half a bracket"),
    ("splits_labels_only", swap("def iou(", "en, zh = words[0].split(' ｜ ')\ndef iou("), "no bar left to split"),
    ("folds_in_jupyter", meta("thresholds =", jupyter={}), "source_hidden"),
    ("folds_in_jupyter", meta("thresholds =", cellView=""), "cellView"),
    ("folds_in_jupyter", meta("# Exercise 1", jupyter={"source_hidden": True}), "outputs_hidden"),
    ("founds_its_numbers", swap("Nine pixels are too few", "Of these 73.4 % are"), "73.4 stands in no earlier output"),
    ("founds_its_numbers", swap("Every hole", "The IoU of 0.771 says it"), "0.771 stands in no"),
    ("founds_its_numbers", swap("Nine pixels are too few", "0.598"), "0.598 stands in no earlier output"),
    ("founds_its_numbers", swap("Nine pixels are too few", "It is $0.598$"), "0.598 stands in no earlier output"),
    ("prints_in_both_languages", printing("found ｜ 找到: 12 px\n"), "half of the line 'found ｜ 找到: 12 px'"),
    ("names_its_parameters", swap("`noise`", "strength"), "`noise` is named nowhere"),
    ("warns_of_pitfalls", swap("**Instead:** Say", "Say"), "1 pitfalls in lang-en"),
    ("warns_of_pitfalls", swap("**错在哪里？** 单元格印出 nan", "x"), "1 pitfalls in lang-zh"),
    ("poses_checked_exercises", remove("### Count"), "3 exercises"),
    ("poses_checked_exercises", swap("<summary>Hint", "<summary>x"), "no <summary>Hint"),
    ("poses_checked_exercises", swap("<summary>答案", "<summary>x"), "no <summary>答案"),
    ("poses_checked_exercises", remove("# Exercise 1"), "no code cell tagged 'solution'"),
    ("poses_checked_exercises", no_output("# Exercise 1"), "does not pass its own check"),
    ("poses_checked_exercises", swap("answer = ...\ncheck(", "answer = ...\nprint("), "does not check"),
]  # fmt: skip


@pytest.mark.parametrize("gate", TEACHING, ids=lambda gate: gate.__name__)
def test_the_new_chapter_passes(chapter, gate):
    assert gate in gates_of(chapter)
    assert report(chapter, gate) == []


def test_the_new_chapter_passes_all_other_gates(chapter):
    problems = [problem for gate in gates_of(chapter) for problem in report(chapter, gate)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("gate", "change", "message"), BROKEN, ids=[f"{g}-{m[:20]}" for g, _, m in BROKEN]
)
def test_a_broken_chapter_is_noticed(chapter, tmp_path, gate, change, message):
    broken = template_chapter.with_cells(chapter, tmp_path, change)
    problems = report(broken, next(g for g in TEACHING if g.__name__ == gate))
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(problems))


def test_every_gate_is_broken_at_least_once():
    assert {gate for gate, _, _ in BROKEN} == {gate.__name__ for gate in TEACHING}


@pytest.mark.parametrize(
    ("claim", "found", "expected"),
    [
        ("0.60", [0.598], True),  # rounded
        ("59.8", [0.598], True),  # a percentage of a share
        ("0.6", [0.649], True),
        ("0.60", [0.606], False),
        ("12.5", [0.1], False),
        ("1,234.5", [1234.5], True),
    ],
)
def test_a_number_is_founded_by_what_rounds_to_it(claim, found, expected):
    assert is_founded(claim, found) is expected


def test_numbers_of_html_are_what_is_shown():
    text = '<td style="x">0.5</td><img src="data:image/png;base64,AA77+/=="><path d="M 3.25"/> −2'
    assert numbers_in(text) == [0.5, 2.0]


def test_a_caught_exception_binds_its_name_where_it_has_one():
    names = names_in("try:\n    a\nexcept KeyError as error:\n    error\nexcept ValueError:\n    b")
    assert names.bound == {"error"}
    assert names.read == {"a", "b", "error", "KeyError", "ValueError"}
