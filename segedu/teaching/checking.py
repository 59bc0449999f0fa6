"""Checks of exercises that say right, or what is wrong, and never the solution.

``check("my-chapter-2", answer)`` looks up exercise 2 in ``segedu/teaching/checks/my_chapter.py``,
which ``python -m segedu.tools.new_chapter`` begins: a module with one function per exercise::

    @exercise(2, wrong=[4, 180])
    def crop_of_a_skip(answer):
        expect_number(answer, 188, near={180: "… ｜ …"})

Messages are written ``English ｜ 中文``; each edition of the book shows its half.

A check that calls a function draws inputs from `drawn`: always the same for a reader, others for
an instructor who grades with `hidden_inputs`. An exercise whose check needs more than arrays and
numbers (a network with its hooks, a file) is marked ``by_person``: a person reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import math
import pkgutil
import re
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu.languages import BAR

if TYPE_CHECKING:
    import torch

RIGHT = "Right. ｜ 正确。"
UNANSWERED = "Not answered yet. ｜ 还没有作答。"
NOTHING = "the function returns nothing ｜ 函数没有返回结果"


class WrongAnswerError(Exception):
    """An answer is not right; the message says what is wrong, in both languages."""


@dataclass(frozen=True)
class Exercise:
    """How an exercise is judged.

    Attributes:
        number: of the exercise in its chapter.
        judge: raises `WrongAnswerError`, or returns where the answer is right.
        wrong: typical wrong answers, which tests hand in.
        by_person: a grade needs a person; else `judge` decides on arrays and numbers alone.
    """

    number: int
    judge: Callable[[Any], None]
    wrong: Sequence[Any]
    by_person: bool = False


@dataclass(frozen=True, repr=False)
class Verdict:
    """What `check` found; true where the answer is right. A notebook shows its message."""

    right: bool
    message: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'✓' if self.right else '×'} {self.message}"

    def _repr_html_(self) -> str:
        english, _, chinese = (escape(part.strip()) for part in self.message.partition(BAR))
        sign, kind = ("✓", "right") if self.right else ("×", "wrong")
        return (
            f'<p class="segedu-check segedu-{kind}">{sign} '
            f'<span class="lang-en" lang="en">{english}</span> '
            f'<span class="lang-bar">{BAR}</span> '
            f'<span class="lang-zh" lang="zh-CN">{chinese}</span></p>'
        )


def exercise(
    number: int, wrong: Sequence[Any] = (), *, by_person: bool = False
) -> Callable[[Callable], Exercise]:
    """Decorator: makes an `Exercise` of a function that raises what is wrong with an answer."""
    return lambda judge: Exercise(number, judge, wrong, by_person)


def check(name: str, answer: Any) -> Verdict:
    """Judge the answer to an exercise.

    Args:
        name: chapter and number, such as ``"my-chapter-2"``.
        answer: what the exercise asks for; ``...`` and ``None`` count as not answered.

    Returns:
        A verdict that a notebook shows as one line in both languages.

    Raises:
        ValueError: there is no such exercise.
    """
    return judged(find(name), answer)


def judged(exercise: Exercise, answer: Any) -> Verdict:
    """As `check`, for an exercise that stands elsewhere."""
    if answer is None or answer is ...:
        return Verdict(False, UNANSWERED)
    try:
        exercise.judge(answer)
    except WrongAnswerError as error:
        return Verdict(False, f"Not yet: {_first(error)} {BAR} 还不对：{_second(error)}")
    except Exception as error:  # whatever the reader's code raises is an answer, too
        kind = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        return Verdict(
            False, f"Not yet: your answer raised {kind} {BAR} 还不对：你的答案报错 {kind}"
        )
    return Verdict(True, RIGHT)


def find(name: str) -> Exercise:
    """The exercise that is called ``name``.

    Raises:
        ValueError: there is none.
    """
    match = re.fullmatch(r"([a-z0-9-]+)-(\d+)", name)
    known = chapters()
    if not known:
        raise ValueError(f"no chapter has exercises to check yet, got {name!r}")
    if not match or match[1] not in known:
        raise ValueError(f"name must be CHAPTER-NUMBER with a chapter of {known}, got {name!r}")
    by_number = exercises(match[1])
    if int(match[2]) not in by_number:
        raise ValueError(f"{match[1]} has the exercises {sorted(by_number)}, got {name!r}")
    return by_number[int(match[2])]


def chapters() -> list[str]:
    """Names of the chapters whose exercises can be checked."""
    package = importlib.import_module("segedu.teaching.checks")
    return sorted(found.name.replace("_", "-") for found in pkgutil.iter_modules(package.__path__))


def exercises(chapter: str) -> dict[int, Exercise]:
    """The exercises of a chapter, by number."""
    module = importlib.import_module(f"segedu.teaching.checks.{chapter.replace('-', '_')}")
    return {e.number: e for e in vars(module).values() if isinstance(e, Exercise)}


def exercises_of_file(path: Path) -> dict[int, Exercise]:
    """The exercises of an instructor's own module of checks, by number."""
    found = runpy.run_path(str(path)).values()
    return {e.number: e for e in found if isinstance(e, Exercise)}


# ---- what the checks are written with

_secret: ContextVar[str] = ContextVar("secret", default="")


