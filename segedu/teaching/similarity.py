"""Answers that are alike: a hint for a person, never a grade."""

import io
import keyword
import tokenize
from collections.abc import Mapping

LEAST = 40  # tokens: shorter answers are alike by themselves
_LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip


def alike(answers: Mapping[str, str]) -> list[list[str]]:
    """Students whose code is the same but for names, comments and layout.

    It is only cut into tokens, not parsed: strange code can stop a parser.

    Args:
        answers: source of each student's answer to one exercise. What is short is left out.

    Returns:
        Groups of two students and more, sorted.

    Example:
        >>> long = "total = 0\\nfor i in range(9):\\n    total += i * i + 2 * i - 1\\n" * 3
        >>> alike({"ann": long, "bob": long.replace("total", "s"), "eve": "total = 1"})
        [['ann', 'bob']]
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for student, source in sorted(answers.items()):
        if shape := _shape(source):
            groups.setdefault(shape, []).append(student)
    return sorted(group for group in groups.values() if len(group) > 1)


def _shape(source: str) -> tuple[str, ...]:
    """The tokens, names numbered as they appear; nothing if there are few, or no Python."""
    shape, numbers = [], {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                shape.append(f"name {numbers.setdefault(token.string, len(numbers))}")
            elif token.type not in _LAYOUT:
                shape.append(token.string)
    except (tokenize.TokenError, SyntaxError):
        return ()
    return tuple(shape) if len(shape) >= LEAST else ()
