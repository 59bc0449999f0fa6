"""A new chapter passes every gate from its first minute, and is listed everywhere."""

import sys
from pathlib import Path

import pytest
import yaml

from segedu.teaching import checking, checks
from segedu.tools.new_chapter import main, new_chapter
from tests.chapters.gates import Chapter
from tests.chapters.teaching import is_draft
from tests.chapters.template_chapter import NAME, PART, TITLE, small_book


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_book(tmp_path)


def chapters_of_part(root):
    """The chapters of part 2, in the order of the book."""
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    files = [[entry["file"] for entry in part["chapters"]] for part in contents["parts"]]
    return next(part for part in files if part[0].startswith(f"chapters/{PART}/"))


def test_it_is_listed_everywhere(root):
    before = chapters_of_part(root)
    new_chapter(root, PART, TITLE)
    expected = sorted([*before, "chapters/02-semantic/03-thresholds-again"])
    assert chapters_of_part(root) == expected
    for name in ("profiles", "expected"):
        table = yaml.safe_load((root / f"book/{name}.yml").read_text(encoding="utf-8"))
        assert "cpu" in table[NAME]


def test_its_checks_accept_right_answers_and_refuse_wrong_ones(root, monkeypatch):
    new_chapter(root, PART, TITLE)
    folder = str(root / "segedu/teaching/checks")
    monkeypatch.setattr(checks, "__path__", [folder])
    try:
        assert checking.chapters() == ["thresholds-again"]
        assert checking.check("thresholds-again-1", 6)
        assert checking.check("thresholds-again-4", lambda iou: 2 * iou / (1 + iou))
        for number, exercise in checking.exercises("thresholds-again").items():
            for wrong in exercise.wrong:
                assert not checking.check(f"thresholds-again-{number}", wrong)
    finally:
        sys.modules.pop("segedu.teaching.checks.thresholds_again", None)


def test_a_title_may_end_another(root):
    path = new_chapter(root, PART, "Again ｜ 再来")
    (path.parent / "03-again.ipynb").rename(path.parent / "03-once-again.ipynb")
    (root / "segedu/teaching/checks/again.py").unlink()
    assert new_chapter(root, PART, "Again ｜ 再来").name == "04-again.ipynb"


def test_a_number_puts_it_in_its_place(root):
    before = chapters_of_part(root)
    new_chapter(root, PART, TITLE, number=7)
    new_chapter(root, PART, "Later ｜ 后来", number=5)
    new = [f"chapters/02-semantic/{name}" for name in ("05-later", "07-thresholds-again")]
    assert chapters_of_part(root) == sorted([*before, *new])


def test_the_first_chapter_of_a_part_is_listed_once(root):
    contents = (root / "_toc.yml").read_text(encoding="utf-8")
    entry = "chapters/20-new/01-thresholds-again"
    part = f'  - caption: "New ｜ 新"\n    chapters:\n      - file: {entry}\n'
    (root / "_toc.yml").write_text(contents + part, encoding="utf-8")
    new_chapter(root, "20-new", TITLE)
    assert (root / "_toc.yml").read_text(encoding="utf-8").count(entry) == 1


@pytest.mark.parametrize(("number", "error"), [(1, FileExistsError), (0, ValueError)])
def test_a_number_must_be_free(root, number, error):
    with pytest.raises(error, match="number"):
        new_chapter(root, PART, TITLE, number=number)


def test_a_draft_is_not_listed(root):
    path = new_chapter(root, PART, TITLE, draft=True)
    assert is_draft(Chapter(path, root))
    assert "thresholds" not in (root / "_toc.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("part", "title", "message"),
    [
        ("02-semantic", "SegNet", "title must read 'English ｜ 中文'"),
        ("Part 2", TITLE, "part must be a folder"),
        ("98-nowhere", TITLE, "has no chapter of 98-nowhere"),
        ("02-semantic", "U-Net ｜ U-Net", "exists already"),
        ("02-semantic", "Λ ｜ 拉姆达", "must hold letters a-z or digits"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(root, capsys, part, title, message):
    (root / "chapters/02-semantic/03-u-net.ipynb").touch()
    before = sorted(path for path in root.rglob("*"))
    assert main([part, title, "--root", str(root)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(path for path in root.rglob("*")) == before
