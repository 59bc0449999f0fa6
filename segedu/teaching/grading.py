"""Grades: every submission runs in a sandbox, and what it hands back is judged here.

``python -m segedu.teaching grade hw1 submissions/ --out grades.csv`` also writes a page for each
student and one for the class. The rules, which the page for instructors states, are these:

- a student is the first folder below ``submissions``, or the name of a file that lies in it;
- of several notebooks of a student, the newest that holds an exercise of the assignment counts;
  its own name does not matter;
- a notebook without any exercise of the assignment gets 0, and so does one that cannot be read;
- late is marked, not punished;
- an exercise gets all its points or none: its answer must be right on the inputs that `check`
  shows and on those of the secret; where its cell is missing, it gets 0;
- checks in a submission are not run: those of the assignment count, edited or not.
"""

import codecs
import csv
import html
import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from segedu import page
from segedu.files import write_text
from segedu.languages import halves
from segedu.teaching.assignment import Assignment, Task
from segedu.teaching.checking import Exercise, Verdict, hidden_inputs, judged
from segedu.teaching.posed import CHECK
from segedu.teaching.sandbox import Limits, Sandbox, SandboxError
from segedu.teaching.similarity import alike

SETUP = "import importlib.metadata, importlib.util, os"  # this cell would install segedu
ROUNDS = 3  # of hidden inputs
LARGEST = 20 * 2**20  # bytes of a notebook
HIDDEN = "Right on the inputs shown, wrong on others. ｜ 对给出的输入正确，对其他输入不正确。"
GONE = "The submission was stopped: {} ｜ 提交的程序被终止：{}"
NO_CELL = "The cell of this exercise is missing. ｜ 缺少这道题的单元格。"
ALIKE = (
    "A hint, no proof: short answers are often alike, and the book's solution is public. ｜ "
    "这只是提示，不是证据：简短的答案往往相同，而且本书的参考答案是公开的。"
)
TO_READ = "A person reads this answer. ｜ 由教师批阅。"


@dataclass(frozen=True)
class Result:
    """What one exercise got; ``points`` is None where a person decides."""

    task: Task
    points: float | None
    message: str


@dataclass(frozen=True)
class Grade:
    """What one student got; notes are ``English ｜ 中文``."""

    student: str
    results: Sequence[Result]
    notes: Sequence[str]
    language: str
    seconds: float
    answers: Mapping[str, str] = field(default_factory=dict)  #: source of the cell of each exercise

    @property
    def points(self) -> float:
        """Points of the exercises that need no person."""
        return sum(result.points or 0 for result in self.results)


@dataclass(frozen=True)
class Submission:
    """The notebook of a student that counts, if there is one."""

    student: str
    notebook: Mapping[str, Any]
    notes: Sequence[str]


# ---- which notebook counts


