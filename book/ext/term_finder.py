"""Finds terms in a text: at each place the longest of them, so that a long term hides a short one.

The terms are tried by the first letter: one alternation of all takes ten times as long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def is_abbreviation(form: str) -> bool:
    """Whether an English form is written with capitals: IoU, FCN, ReLU."""
    return " " not in form and sum(char.isupper() for char in form) >= 2


def english(form: str) -> str:
    """A pattern for a form and its plural; names in capitals are matched as they are written."""
    if sum(char.isupper() for char in form) >= 2:
        return re.escape(form)
    return f"(?i:{re.escape(form)}(?:s|es)?)"


def chinese(form: str) -> str:
    """A pattern for a form: 图像分类器 is a classifier, not a classification."""
    return f"{re.escape(form)}(?!器)"


class TermFinder(Generic[T]):
    """Finds forms, each of which means something.

    Args:
        forms: form and meaning, e.g. an entry of the terminology.
        pattern: `english` or `chinese`; English forms are whole words.
    """

    def __init__(self, forms: dict[str, T], pattern: Callable[[str], str]) -> None:
        before, after = (r"(?<![\w-])", r"(?![\w-])") if pattern is english else ("", "")
        by_letter: dict[str, list[str]] = {}
        for form in sorted(forms, key=lambda form: (-len(form), form)):
            by_letter.setdefault(form[0].lower(), []).append(form)
        letters = "".join(map(re.escape, by_letter))
        self._start = re.compile(f"{before}[{letters}]", re.I)
        self._patterns: dict[str, tuple[re.Pattern[str], list[T]]] = {}
        for letter, group in by_letter.items():
            numbered = "|".join(f"({pattern(form)})" for form in group)
            meanings = [forms[form] for form in group]
            self._patterns[letter] = re.compile(f"(?:{numbered}){after}"), meanings

    def finditer(self, text: str) -> Iterator[tuple[re.Match[str], T]]:
        """The terms of a text from left to right, without overlap: (match, meaning)."""
        end = 0
        for start in self._start.finditer(text):
            pattern, meanings = self._patterns[start[0].lower()]
            if start.start() >= end and (match := pattern.match(text, start.start())):
                yield match, meanings[match.lastindex - 1]
                end = match.end()
