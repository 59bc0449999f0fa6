"""Exercises as a chapter poses them: question, stub, rubric, and the code they stand on."""

import ast
import dis
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    parsed = [(source.split("\n"), ast.parse(_plain(source)).body) for source in cells]
    statements = [(lines, node) for lines, body in parsed for node in body]
    own = ast.parse(_plain(code))
    wanted = _names(own, "LOAD") - _names(own, "STORE")
    imports = [node for _, node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = set().union(*(_names(node, "STORE") for node in imports))
    kept = []
    for lines, node in reversed(statements):
        changed = _changed(node) - modules
        if node in imports:
            kept.append((lines, node))
        elif wanted & (_names(node, "STORE") | changed) or (
            wanted - modules and _is_backward(node)
        ):
            kept.append((lines, node))
            if not isinstance(node, ast.AugAssign):
                wanted -= _names(node, "STORE") - changed  # bound here, not before
            wanted |= _names(node, "LOAD")
    chosen: dict[str, None] = {}  # each once: chapters repeat an import where it is needed
    for lines, node in reversed(kept):
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        chosen["\n".join(lines[first - 1 : node.end_lineno])] = None
    return "\n".join(chosen)


def _plain(source: str) -> str:
    """Without the lines that only a notebook understands."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def _names(node: ast.AST, kind: str) -> set[str]:
    """Global names that code loads, anywhere in it, or stores; what is local does not count."""
    body = node.body if isinstance(node, ast.Module) else [node]
    code = [compile(ast.Module(body, []), "cell", "exec")]
    found = set()
    for part in code:
        code += [constant for constant in part.co_consts if isinstance(constant, CodeType)]
        for step in dis.get_instructions(part):
            if step.opname in (f"{kind}_NAME", f"{kind}_GLOBAL"):
                found.add(step.argval)
    return found


def _is_backward(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and ".backward(" in ast.unparse(node)


def _changed(node: ast.AST) -> set[str]:
    """Names whose object a statement changes: stores in it, or calls a method for its effect."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return set()
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
    return found