def collect(assignment: Assignment, folder: Path, due: datetime | None = None) -> list[Submission]:
    """The submission of each student, by the rules of this module.

    Raises:
        FileNotFoundError: there is no notebook in ``folder``.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.ipynb")):
        parts = path.relative_to(folder).parts
        if ".ipynb_checkpoints" not in parts and path.resolve().is_relative_to(folder.resolve()):
            student = parts[0] if len(parts) > 1 else path.stem
            found.setdefault(student, []).append(path)
    if not found:
        raise FileNotFoundError(f"no notebook in {folder}")
    return [_counting(assignment, *item, due) for item in sorted(found.items())]


def _counting(
    assignment: Assignment, student: str, paths: Sequence[Path], due: datetime | None
) -> Submission:
    newest = sorted(paths, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)
    names = {task.name for task in assignment.tasks}
    for path in newest:
        notebook, why = _read(path)
        if not why and not names & {key.removesuffix("-check") for key, _ in _keys(notebook)}:
            why = "it holds no exercise of this assignment ｜ 其中没有本次作业的题目"
        if why:
            continue
        notes = []
        if path.stem != assignment.name:
            notes.append(f"the file is called {path.name} ｜ 文件名为 {path.name}")
        if len(paths) > 1:
            notes.append(
                f"{path.name}, the newest of {len(paths)} notebooks, counts ｜ "
                f"{len(paths)} 个 notebook 中最新的 {path.name} 有效"
            )
        written = datetime.fromtimestamp(path.stat().st_mtime)
        if due and written > due:
            when = f"{written:%Y-%m-%d %H:%M}"
            notes.append(f"late: {when} ｜ 迟交：{when}")
        return Submission(student, notebook, notes + _changed(assignment, notebook))
    english, chinese = why.split(" ｜ ")
    name = newest[-1].name
    return Submission(
        student, {"cells": []}, [f"{name} does not count: {english} ｜ {name} 无效：{chinese}"]
    )


def _read(path: Path) -> tuple[Mapping[str, Any], str]:
    """A notebook in the simplest form, or why there is none."""
    if path.stat().st_size > LARGEST:
        return {}, "it is larger than 20 MB ｜ 超过 20 MB"
    try:
        found = json.loads(path.read_bytes())
        cells = [
            {
                "cell_type": str(cell["cell_type"]),
                "source": "".join(cell["source"]),
                "nbgrader": str((cell.get("metadata") or {}).get("nbgrader", {}).get("grade_id")),
            }
            for cell in found["cells"]
        ]
        language = str(found.get("metadata", {}).get("segedu", {}).get("language"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}, "it is not a notebook ｜ 不是 notebook"
    return {"cells": cells, "language": language if language in ("en", "zh") else "both"}, ""


def _keys(notebook: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """What cells belong to: ``NAME`` for an answer, ``NAME-check`` for a check, and their place."""
    for place, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            checked = CHECK.search(cell["source"].replace("verdict = ", ""))
            if cell["nbgrader"] != "None":
                yield cell["nbgrader"], place
            elif checked:  # where an editor has lost the metadata
                yield f"{checked[1]}-check", place


def _changed(assignment: Assignment, notebook: Mapping[str, Any]) -> list[str]:
    there, sources = dict(_keys(notebook)), notebook["cells"]
    edited = []
    for task in assignment.tasks:
        place = there.get(f"{task.name}-check")
        if place is not None and not task.by_person and not task.own:
            ours = [line for line in task.check.split("\n") if line.startswith("verdict")]
            if any(line not in sources[place]["source"] for line in ours):
                edited.append(task.name)
    if not edited:
        return []
    names = ", ".join(edited)
    return [f"edited checks, which did not count: {names} ｜ 检查被改动，未采用：{names}"]


# ---- what it gets


def grade(
    assignment: Assignment,
    submission: Submission,
    limits: Limits,
    *,
    container: tuple[str, ...] = (),
    trust: bool = False,
) -> Grade:
    """Run a submission and judge its answers.

    Hidden inputs come last, when all that the student is told stands, and of them only right or
    wrong is kept. So a submission cannot tell what it has seen.

    Args:
        assignment: what is graded.
        submission: of one student.
        limits: what it may use.
        container, trust: as for `Sandbox`.
    """
    start = time.monotonic()
    there = dict(_keys(submission.notebook))  # of equal keys the last one counts
    cells = submission.notebook["cells"]
    checks = {place for key, place in there.items() if key.endswith("-check")}
    code = {n: cell["source"] for n, cell in enumerate(cells) if n not in checks}
    code = {n: text for n, text in code.items() if cells[n]["cell_type"] == "code"}
    places = {}
    for task in assignment.tasks:
        place = there.get(f"{task.name}-check", there.get(task.name))
        if place is not None and not task.by_person:
            places[task.name] = place

    tasks = [(places[task.name], task) for task in assignment.tasks if task.name in places]
    shown: dict[str, Verdict] = {}
    hidden: dict[str, bool] = {}
    if tasks:
        with Sandbox(limits, container=container, trust=trust) as box:
            shown = _judge(assignment, box, code, tasks)
            right = [(place, task) for place, task in tasks if shown[task.name]]
            hidden = _judge_hidden(assignment, box, [task for _, task in right])
        rest = [(place, task) for place, task in right if task.name not in hidden]
        if rest:  # it is gone; what was right before gets another one
            with Sandbox(limits, container=container, trust=trust) as box:
                _judge(assignment, box, code, rest)
                hidden |= _judge_hidden(assignment, box, [task for _, task in rest])
    results = []
    for task in assignment.tasks:
        if task.by_person:
            results.append(Result(task, None, TO_READ))
        elif task.name not in shown:
            results.append(Result(task, 0.0, NO_CELL))
        else:
            verdict = shown[task.name]
            if verdict and not hidden.get(task.name):
                verdict = Verdict(False, HIDDEN)  # and nothing of the inputs
            results.append(Result(task, task.points if verdict else 0.0, verdict.message))
    language = submission.notebook.get("language", "both")
    seconds = time.monotonic() - start
    sources = {name: cells[place]["source"] for name, place in there.items()}
    answers = {task.name: sources[task.name] for task in assignment.tasks if task.name in sources}
    return Grade(submission.student, results, submission.notes, language, seconds, answers)


def _judge(
    assignment: Assignment, box: Sandbox, code: Mapping[int, str], tasks: Sequence[tuple[int, Task]]
) -> dict[str, Verdict]:
    """Run a notebook's code (place -> source); judge each task when its place is reached."""
    verdicts: dict[str, Verdict] = {}
    try:
        for place in range(max(place for place, _ in tasks) + 1):
            if place in code and SETUP not in code[place]:
                box.run(code[place])
            for task in (task for at, task in tasks if at == place):
                verdicts[task.name] = _verdict(assignment.exercise(task), _answer(box, task))
                box.keep(task.name)
    except SandboxError as error:
        for _, task in tasks:
            verdicts.setdefault(task.name, Verdict(False, GONE.format(error, error)))
    return verdicts


