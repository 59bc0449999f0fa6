"""Exercises as chapters pose them: their solutions are right, and stay so with hidden inputs."""

import json
import os
from functools import cache
from pathlib import Path

import pytest

from segedu.teaching.checking import chapters, check, drawn, exercises, find, hidden_inputs
from segedu.teaching.posed import Posed, needed, posed

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
NAMES = [f"{chapter}-{number}" for chapter in chapters() for number in exercises(chapter)]
GRADABLE = [name for name in NAMES if not find(name).by_person]


@cache  # not when tests are collected, which every process does
def every() -> dict[str, Posed]:
    """The exercises of the book, by name."""
    notebooks = [json.loads(path.read_text("utf-8")) for path in sorted(CHAPTERS.glob("*/*.ipynb"))]
    return {name: each for notebook in notebooks for name, each in posed(notebook).items()}


def solved(name: str):
    """The answer of an exercise's solution."""
    handed_in, exercise = [], every()[name]
    names = {"display": lambda *shown: None}
    exec(exercise.context, names)
    names["check"] = lambda name, answer: handed_in.append(answer)
    exec(exercise.given, names)
    exec(exercise.shortest_solution, names)
    return handed_in[-1]


def test_at_least_sixty_exercises_are_gradable():
    assert len(GRADABLE) >= 60
    assert set(NAMES) == set(every())


def test_every_exercise_has_what_an_assignment_needs():
    for name, each in every().items():
        for language in ("en", "zh"):
            assert each.rubric[language] and "<" not in each.rubric[language][:8], name
            assert each.rubric[language] not in each.question[language], name
        assert "..." in each.given and " ｜ " in each.title, name
        assert len(each.context.split("\n")) <= 60, f"{name} needs a training"


@pytest.mark.parametrize("name", GRADABLE)
def test_solutions_are_right_whatever_the_inputs(name):
    os.environ.setdefault("MPLBACKEND", "agg")
    answer = solved(name)
    assert check(name, answer)
    if not callable(answer):
        return
    seen = []
    for secret in ("a", "b"):
        calls = []
        with hidden_inputs(secret):
            assert check(name, lambda *case, calls=calls: calls.append(str(case)) or answer(*case))
        seen.append(calls)
    assert seen[0] != seen[1], "the check must draw some inputs from `drawn`"


def test_a_reader_always_gets_the_same_inputs():
    first = drawn(3).initial_seed()
    assert first == drawn(3).initial_seed() == 3
    with hidden_inputs("x"):
        hidden = drawn(3).initial_seed(), drawn(4).initial_seed()
    with hidden_inputs("y"):
        assert hidden[0] != drawn(3).initial_seed()
    assert hidden[0] != hidden[1] and drawn(3).initial_seed() == 3


def test_only_what_code_reads_is_kept():
    cells = [
        "import math\nfrom time import sleep",
        "a = 1\nb = 2\n%matplotlib inline\ndef f(x):\n    return x + b",
        "c = [a]\nc.append(3)\nd = math.pi\nsleep(9)",
        "rows = {}\nfor k in range(2):\n    rows[k] = f(k)",
    ]
    imports = "import math\nfrom time import sleep"
    assert needed(cells, "print(d)") == f"{imports}\nd = math.pi"
    assert needed(cells, "c") == f"{imports}\na = 1\nc = [a]\nc.append(3)"
    assert needed(cells, "rows") == "\n".join(
        [imports, "b = 2", "def f(x):\n    return x + b", "rows = {}", cells[3].split("\n", 1)[1]]
    )
    assert needed(cells, "a = 5\ndef g(c):\n    return c + a") == imports
