"""An assignment out of exercises of any chapters, and of an instructor's own.

``python -m segedu.teaching assignment unet:1,3 fcn --out hw1 --points 2 unet-3=4`` writes a folder
that is also a course of nbgrader::

    hw1/assignment.json      what is graded, with how many points, and the secret: keep it
    hw1/source/hw1/hw1.ipynb with the solutions, in nbgrader's format: keep it
    hw1/students/both|en|zh/hw1.ipynb   to hand out
    hw1/checks/              checks of the instructor's own exercises: keep them
    hw1/nbgrader_config.py   for `nbgrader generate_assignment hw1` and what follows
"""

import ast
import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segedu.files import read_json, write_json, write_text
from segedu.languages import LANGUAGES, Language
from segedu.teaching.checking import Exercise, exercises, exercises_of_file
from segedu.teaching.notebooks import new_cell, new_notebook, write_notebook
from segedu.teaching.posed import Posed, posed
from segedu.teaching.student import PLACE
from segedu.tools.copy_chapter import copy_notebook
from segedu.tools.setup_cell import setup_cell

STUB = "# Your code here ｜ 在这里写你的代码"
AFTERWARDS = "# Checked after you hand in ｜ 交上之后检查"
NOTES = {
    "en": "Write each answer where its stub stands, in your own words where words are wanted. "
    "`check` says whether an answer is right; the grade comes from other inputs than it shows. "
    "Keep all cells and hand in this file.",
    "zh": "请把每题的答案写在它的占位处；要求用文字回答的，请用自己的话写。`check` 会告诉你答案"
    "是否正确；评分时使用的输入与它所用的不同。请保留所有单元格，并提交本文件。",
}
CONTEXT = "# What the chapter has defined ｜ 这一章已经定义的内容"
NBGRADER = """\
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = {name!r}
c.ClearSolutions.code_stub = {{"python": {stub!r}}}
c.ExecutePreprocessor.timeout = 60
c.OverwriteCells.add_missing_cells = True
c.HTMLExporter.sanitize_html = True  # what students write runs nowhere
"""


@dataclass(frozen=True)
class Task:
    """One exercise of an assignment.

    Attributes:
        name: of the exercise.
        points: for a right answer.
        title: ``English ｜ 中文``.
        answer: the expression that is judged.
        check: source of its check's cell.
        by_person: a person reads it.
        rubric: what a right answer says, per language.
        own: file of the instructor's checks, in ``checks/``; else the book's.
    """

    name: str
    points: float
    title: str
    answer: str
    check: str
    by_person: bool
    rubric: Mapping[Language, str]
    own: str = ""


@dataclass(frozen=True)
class Assignment:
    """What is graded; ``secret`` decides the hidden inputs."""

    name: str
    secret: str
    tasks: Sequence[Task]
    folder: Path = field(default=Path(), compare=False)

    def exercise(self, task: Task) -> Exercise:
        """How a task is judged."""
        chapter, _, number = task.name.rpartition("-")
        if task.own:
            return exercises_of_file(self.folder / "checks" / task.own)[int(number)]
        return exercises(chapter)[int(number)]


def read_assignment(folder: Path) -> Assignment:
    """The assignment that `write_assignment` wrote.

    Raises:
        FileNotFoundError: there is none in ``folder``.
    """
    path = folder / "assignment.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give the folder of an assignment")
    found = read_json(path)
    tasks = [Task(**task) for task in found["tasks"]]
    return Assignment(found["name"], found["secret"], tasks, folder)


def write_assignment(
    chosen: Sequence[str], out: Path, *, points: Sequence[str] = ("1",), chapters: Path
) -> Assignment:
    """Write an assignment.

    Args:
        chosen: ``CHAPTER`` or ``CHAPTER:NUMBERS``; a chapter by its name in `check`, or the path
            of an own notebook, whose checks stand beside it in a ``.py`` file.
        out: its folder, which must not exist.
        points: a number for every exercise, and ``NAME=NUMBER`` for single ones.
        chapters: the folder of the book's chapters.

    Raises:
        ValueError: an exercise or a number is not there; the message says what is.
        FileExistsError: ``out`` exists: its secret must not be lost.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists: choose another folder, as this one keeps its secret")
    found: dict[str, tuple[Posed, str]] = {}
    for text in chosen:
        chapter, _, numbers = text.partition(":")
        own = Path(chapter) if chapter.endswith(".ipynb") else None
        exercises_there = _own(own) if own else _chapter(chapter, chapters)
        stem = next(iter(exercises_there)).rpartition("-")[0]
        names = [f"{stem}-{n.strip()}" for n in numbers.split(",")] if numbers else exercises_there
        for name in names:
            if name not in exercises_there:
                raise ValueError(f"no exercise {name!r}; there are {sorted(exercises_there)}")
            found[name] = exercises_there[name], str(own.with_suffix(".py")) if own else ""
    worth = _points(points, found)
    tasks = [_task(each, worth[name], own) for name, (each, own) in found.items()]
    assignment = Assignment(out.name, secrets.token_hex(16), tasks, out)
    for own in {own for _, own in found.values() if own}:
        (out / "checks").mkdir(parents=True, exist_ok=True)
        shutil.copy(own, out / "checks")
    pieces = [(task, found[task.name][0]) for task in tasks]
    write_notebook(out / "source" / out.name / f"{out.name}.ipynb", _notebook(out.name, pieces))
    student = _notebook(out.name, pieces, solutions=False)
    for language in ("both", *LANGUAGES):
        copied = copy_notebook(student, language=language)
        copied["metadata"] = student["metadata"] | {
            "segedu": {"assignment": out.name, "language": language}
        }
        write_notebook(out / "students" / language / f"{out.name}.ipynb", copied)
    write_text(out / "nbgrader_config.py", NBGRADER.format(name=out.name, stub=STUB))
    write_json(
        out / "assignment.json",
        {
            "name": assignment.name,
            "secret": assignment.secret,
            "tasks": [asdict(task) for task in tasks],
        },
    )
    return assignment


def _chapter(name: str, chapters: Path) -> dict[str, Posed]:
    """The exercises of the book's chapter of that name."""
    there = {}
    for path in sorted(chapters.glob("*/*.ipynb")):
        text = path.read_text(encoding="utf-8")
        if found := re.search(r'check\(\\"([a-z0-9-]+)-1\\"', text):
            there[found[1]] = text
    if name not in there:
        where = f"there are {sorted(there)}" if there else f"no notebook in {chapters}"
        raise ValueError(f"no chapter {name!r}; {where}")
    return posed(json.loads(there[name]))