def _judge_hidden(assignment: Assignment, box: Sandbox, tasks: Sequence[Task]) -> dict[str, bool]:
    """Whether answers are right on hidden inputs, as far as the sandbox lasts."""
    right: dict[str, bool] = {}
    for task in tasks:
        if box.failure:
            break
        try:
            box.restore(task.name)
            answer = _answer(box, task)
            for number in range(ROUNDS if callable(answer) else 1):
                with hidden_inputs(f"{assignment.secret} {number}"):
                    found = bool(_verdict(assignment.exercise(task), answer))
                    right[task.name] = right.get(task.name, True) and found
        except SandboxError:
            right[task.name] = False
    return right


def _answer(box: Sandbox, task: Task) -> Any:
    try:
        return box.get(task.answer)
    except SandboxError:
        raise
    except Exception:  # it was never defined, or is nothing that can be sent
        return None


def _verdict(exercise: Exercise, answer: Any) -> Verdict:
    """As `check` gives it; a sandbox that breaks down meanwhile is no answer."""
    gone = []

    def watched(*arguments: Any) -> Any:
        try:
            return answer(*arguments)
        except SandboxError as error:
            gone.append(error)
            raise

    verdict = judged(exercise, watched if callable(answer) else answer)
    if gone:
        raise gone[0]
    return verdict


