"""An assignment: what is handed out, what stays, and its points."""

import json
from pathlib import Path

import nbformat
import pytest

from segedu.teaching.__main__ import main
from segedu.teaching.assignment import STUB, read_assignment, write_assignment
from segedu.teaching.checking import judged

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"


def handed_out(folder: Path, language: str) -> dict:
    path = folder / "students" / language / f"{folder.name}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))


def test_it_holds_what_was_asked_for(tmp_path, capsys):
    out = tmp_path / "hw1"
    arguments = ["assignment", "unet:1,3,4", "region-losses:4", "--points", "2", "unet-3=4"]
    assert main([*arguments, "--out", f"{out}", "--chapters", f"{CHAPTERS}"]) == 0
    said = capsys.readouterr().out
    assert "4 exercises, 10 points" in said and "read by a person: unet-4" in said
    made = read_assignment(out)
    points = {task.name: (task.points, task.by_person) for task in made.tasks}
    assert points == {
        "unet-1": (2, False),
        "unet-3": (4, False),
        "unet-4": (2, True),
        "region-losses-4": (2, False),
    }
    source = json.loads((out / "source/hw1/hw1.ipynb").read_text(encoding="utf-8"))
    ids = []
    for notebook in (source, *(handed_out(out, language) for language in ("both", "en", "zh"))):
        nbformat.validate(nbformat.from_dict(notebook))
        graded = [
            c["metadata"]["nbgrader"] for c in notebook["cells"] if "nbgrader" in c["metadata"]
        ]
        ids.append([(cell["grade_id"], cell.get("points")) for cell in graded])
        assert sum(cell.get("points", 0) for cell in graded) == 10
    assert ids[0] == ids[1] == ids[2] == ids[3] and len(dict(ids[0])) == len(ids[0])


def test_nothing_secret_is_handed_out(tmp_path):
    out = tmp_path / "hw1"
    made = write_assignment(["unet"], out, chapters=CHAPTERS)
    for language, stub in (
        ("both", STUB),
        ("en", "# Your code here"),
        ("zh", "# 在这里写你的代码"),
    ):
        text = json.dumps(handed_out(out, language), ensure_ascii=False)
        assert made.secret not in text and "SOLUTION" not in text
        assert "side -= 4" not in text and "5 \\\\cdot (1 + 2" not in text
        assert text.count(stub) == len(made.tasks)
        for task in made.tasks:
            assert not any(rubric in text for rubric in task.rubric.values())
        assert ("lang-zh" in text) == (language != "en")
    assert made.secret != write_assignment(["unet"], tmp_path / "hw2", chapters=CHAPTERS).secret


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no chapter 'nothing'; there are"),
        (["unet:9"], "no exercise 'unet-9'; there are"),
        (["unet", "--points", "x"], "points must be NUMBER or NAME=NUMBER, got 'x'"),
        (["unet", "--points", "fcn-1=2"], "points for 'fcn-1', which is not among"),
        (["unet", "--points=-1"], "points must be"),
        (["mine.ipynb:1"], "the checks of mine.ipynb are missing"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(tmp_path, capsys, arguments, message):
    out = tmp_path / "hw1"
    assert main(["assignment", *arguments, "--out", f"{out}", "--chapters", f"{CHAPTERS}"]) == 2
    assert message in capsys.readouterr().err and not out.exists()


def test_a_secret_is_not_overwritten(tmp_path, capsys):
    assert main(["assignment", "unet", "--out", f"{tmp_path}", "--chapters", f"{CHAPTERS}"]) == 2
    assert "exists: choose another folder" in capsys.readouterr().err


def test_an_instructors_own_exercise_from_the_template(tmp_path, capsys):
    assert main(["template", f"{tmp_path / 'mine'}"]) == 0
    notebook = tmp_path / "mine.ipynb"
    assert f"assignment {notebook}:1" in capsys.readouterr().out
    nbformat.validate(nbformat.read(notebook, as_version=4))
    out = tmp_path / "hw1"
    write_assignment([f"{notebook}:1", "unet:3"], out, chapters=CHAPTERS)
    made = read_assignment(out)
    own = made.tasks[0]
    words = {
        "en": "Adding a number to itself doubles it.",
        "zh": "一个数与自身相加，就得到它的两倍。",
    }
    assert (own.name, own.rubric, own.answer) == ("mine-1", words, "answer")
    exercise = made.exercise(own)
    assert judged(exercise, lambda x: 2 * x) and not judged(exercise, lambda x: x)
    text = json.dumps(handed_out(out, "both"), ensure_ascii=False)
    assert "gives twice" in text and "to itself" not in text and "expect_function" not in text
    assert "Checked after you hand in" in text and 'check(\\"mine-1' not in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine", "mine.ipynb exists: choose another"),
        ("My exercise", "small letters, digits"),
        ("mine.v2", "got 'mine.v2'"),
    ],
)
def test_a_template_replaces_nothing_and_has_a_name_that_check_knows(
    name, message, tmp_path, capsys
):
    (tmp_path / "mine.ipynb").write_text("")
    assert main(["template", f"{tmp_path / name}"]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.ipynb"]
