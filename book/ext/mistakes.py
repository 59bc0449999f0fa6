"""Sphinx extension: the index of mistakes, from the file that the tests also read.

``{mistakes} mistakes.yml`` with the option ``:topic: metrics`` lists the mistakes of a topic, each
with links to the places that refute it. The address of an entry is ``mistakes.html#mistake-36``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from bilingual import classes_of
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from yaml_file import read_entries

from segedu.languages import LANGUAGES, Language, plain

HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)
COLON = {"en": ": ", "zh": "："}
PACKAGE = {"en": "In the package", "zh": "软件包"}


@cache
def headings(notebook: Path) -> dict[str, str]:
    """The headings ``English ｜ 中文`` of a notebook, by their anchors in the built page."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    titles = [re.sub("[`*$]", "", title) for text in prose for title in HEADING.findall(text)]
    found: dict[str, str] = {}
    for title in titles:
        found.setdefault(nodes.make_id(title), title)
    return found


def name_of(notebook: Path, anchor: str, language: Language) -> str:
    """What a link to a heading says: ``SegNet: Two bits are enough``.

    Raises:
        KeyError: if the notebook has no heading with this anchor.
    """
    found = headings(notebook)
    title, heading = next(iter(found.values())), plain(found[anchor], language)
    return short_title(title, language) + COLON[language] + heading


def short_title(title: str, language: Language) -> str:
    """The title of a chapter without what follows a colon."""
    return re.split("[:：]", plain(title, language))[0]


class Mistakes(SphinxDirective):
    """``{mistakes} FILE``: the entries of one topic; the file is relative to the page."""

    required_arguments = 1
    option_spec = {"topic": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Builds the list."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        entries = read_entries(path)
        topic = self.options.get("topic")
        chosen = sorted((e for e in entries if e["topic"] == topic), key=lambda e: e["ids"])
        items = [self._item(entry) for entry in chosen]
        if not items:
            topics = ", ".join(sorted({entry["topic"] for entry in entries}))
            raise self.error(f"mistakes: no entry has the topic {topic!r}; there are: {topics}")
        return [nodes.bullet_list("", *items, classes=["mistakes"])]

    def _item(self, entry: dict[str, Any]) -> nodes.list_item:
        edition = self.config.bilingual_edition
        item = nodes.list_item("", ids=[f"mistake-{number}" for number in entry["ids"]])
        for language in (one for one in LANGUAGES if edition in ("both", one)):
            line = nodes.paragraph("", "")
            if not item.children:
                line += nodes.strong("", ", ".join(map(str, entry["ids"])))
            text, _ = self.parse_inline(entry[language])
            line += [nodes.Text(" "), *text, *self._where(entry, language)]
            item += nodes.container("", line, classes=["lang-block", *classes_of(language)])
        return item

    def _where(self, entry: dict[str, Any], language: Language) -> Iterator[nodes.Node]:
        """Links to the places, then the function."""
        for place in entry.get("places", ()):
            yield nodes.Text(" → ")
            yield self._link(place, language)
        if "function" in entry:
            yield nodes.Text(f" → {PACKAGE[language]}{COLON[language]}")
            yield nodes.literal(entry["function"], entry["function"])

    def _link(self, place: str, language: Language) -> nodes.reference:
        file, _, anchor = place.partition("#")
        relative, path = self.env.relfn2path(file)
        self.env.note_dependency(path)
        try:
            name = name_of(Path(path), anchor, language)
        except (FileNotFoundError, KeyError) as error:
            raise self.error(f"mistakes: no such place: {place}") from error
        page = self.env.path2doc(relative)
        return nodes.reference("", name, internal=True, place=(page, anchor))


def link_places(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """``doctree-resolved``: the addresses, which depend on what is built."""
    for link in doctree.findall(nodes.reference):
        if "place" in link:
            page, anchor = link.attributes.pop("place")
            link["refuri"] = f"{app.builder.get_relative_uri(docname, page)}#{anchor}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_directive("mistakes", Mistakes)
    app.connect("doctree-resolved", link_places)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