def grade_all(
    assignment: Assignment,
    submissions: Sequence[Submission],
    limits: Limits,
    *,
    jobs: int = 2,
    container: tuple[str, ...] = (),
    trust: bool = False,
) -> list[Grade]:
    """Grades of all submissions, ``jobs`` at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [
            pool.submit(grade, assignment, each, limits, container=container, trust=trust)
            for each in submissions
        ]
        return [future.result() for future in futures]


# ---- what is written


def write_grades(assignment: Assignment, grades: Sequence[Grade], out: Path) -> None:
    """Write the table, a page for each student, and one for the class, beside each other.

    Args:
        assignment: what was graded.
        grades: of all students.
        out: the table, a CSV file; pages go to the folder ``NAME-feedback`` beside it.
    """
    names = [task.name for task in assignment.tasks]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["student", *names, "points", "of", "notes"])
    total = sum(task.points for task in assignment.tasks)
    for each in grades:
        points = ["" if result.points is None else f"{result.points:g}" for result in each.results]
        notes = "; ".join(note.split(" ｜ ")[0] for note in each.notes)
        cells = [each.student, *points, f"{each.points:g}", f"{total:g}", notes]
        writer.writerow([_harmless(cell) for cell in cells])
    # Spreadsheets read Chinese names behind the mark.
    write_text(out, codecs.BOM_UTF8.decode() + table.getvalue())
    folder = out.with_name(f"{out.stem}-feedback")
    for number, each in enumerate(grades, start=1):
        write_text(folder / f"{number:03d}-{_file_name(each.student)}.html", feedback(each))
    write_text(folder / "summary.html", summary(assignment, grades))


def _harmless(cell: str) -> str:
    """No formula for a spreadsheet."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _file_name(student: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in student)[:60]


def feedback(grade: Grade) -> str:
    """A student's page, in the language of the notebook that was handed in."""
    reached = sum(result.task.points for result in grade.results if result.points is not None)
    parts = [f"<p><strong>{grade.points:g} / {reached:g}</strong></p>"]
    parts += [_said(note, grade.language) for note in grade.notes]
    for result in grade.results:
        got = "…" if result.points is None else f"{result.points:g}"
        title = _in(result.task.title, grade.language)
        parts.append(f"<h2>{title}: {got} / {result.task.points:g}</h2>")
        parts.append(_said(result.message, grade.language))
    return page.page(grade.student, parts)


def _in(text: str, language: str) -> str:
    split = halves(text)
    chosen = text if split is None or language == "both" else split[language]
    return html.escape(chosen)


def _said(text: str, language: str) -> str:
    return f"<p>{_in(text, language)}</p>"


def summary(assignment: Assignment, grades: Sequence[Grade]) -> str:
    """The class: how many solved each exercise, and what a person must still read."""
    parts = [f"<p>{len(grades)}</p>"]
    rows = []
    for place, task in enumerate(assignment.tasks):
        points = [each.results[place].points for each in grades]
        solved = sum(bool(p) for p in points)
        title = html.escape(task.title)
        if task.by_person:
            rubric = "".join(f"<p>{html.escape(text)}</p>" for text in task.rubric.values())
            rows.append(f"<tr><td>{title}</td><td>{rubric}</td><td>…</td></tr>")
        else:
            share = solved / max(1, len(grades))
            bar = (
                f"<div style='width:12rem;background:var(--line)'><div style='width:{share:.0%};"
                "background:var(--edge);height:.8rem'></div></div>"
            )
            rows.append(f"<tr><td>{title}</td><td>{bar}</td><td>{solved}</td></tr>")
    parts.append(f"<div class='wide'><table>{''.join(rows)}</table></div>")
    parts += _alike(assignment, grades)
    return page.page(f"{assignment.name}: the class ｜ {assignment.name}：全班", parts)


def _alike(assignment: Assignment, grades: Sequence[Grade]) -> list[str]:
    """Exercises to which several students gave the same code."""
    rows = []
    for task in assignment.tasks:
        answers = {each.student: each.answers.get(task.name, "") for each in grades}
        title = html.escape(task.title)
        rows += [
            f"<tr><td>{title}</td><td>{html.escape(', '.join(group))}</td></tr>"
            for group in alike(answers)
        ]
    if not rows:
        return []
    return [
        page.heading("Alike but for names and comments ｜ 除名称与注释外相同的代码"),
        page.paragraphs(ALIKE),
        f"<div class='wide'><table>{''.join(rows)}</table></div>",
    ]