def _own(path: Path) -> dict[str, Posed]:
    if not path.with_suffix(".py").is_file():
        raise ValueError(f"the checks of {path} are missing: {path.with_suffix('.py')}")
    return posed(json.loads(path.read_text(encoding="utf-8")))


def _points(texts: Sequence[str], names: Mapping[str, Any]) -> dict[str, float]:
    worth = dict.fromkeys(names, 1.0)
    for text in sorted(texts, key=lambda text: "=" in text):
        name, _, number = text.rpartition("=")
        if name and name not in names:
            raise ValueError(f"points for {name!r}, which is not among {sorted(names)}")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value < 1e6:
            raise ValueError(f"points must be NUMBER or NAME=NUMBER, got {text!r}")
        worth |= {name: value} if name else dict.fromkeys(names, value)
    return worth


def _task(each: Posed, points: float, own: str) -> Task:
    chapter, _, number = each.name.rpartition("-")
    judged = exercises_of_file(Path(own)) if own else exercises(chapter)
    if int(number) not in judged:
        raise ValueError(f"no check of {each.name} in {own}")
    check = (
        AFTERWARDS
        if own
        else f'verdict = check("{each.name}", {each.answer})\ndisplay(verdict)\nassert verdict'
    )
    by_person = judged[int(number)].by_person
    return Task(
        each.name,
        points,
        each.title,
        each.answer,
        check,
        by_person,
        each.rubric,
        Path(own).name if own else "",
    )


def _notebook(
    name: str, pieces: Sequence[tuple[Task, Posed]], *, solutions: bool = True
) -> dict[str, Any]:
    cells = [new_cell("markdown", f"# {name}", "title")]
    cells += [new_cell("markdown", NOTES[k], f"notes-{k}", tags=[f"lang-{k}"]) for k in LANGUAGES]
    cells += [
        new_cell("code", setup_cell(), "setup", tags=["setup"], jupyter={"source_hidden": True}),
        new_cell("code", "from segedu.teaching import check", "check"),
    ]
    for task, each in pieces:
        key = task.name
        cells.append(new_cell("markdown", f"## {each.title}", f"{key} title"))
        for language, text in each.question.items():
            cell = new_cell("markdown", text, f"{key} {language}", tags=[f"lang-{language}"])
            cells.append(cell)
        if each.context:
            cells.append(new_cell("code", f"{CONTEXT}\n{each.context}", f"{key} context"))
        code = f"{each.given}\n{_solution(each) if solutions else STUB}"
        cells.append(new_cell("code", code, key, nbgrader=_nbgrader(key, solution=True)))
        if task.by_person:
            text = f"{task.rubric['en']}\n\n{task.rubric['zh']}" if solutions else PLACE
            grade = _nbgrader(f"{key}-words", solution=True, grade=True, points=task.points)
            cells.append(new_cell("markdown", text, f"{key} words", nbgrader=grade))
        grade = _nbgrader(f"{key}-check", grade=True, points=0 if task.by_person else task.points)
        check = task.check.removesuffix("\nassert verdict") if task.by_person else task.check
        cells.append(new_cell("code", check, f"{key} check", nbgrader=grade))
    return new_notebook(cells)


def _solution(each: Posed) -> str:
    *lines, last = each.shortest_solution.split("\n")
    answer = ast.unparse(ast.parse(last).body[0].value.args[1])
    if each.answer.isidentifier() and answer != each.answer:
        lines.append(f"{each.answer} = {answer}")
    return "\n".join(["### BEGIN SOLUTION", *lines, "### END SOLUTION"])


def _nbgrader(
    key: str, *, solution: bool = False, grade: bool = False, points: float | None = None
) -> dict[str, Any]:
    kind = {"schema_version": 3, "grade_id": key, "solution": solution, "grade": grade}
    kind |= {"locked": grade and not solution, "task": False}
    return kind | ({} if points is None else {"points": points})
