"""Takes the Markdown of the chapters apart: words, formulas, code, links, citations."""

import re
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "book" / "ext"))

from term_finder import TermFinder, english, is_abbreviation  # noqa: E402

HAN = r"\u3400-\u4dbf\u4e00-\u9fff"

_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.M | re.S)
_CODE = re.compile(r"(?P<ticks>`+)(?P<body>.+?)(?P=ticks)")
_DISPLAY = re.compile(r"\$\$(?P<body>.+?)\$\$", re.S)
_INLINE = re.compile(r"(?<![\\$])\$(?!\s)(?P<body>[^$\n]+?)(?<!\s)\$(?!\d)")
_COMMENT = re.compile(r"<!--(?P<body>.*?)-->", re.S)
_CITATION = re.compile(r"\[(?P<body>@[\w:.+/-]+(?:\s*;\s*@[\w:.+/-]+)*)\]")
# ([Long et al., 2015](../../book/bibliography.md#long2015fcn)): a link in a notebook, a citation here
CITED = re.compile(r"\[([^\]\n]+)\]\([^)\s]*bibliography\.md#([\w:.+/-]+)\)")
_CITED = rf"{CITED.pattern}(?:[;；] ?{CITED.pattern})*"
_REFERENCE = re.compile(rf"[(（]{_CITED}[)）]|{_CITED}")
_LINK = re.compile(r"!?\[(?P<text>[^\]\n]*)\]\((?P<body>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_AUTOLINK = re.compile(r"<(?P<body>https?://[^>\s]+)>")
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[,，]\d{3})*(?:\.\d+)?")

# What stands in the remaining text for formulas, code and citations, so that spacing can be judged.
FORMULA, IDENTIFIER, CITATION = "\ue000", "\ue001", "\ue002"


def squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)


@dataclass
class Prose:
    """One piece of Markdown, taken apart."""

    text: str  # words and punctuation; formulas, code and citations are one private character each
    formulas: set[str] = field(default_factory=set)
    code: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    citations: set[str] = field(default_factory=set)

    @property
    def numbers(self) -> set[str]:
        """Numbers in the text, thousands separators removed."""
        plain = self.text.replace("−", "-")
        return {re.sub("[,，]", "", n) for n in _NUMBER.findall(plain)}

    @property
    def han(self) -> int:
        """Number of Chinese characters."""
        return len(re.findall(f"[{HAN}]", self.text))

    @property
    def words(self) -> int:
        """Number of words of Latin script."""
        return len(re.findall(r"[A-Za-zÀ-ž][\w’'-]*", self.text))


@cache
def parse(markdown: str) -> Prose:
    """Take Markdown apart; code first, so that nothing inside it is read as anything else.

    Remembered, as most gates ask for the same cells.
    """
    found: dict[str, set[str]] = {
        "formulas": set(),
        "code": set(),
        "links": set(),
        "citations": set(),
    }

    def take(kind: str, pattern: re.Pattern[str], replacement: str, text: str) -> str:
        def swap(match: re.Match[str]) -> str:
            pieces = match["body"].split(";") if kind == "citations" else [match["body"]]
            found[kind].update(squeeze(piece) for piece in pieces)
            return match.expand(replacement)

        return pattern.sub(swap, text)

    text = take("code", _FENCE, IDENTIFIER, markdown)
    text = take("code", _CODE, IDENTIFIER, text)
    text = _COMMENT.sub("", text)
    text = take("formulas", _DISPLAY, FORMULA, text)
    text = take("formulas", _INLINE, FORMULA, text)
    text = take("citations", _CITATION, CITATION, text)
    found["citations"] |= {f"@{key}" for _, key in CITED.findall(text)}
    text = _REFERENCE.sub(CITATION, text)
    text = take("links", _LINK, r"\g<text>", text)
    text = take("links", _AUTOLINK, "", text)
    text = _TAG.sub("", text)
    text = re.sub(r"\*\*|__|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)", "", text)
    return Prose(text=text, **found)


@dataclass(frozen=True)
class Term:
    """An entry of book/terminology.yml as the gate needs it."""

    id: str
    en: str
    zh: str
    forms: tuple[str, ...]  # English forms, longest first
    translations: tuple[str, ...]
    everyday: bool


@cache
def terms() -> tuple[Term, ...]:
    """The terms of the book."""
    entries = yaml.safe_load((ROOT / "book" / "terminology.yml").read_text(encoding="utf-8"))
    return tuple(
        Term(
            id=entry["id"],
            en=entry["en"],
            zh=entry["zh"],
            forms=tuple(sorted([entry["en"], *entry.get("en_forms", [])], key=len, reverse=True)),
            translations=(entry["zh"], *entry.get("zh_also", [])),
            everyday=entry.get("everyday", False),
        )
        for entry in entries
    )


@cache
def _finder() -> TermFinder[Term]:
    return TermFinder({form: term for term in terms() for form in term.forms}, english)


def terms_in(text: str) -> dict[str, Term]:
    """The terms that an English text mentions, by the words it uses."""
    return {match[0]: term for match, term in _finder().finditer(re.sub(r"\s+", " ", text))}


def untranslated(english: str, chinese: str) -> list[str]:
    """Terms of the English text whose translation is missing from the Chinese one."""
    chinese = squeeze(chinese)
    problems = []
    for words, term in terms_in(english).items():
        accepted = [squeeze(zh) for zh in term.translations]
        accepted += [form for form in term.forms if is_abbreviation(form)]
        if not term.everyday and not any(zh in chinese for zh in accepted):
            problems.append(f"{words!r} must be {' or '.join(term.translations)}")
    return problems
