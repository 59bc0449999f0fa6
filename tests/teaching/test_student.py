"""The student edition holds every exercise, and no solution or answer of any."""

import json
import zipfile
from pathlib import Path

import nbformat
import pytest

from segedu.teaching.__main__ import main
from segedu.teaching.student import student_notebook
from segedu.tools.copy_chapter import ANSWER
from tests.chapters.gates import tags

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
EVERY = sorted(CHAPTERS.glob("*/*.ipynb"))


def leaks(chapter: dict, student: dict) -> list[str]:
    """What of the solutions and the answers in words stands anywhere in the student's notebook."""
    kept = [cell for cell in chapter["cells"] if "solution" not in tags(cell)]
    taught = "\n".join(ANSWER.sub("", "".join(cell["source"])) for cell in kept)
    secret = set()
    for cell in chapter["cells"]:
        text = "".join(cell["source"])
        if "solution" in tags(cell):
            secret |= {f'"{cell["id"]}"', text.strip()}
            secret |= {line.strip() for line in text.splitlines() if len(line.strip()) > 12}
        for answer in ANSWER.findall(text):
            secret |= {line.strip() for line in answer.splitlines()}
    written = json.dumps(student, ensure_ascii=False)
    secret = {text for text in secret if text not in taught}
    return [text for text in secret if json.dumps(text, ensure_ascii=False)[1:-1] in written]


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_nothing_of_a_solution_is_left(path):
    chapter = json.loads(path.read_text(encoding="utf-8"))
    exercises = [cell for cell in chapter["cells"] if "exercise" in tags(cell)]
    assert leaks(chapter, chapter), "the test would not see a solution"
    for language in ("en", "zh", "both"):
        student = student_notebook(chapter, language)
        nbformat.validate(nbformat.from_dict(student))
        assert leaks(chapter, student) == []
        words = json.dumps(student, ensure_ascii=False)
        assert "segedu-right" not in words and "参考答案" not in words
        assert "<summary>Hint" in words or "<summary>提示" in words
        places = [n for n, cell in enumerate(student["cells"]) if "answer-in-words" in tags(cell)]
        assert len(places) == len(exercises)
        for number, exercise in zip(places, exercises, strict=True):
            stub = "".join(student["cells"][number - 1]["source"])
            assert "exercise" in tags(student["cells"][number - 1])
            assert stub.count("check(") == 1 and "..." in stub
            assert language != "both" or stub == "".join(exercise["source"])


def test_a_folder_and_the_same_as_a_zip(tmp_path, capsys):
    out, only = tmp_path / "out", tmp_path / "chapters" / "02-semantic"
    only.mkdir(parents=True)
    chapter = CHAPTERS / "02-semantic" / "02-unet.ipynb"
    (only / chapter.name).write_bytes(chapter.read_bytes())
    assert (
        main(["student", "--language", "zh", "--chapters", f"{only.parent}", "--out", f"{out}"])
        == 0
    )
    folder = out / "segedu-student-zh"
    assert capsys.readouterr().out.strip() == f"{folder}.zip"
    with zipfile.ZipFile(f"{folder}.zip") as packed:
        assert packed.namelist() == ["segedu-student-zh/02-semantic/02-unet.ipynb"]
        packed.extractall(tmp_path)
    unpacked = tmp_path / "segedu-student-zh" / "02-semantic" / "02-unet.ipynb"
    assert unpacked.read_bytes() == (folder / "02-semantic" / "02-unet.ipynb").read_bytes()


def test_an_empty_folder_is_named(tmp_path, capsys):
    assert main(["student", "--chapters", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "no notebook in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
