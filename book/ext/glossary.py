"""Sphinx extension: the glossary page, from the terms that the tests also read.

``{terminology} terminology.yml`` becomes one definition per term, in the order of the English
alphabet, with a row of letters to jump. The edition decides which explanations are shown; the two
names stand in every edition. ``[text](#term-receptive-field)`` links to an entry from anywhere.
"""

from __future__ import annotations

import string
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

LANGUAGE_CLASS = {"en": "language-en", "zh": "language-zh-CN"}


def first_letter(entry: dict[str, Any]) -> str:
    """The letter under which an entry is filed."""
    return next(c for c in entry["en"].upper() if c in string.ascii_uppercase)


def abbreviations(entry: dict[str, Any]) -> list[str]:
    """English forms that are abbreviations: shown beside the name, unlike plurals."""
    forms = entry.get("en_forms", [])
    return [f for f in forms if " " not in f and sum(c.isupper() for c in f) >= 2]


def inline(text: str, language: str, *classes: str) -> nodes.inline:
    """Text with its own ``lang`` attribute."""
    return nodes.inline("", text, classes=[LANGUAGE_CLASS[language], *classes])


class Terminology(SphinxDirective):
    """``{terminology} FILE``: all entries of a terminology file, relative to the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Builds the letters and the definition lists."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        entries.sort(key=lambda entry: (first_letter(entry), entry["en"].lower()))
        groups = [(letter, list(group)) for letter, group in groupby(entries, first_letter)]
        letters = nodes.paragraph(classes=["glossary-letters"])
        result: list[nodes.Node] = [letters]
        for letter, group in groups:
            anchor = f"letter-{letter.lower()}"
            letters += [nodes.reference("", letter, refid=anchor, internal=True), nodes.Text(" ")]
            heading = nodes.rubric("", letter, ids=[anchor])
            result += [heading, nodes.definition_list("", *map(self._item, group))]
        return result

    def _item(self, entry: dict[str, Any]) -> nodes.definition_list_item:
        edition = self.config.bilingual_edition
        name = ", ".join([entry["en"], *abbreviations(entry)])
        order = ("zh", "en") if edition == "zh" else ("en", "zh")
        names = {"en": inline(name, "en"), "zh": inline(entry["zh"], "zh")}
        term = nodes.term("", "", names[order[0]], nodes.Text("  "), names[order[1]])
        anchor = f"term-{entry['id']}"
        term["ids"].append(anchor)
        term["names"].append(anchor)
        self.state.document.note_explicit_target(term)
        shown = [language for language in order if edition in ("both", language)]
        explanations = [
            nodes.paragraph("", "", inline(entry[f"{language}_def"], language))
            for language in shown
        ]
        return nodes.definition_list_item("", term, nodes.definition("", *explanations))


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_directive("terminology", Terminology)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