@contextlib.contextmanager
def hidden_inputs(secret: str) -> Iterator[None]:
    """Within the block, checks draw other inputs than the reader's; ``secret`` decides which."""
    token = _secret.set(secret)
    try:
        yield
    finally:
        _secret.reset(token)


def drawn(number: int) -> torch.Generator:
    """What a check draws its inputs from: ``number`` is the seed, unless inputs are hidden."""
    import torch

    seed = number
    if secret := _secret.get():
        seed = int.from_bytes(hashlib.sha256(f"{secret} {number}".encode()).digest()[:7])
    return torch.Generator().manual_seed(seed)


def expect(condition: bool, message: str) -> None:
    """Raise ``message`` (``English ｜ 中文``) unless ``condition`` holds."""
    if not condition:
        raise WrongAnswerError(message)


def expect_number(
    answer: Any,
    value: float,
    *,
    tolerance: float = 0.0,
    near: Mapping[float, str] | None = None,
) -> None:
    """Expect a number.

    Args:
        answer: what was handed in; a tensor or an array of one element is a number, too.
        value: the right one.
        tolerance: largest distance that is still right.
        near: wrong number -> what probably went wrong, ``English ｜ 中文``.
    """
    try:
        number = float(answer)
    except (TypeError, ValueError):
        raise WrongAnswerError(
            f"a number is wanted, got {type(answer).__name__} {BAR} "
            f"需要一个数，得到的是 {type(answer).__name__}"
        ) from None
    same = number == value or (math.isnan(number) and math.isnan(value))  # infinity, too
    if same or abs(number - value) <= tolerance:
        return
    for wrong, message in (near or {}).items():
        if math.isclose(number, wrong, abs_tol=tolerance):
            raise WrongAnswerError(message)
    direction = ("too large", "偏大") if number > value else ("too small", "偏小")
    if math.isnan(number):
        direction = ("not a number", "不是数")
    shown = f"{number:.0f}" if number.is_integer() else f"{number:g}"
    raise WrongAnswerError(f"{shown} is {direction[0]} {BAR} {shown} {direction[1]}")


def expect_numbers(answer: Any, count: int) -> tuple[float, ...]:
    """Expect so many numbers in a tuple, a list or the like, and return them."""
    try:
        found = tuple(float(value) for value in answer)
    except (TypeError, ValueError):
        raise WrongAnswerError(f"{count} numbers are wanted {BAR} 需要 {count} 个数") from None
    expect(
        len(found) == count,
        f"{count} numbers are wanted, got {len(found)} {BAR} "
        f"需要 {count} 个数，得到 {len(found)} 个",
    )
    return found


def expect_tensor(answer: Any, expected: Any, *, tolerance: float = 1e-6) -> None:
    """Expect a tensor or an array: the shape first, then the values (absolute ``tolerance``).

    NaN is right where NaN is expected.
    """
    import torch

    expected = torch.as_tensor(expected)
    try:
        found = torch.as_tensor(answer).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise WrongAnswerError(
            f"a tensor is wanted, got {type(answer).__name__} {BAR} "
            f"需要一个张量，得到的是 {type(answer).__name__}"
        ) from None
    shapes = tuple(found.shape), tuple(expected.shape)
    expect(
        shapes[0] == shapes[1],
        f"the shape is {shapes[0]}, wanted is {shapes[1]} {BAR} "
        f"形状是 {shapes[0]}，应为 {shapes[1]}",
    )
    near = {"rtol": 0, "atol": tolerance, "equal_nan": True}
    wrong = ~torch.isclose(found.double(), expected.double(), **near)
    where = tuple(wrong.nonzero()[0].tolist()) if wrong.any() else ()
    expect(
        not wrong.any(),
        f"{int(wrong.sum())} of {wrong.numel()} values differ, the first at {where} {BAR} "
        f"{wrong.numel()} 个值中有 {int(wrong.sum())} 个不同，第一个在 {where}",
    )


def expect_function(
    answer: Any,
    reference: Callable[..., Any],
    cases: Sequence[tuple],
    *,
    tolerance: float = 1e-6,
) -> None:
    """Expect a function that gives on every case what ``reference`` gives."""
    expect(
        callable(answer),
        f"a function is wanted, got {type(answer).__name__} {BAR} "
        f"需要一个函数，得到的是 {type(answer).__name__}",
    )
    for number, case in enumerate(cases, start=1):
        found, expected = answer(*case), reference(*case)
        expect(found is not None, NOTHING)
        try:
            if isinstance(expected, int | float):
                expect_number(found, expected, tolerance=tolerance)
            else:
                expect_tensor(found, expected, tolerance=tolerance)
        except WrongAnswerError as error:
            raise WrongAnswerError(
                f"on test input {number}{_numbers(case)}, {_first(error)} {BAR} "
                f"对第 {number} 个测试输入{_numbers(case)}，{_second(error)}"
            ) from None


def _numbers(case: tuple) -> str:
    """The arguments in brackets where they are numbers, which say more than a count."""
    return f" {case}".replace(",)", ")") if all(isinstance(x, int | float) for x in case) else ""


def _first(error: WrongAnswerError) -> str:
    return str(error).partition(BAR)[0].strip()


def _second(error: WrongAnswerError) -> str:
    return str(error).partition(BAR)[2].strip()
