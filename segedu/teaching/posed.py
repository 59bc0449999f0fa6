"""Exercises as a chapter poses them: question, stub, rubric, and the code they stand on."""

import ast
import dis
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

from segedu.languages import LANGUAGES, Language
from segedu.tools.copy_chapter import ANSWER

CHECK = re.compile(r'^check\("([a-z0-9-]+-\d+)", (.+)\)$', re.MULTILINE)
_WORDS = re.compile(r"</?details>|<summary>.*?</summary>")


@dataclass(frozen=True)
class Posed:
    """An exercise of a chapter.

    Attributes:
        name: as `segedu.teaching.check` knows it.
        title: ``English ｜ 中文``, with the difficulty.
        question: with its hint, per language.
        rubric: the answer in words, per language.
        given: what stands in the exercise's cell before the check: the stub, and data.
        answer: the expression that is checked, mostly ``answer``.
        solution: source of the solution without its check.
        context: what the solution reads of the chapter, in the chapter's order.
        shortest_solution: the solution without what it only shows.
    """

    name: str
    title: str
    question: Mapping[Language, str]
    rubric: Mapping[Language, str]
    given: str
    answer: str
    solution: str
    context: str
    shortest_solution: str


def posed(chapter: Mapping[str, Any]) -> dict[str, Posed]:
    """The exercises of a chapter's notebook, by name."""
    found = {}
    before: list[str] = []  # the code that stands before the exercises
    title, prose = "", {}
    cells = iter(chapter["cells"])
    for cell in cells:
        text, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "markdown":
            if text.startswith("### "):
                title, prose = text.removeprefix("### "), {}
            for language in LANGUAGES:
                if f"lang-{language}" in tags:
                    prose[language] = text
        elif "exercise" in tags:
            name, answer = CHECK.search(text).groups()
            solution = "".join(next(cells)["source"])  # gates hold that it follows
            given, shortest = CHECK.sub("", text).strip(), _asked(solution)
            found[name] = Posed(
                name,
                title,
                {language: ANSWER.sub("", text) for language, text in prose.items()},
                {language: _rubric(text) for language, text in prose.items()},
                given,
                answer,
                solution,
                needed(before, f"{given}\n{shortest}"),
                shortest,
            )
        elif cell["cell_type"] == "code" and "setup" not in tags:
            before.append(text)
    return found


def _rubric(text: str) -> str:
    return _WORDS.sub("", "".join(ANSWER.findall(text))).strip()


def _asked(solution: str) -> str:
    """Of a solution its check and what that reads; the rest shows what one can do with it."""
    *body, last = ast.parse(_plain(solution)).body
    check = ast.unparse(last)
    return f"{needed([ast.unparse(ast.Module(body, []))], check)}\n{check}".strip()


def needed(cells: Sequence[str], code: str) -> str:
    """Of ``cells`` all imports, and the statements that make what ``code`` reads.

    A statement counts as making a name if it binds it, stores in it, or calls a method of it;
    ``loss.backward()`` counts for all names, as it fills gradients out of sight.
    """
    statements = [statement for source in cells for statement in _statements(source)]
    loads, stores = _names(ast.parse(_plain(code)))
    wanted = loads - stores
    imports = [statement for statement in statements if statement.is_import]
    modules = set().union(*(statement.stores for statement in imports))
    kept = []
    for statement in reversed(statements):
        changed = statement.changes - modules
        if statement.is_import:
            kept.append(statement)
        elif wanted & (statement.stores | changed) or (
            wanted - modules and statement.fills_gradients
        ):
            kept.append(statement)
            if not statement.is_augmented:
                wanted -= statement.stores - changed  # bound here, not before
            wanted |= statement.loads
    # Each once: chapters repeat an import where it is needed.
    return "\n".join(dict.fromkeys(statement.source for statement in reversed(kept)))


@dataclass(frozen=True)
class _Statement:
    """A statement at the top of a cell: its source, and what it does to names."""

    source: str
    loads: frozenset[str]
    stores: frozenset[str]
    changes: frozenset[str]
    is_import: bool
    is_augmented: bool
    fills_gradients: bool


@cache  # each exercise of a chapter asks for the same cells
def _statements(cell: str) -> tuple[_Statement, ...]:
    lines = cell.split("\n")
    return tuple(_statement(lines, node) for node in ast.parse(_plain(cell)).body)


def _statement(lines: Sequence[str], node: ast.stmt) -> _Statement:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return _Statement(
        "\n".join(lines[first - 1 : node.end_lineno]),
        *_names(ast.Module([node], [])),
        _changed(node),
        isinstance(node, ast.Import | ast.ImportFrom),
        isinstance(node, ast.AugAssign),
        _is_backward(node),
    )


def _plain(source: str) -> str:
    """Without the lines that only a notebook understands."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def _names(module: ast.Module) -> tuple[frozenset[str], frozenset[str]]:
    """Global names that code loads, anywhere in it, and stores; what is local does not count."""
    code = [compile(module, "cell", "exec")]
    found: dict[str, set[str]] = {"LOAD": set(), "STORE": set()}
    for part in code:
        code += [constant for constant in part.co_consts if isinstance(constant, CodeType)]
        for step in dis.get_instructions(part):
            kind, _, scope = step.opname.partition("_")
            if kind in found and scope in ("NAME", "GLOBAL"):
                found[kind].add(step.argval)
    return frozenset(found["LOAD"]), frozenset(found["STORE"])


def _is_backward(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and ".backward(" in ast.unparse(node)


def _changed(node: ast.AST) -> frozenset[str]:
    """Names whose object a statement changes: stores in it, or calls a method for its effect."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return frozenset()
    effects = isinstance(node, ast.Expr | ast.For | ast.While | ast.With | ast.If)
    found = set()
    for part in ast.walk(node):
        stores = isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store)
        calls = isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and effects
        if stores or calls:
            base = part.value if stores else part.func.value
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            if isinstance(base, ast.Name):
                found.add(base.id)
    return frozenset(found)
