"""Which notebook counts, what it gets, and what is written of it."""

import csv
import json
import os
import shutil
import sys
from datetime import datetime

import pytest

from segedu.teaching.__main__ import main
from segedu.teaching.grading import (
    NO_CELL,
    TO_READ,
    Grade,
    Result,
    collect,
    feedback,
    grade_all,
    summary,
    write_grades,
)
from segedu.teaching.sandbox import Limits
from tests.teaching.submissions import FUNCTION, NUMBER, Class, small_assignment

LIMITS = Limits(seconds=30.0)


@pytest.fixture
def assignment(tmp_path):
    return small_assignment(tmp_path / "hw1")


@pytest.fixture
def students(tmp_path, assignment):
    return Class(tmp_path / "submissions", tmp_path / "hw1")


def notes(assignment, folder, **options):
    return {each.student: each.notes for each in collect(assignment, folder, **options)}


def test_the_newest_notebook_of_a_student_counts(assignment, students):
    old = students.hand_in("ada")
    new = old.with_name("hw1 (2).ipynb")
    new.write_text(old.read_text().replace("140", "141"))
    wrong = old.with_name("notes.ipynb")
    wrong.write_text(json.dumps({"cells": []}))
    for when, path in enumerate((old, new, wrong)):
        os.utime(path, (1e9 + when, 1e9 + when))
    (found,) = collect(assignment, students.folder)
    assert any("answer = 141" in cell["source"] for cell in found.notebook["cells"])
    assert any("hw1 (2).ipynb" in note and "文件名" in note for note in found.notes)
    assert any("newest of 3" in note for note in found.notes)


def test_late_is_marked(assignment, students):
    path = students.hand_in("ada")
    at = datetime(2027, 3, 2, 8, 30).timestamp()
    os.utime(path, (at, at))
    due = datetime(2027, 3, 1, 23, 59)
    assert notes(assignment, students.folder, due=due)["ada"] == [
        "late: 2027-03-02 08:30 ｜ 迟交：2027-03-02 08:30"
    ]
    assert notes(assignment, students.folder, due=datetime(2027, 3, 3))["ada"] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"cells": []}', "it holds no exercise of this assignment"),
        ("nonsense", "it is not a notebook"),
        ('{"cells": 3}', "it is not a notebook"),
        ('{"cells": [{"cell_type": "code", "source": 3}]}', "it is not a notebook"),
        ("[" * 9_999, "it is not a notebook"),
        (" " * (20 * 2**20 + 1), "it is larger than 20 MB"),
    ],
)
def test_what_is_no_answer_gets_nothing(assignment, tmp_path, content, message):
    path = tmp_path / "all" / "bob.ipynb"
    path.parent.mkdir()
    path.write_text(content)
    (note,) = notes(assignment, path.parent)["bob"]
    assert message in note and " ｜ " in note
    (grade,) = grade_all(assignment, collect(assignment, path.parent), LIMITS)
    assert [(r.points, r.message) for r in grade.results] == [(0, NO_CELL), (0, NO_CELL)]


def test_edited_checks_and_lost_metadata(assignment, students):
    def edit(notebook, cells):
        cells[f"{FUNCTION}-check"]["source"] = f'print("fine")  # {FUNCTION}'

    def lose(notebook, cells):
        for cell in notebook["cells"]:
            cell["metadata"] = {}

    students.hand_in("edited", change=edit)
    students.hand_in("lost", change=lose)
    found = notes(assignment, students.folder)
    assert "edited checks, which did not count: unet-3" in found["edited"][0]
    assert found["lost"] == []


def test_nothing_to_grade_is_an_error(assignment, tmp_path, capsys):
    (tmp_path / "none").mkdir()
    assert main(["grade", f"{tmp_path / 'hw1'}", f"{tmp_path / 'none'}"]) == 2
    assert "no notebook in" in capsys.readouterr().err
    assert main(["grade", f"{tmp_path}", f"{tmp_path / 'none'}"]) == 2
    assert "assignment.json is missing" in capsys.readouterr().err


