"""Sphinx extension: where the chapters speak of a concept, a network, a loss or a metric.

``{subject-index} terminology.yml`` lists the terms of the glossary, and ``{subject-index}
subjects.yml`` with ``:kind: losses`` the losses of that file, with the names in the package and the
papers. Each leads to sections of the chapters, which are found in the notebooks by the names:
nothing of it is kept by hand.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from bilingual import classes_of
from contents import note_notebooks, notebooks
from docutils import nodes
from docutils.parsers.rst import directives
from glossary import first_letter, letter_links, sort_key
from mistakes import COLON, PACKAGE, short_title
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from term_finder import TermFinder, english
from yaml_file import LOADER

from segedu.languages import LANGUAGES, Language, plain

MOST = 3  # places of an entry
TITLED, EXPLAINED, HEADED = 1000, 8, 6  # what a term in a chapter's title, in bold letters or in
# another heading weighs, beside one in a text: a title outweighs all that a chapter can say
BOLD = re.compile(r"\*\*(.+?)\*\*")
HEADING = re.compile(r"#{1,3} (.+)")
ASIDE = ("Objectives", "Further reading", "Exercises")  # they name much and explain little

Entry = dict[str, Any]


class Section(NamedTuple):
    """A section of a chapter."""

    page: str  #: from the root, without ``.ipynb``
    chapter: str  #: ``English ｜ 中文``
    heading: str  #: ``English ｜ 中文``
    prose: str  #: the English half
    code: str

    def name(self, language: Language) -> str:
        """What a link to it says: ``SegNet: Two bits are enough``."""
        if self.heading == self.chapter:
            return short_title(self.chapter, language)
        return short_title(self.chapter, language) + COLON[language] + plain(self.heading, language)


def sections(root: Path) -> list[Section]:
    """The sections of all chapters that stand in ``_toc.yml``, in its order."""
    return [
        section
        for page, _, file in notebooks(root)
        for section in read(page, file.read_text(encoding="utf-8"))
    ]


@cache
def read(page: str, text: str) -> tuple[Section, ...]:
    """The sections of a notebook but for those that stand aside of its course."""
    found: list[dict[str, str]] = []
    for cell in json.loads(text)["cells"]:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code":
            if "setup" not in tags:
                found[-1]["code"] += source + "\n"
        elif match := HEADING.match(source):
            found.append({"heading": re.sub("[`*$]", "", match[1]), "prose": "", "code": ""})
        elif "lang-en" in tags:
            found[-1]["prose"] += source + "\n"
    chapter = found[0]["heading"]
    return tuple(Section(page, chapter, **s) for s in found if not s["heading"].startswith(ASIDE))


def forms(entry: Entry) -> list[str]:
    """The English forms by which a chapter may name an entry."""
    return [entry["en"], *entry.get("en_forms", []), *entry.get("also", [])]


def weights(book: Sequence[Section], entries: Sequence[Entry], *, code: bool) -> list[Counter[str]]:
    """How much each section speaks of each entry, by its English name.

    An entry whose name is also an everyday word counts only where it is explained or heads a
    section. Where `code` is true, names in code count, too.
    """
    finder = TermFinder({form: entry for entry in entries for form in forms(entry)}, english)
    result = []
    for section in book:
        found: Counter[str] = Counter()
        heading, bold = plain(section.heading, "en"), " · ".join(BOLD.findall(section.prose))
        text = section.prose + (section.code if code else "")
        headed = TITLED if section.heading == section.chapter else HEADED
        for part, weight in ((bold, EXPLAINED), (heading, headed), (text, 1)):
            for _, entry in finder.finditer(part.replace("’", "'")):
                if part is not text or not entry.get("everyday"):
                    found[entry["en"]] += weight
        result.append(found)
    return result


def places(book: Sequence[Section], score: Sequence[int]) -> list[Section]:
    """The sections with the highest scores: at most one of a chapter, in the book's order.

    Where two chapters are level, the one whose sections sum to more comes first.
    """
    total: Counter[str] = Counter()  # of each chapter
    for section, points in zip(book, score, strict=True):
        total[section.page] += points
    best: dict[str, int] = {}  # of each chapter
    for number in sorted(range(len(book)), key=lambda i: (-score[i], -total[book[i].page])):
        if score[number]:
            best.setdefault(book[number].page, number)
    return [book[number] for number in sorted([*best.values()][:MOST])]


class SubjectIndex(SphinxDirective):
    """``{subject-index} FILE``: a file of entries, relative to the page."""

    required_arguments = 1
    option_spec = {"kind": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Builds the list; with letters to jump where there is no kind."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        content = yaml.load(Path(path).read_text(encoding="utf-8"), LOADER)
        kind = self.options.get("kind")
        if kind and kind not in content:
            raise self.error(f"subject-index: no kind {kind!r}; there are: {', '.join(content)}")
        entries: list[Entry] = content[kind] if kind else content
        book = sections(Path(self.env.srcdir))
        note_notebooks(self.env)
        weight = weights(book, entries, code=kind is not None)
        found = [(e, places(book, [counts[e["en"]] for counts in weight])) for e in entries]
        return [self._list(found)] if kind else list(self._by_letter(found))

    def _list(self, found: Iterable[tuple[Entry, list[Section]]]) -> nodes.bullet_list:
        return nodes.bullet_list("", *(self._item(*one) for one in found), classes=["mistakes"])

    def _by_letter(self, found: Iterable[tuple[Entry, list[Section]]]) -> Iterator[nodes.Node]:
        """Letters to jump to, and the entries that have a place."""
        named = sorted((one for one in found if one[1]), key=lambda one: sort_key(one[0]))
        by_letter = groupby(named, lambda one: first_letter(one[0]))
        groups = [(letter, list(group)) for letter, group in by_letter]
        yield letter_links(letter for letter, _ in groups)
        for letter, group in groups:
            yield nodes.rubric("", letter, ids=[f"letter-{letter.lower()}"])
            yield self._list(group)

    def _item(self, entry: Entry, found: Sequence[Section]) -> nodes.list_item:
        edition = self.config.bilingual_edition
        item = nodes.list_item("")
        for language in (one for one in LANGUAGES if edition in ("both", one)):
            name = entry["en"] if language == "en" else entry.get("zh", entry["en"])
            line = nodes.paragraph("", "", nodes.strong("", name))
            line += [*self._papers(entry), *self._places(found, language)]
            line += self._package(entry, language)
            item += nodes.container("", line, classes=["lang-block", *classes_of(language)])
        return item

    def _papers(self, entry: Entry) -> Iterator[nodes.Node]:
        for key in entry.get("papers", ()):
            text, _ = self.parse_inline(f" {{cite}}`{key}`")
            yield from text

    def _places(self, found: Sequence[Section], language: Language) -> Iterator[nodes.Node]:
        for section in found:
            yield nodes.Text(" → ")
            place = section.page, nodes.make_id(section.heading)
            yield nodes.reference("", section.name(language), internal=True, place=place)

    def _package(self, entry: Entry, language: Language) -> Iterator[nodes.Node]:
        for number, name in enumerate(entry.get("package", ())):
            yield nodes.Text(f" → {PACKAGE[language]}{COLON[language]}" if not number else ", ")
            yield nodes.literal(name, name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_directive("subject-index", SubjectIndex)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