@pytest.mark.slow  # starts processes that import torch
def test_a_class_is_graded_without_walls(assignment, students, tmp_path, capsys):
    """As `--trust` does it; a command that stands for a container gives the same."""

    def drop(notebook, cells):
        notebook["cells"].remove(cells[f"{FUNCTION}-check"])
        notebook["cells"].remove(cells[FUNCTION])

    students.hand_in("=ada", change=lambda notebook, cells: notebook["cells"].remove(
        cells[f"{NUMBER}-check"]))  # fmt: skip
    students.hand_in("李雷", function="def answer(side):\n    return 388 if side == 572 else 0")
    students.hand_in("cut", number="%time 1\nanswer = 139", change=drop)
    known = {188: 4, 204: 20, 572: 388, 700: 516}
    students.hand_in(
        "shown only",
        function=f"""
from segedu.models.unet import valid_output_size
seen = set({[572, 571, 574, 578, 188, 204, 700, 172]})
def answer(side):
    seen.discard(side)
    return valid_output_size(side) if side in {[*known]} or len(seen) else 1
""",
    )
    out = tmp_path / "grades.csv"
    arguments = ["grade", f"{tmp_path / 'hw1'}", f"{students.folder}", "--out", f"{out}"]
    assert main([*arguments, "--trust"]) == 0
    with out.open(encoding="utf-8-sig") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    points = {name: (row[NUMBER], row[FUNCTION], row["points"]) for name, row in rows.items()}
    assert points == {
        "'=ada": ("2", "4", "6"),
        "李雷": ("2", "0", "2"),
        "cut": ("0", "0", "0"),
        "shown only": ("2", "0", "2"),
    }
    pages = {path.name: path.read_text() for path in (tmp_path / "grades-feedback").iterdir()}
    assert len(pages) == 5 and "hw1：全班" in pages["summary.html"]
    for name in ("cut", "shown only", "李雷"):
        shutil.rmtree(students.folder / name)
    assert main([*arguments, "--container", sys.executable]) == 0
    with out.open(encoding="utf-8-sig") as file:
        assert [*csv.DictReader(file)] == [rows["'=ada"]]


def test_the_summary_hints_at_answers_that_are_alike(assignment):
    task = assignment.tasks[0]
    code = "def answer(a, b):\n    return " + " + ".join(f"{n} * a - b" for n in range(9))
    grades = [
        Grade(student, [Result(task, 2.0, "") for _ in assignment.tasks], [], "both", 1.0, answers)
        for student, answers in (
            ("<b>ann", {task.name: code}),
            ("bob", {task.name: code.replace("b", "x")}),
            ("eve", {}),
        )
    ]
    text = summary(assignment, grades)
    assert "&lt;b&gt;ann, bob</td>" in text and "参考答案是公开的" in text
    assert "Alike" not in summary(assignment, grades[1:])


def test_pages_speak_one_language_and_run_nothing(assignment, tmp_path):
    task = assignment.tasks[0]
    evil = "<script>alert(1)</script> ｜ <img src=x onerror=alert(2)>"
    results = [Result(task, 2.0, evil), Result(assignment.tasks[1], None, TO_READ)]
    chinese = Grade("<b>李雷</b>", results, [evil], "zh", 1.0)
    text = feedback(chinese)
    assert "<script>" not in text and "<img" not in text and "<b>" not in text
    assert "由教师批阅" in text and "A person reads" not in text
    assert "瓶颈处的一个位置能看到多大" in text and "What does one place" not in text
    write_grades(assignment, [chinese], tmp_path / "out" / "g.csv")
    for path in (tmp_path / "out" / "g-feedback").iterdir():
        assert "<script>" not in path.read_text() and path.stem in ("summary", "001-_b_李雷__b_")
