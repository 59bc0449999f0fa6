"""Sphinx extension: the glossary page, from the terms that the tests also read.

``{terminology} terminology.yml`` becomes one definition per term, in the order of the English
alphabet, with a row of letters to jump. The edition decides which explanations are shown; the two
names stand in every edition. ``[text](#term-receptive-field)`` links to an entry from anywhere.

On every other page the first use of a term in each language becomes a link to its entry, with the
explanation as the title that a browser shows on hover; authors do nothing for it.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from term_finder import TermFinder, chinese, english, is_abbreviation
from yaml_file import read_entries

LANGUAGE_CLASS = {"en": "language-en", "zh": "language-zh-CN"}
PAGE, FILE = "book/glossary", "book/terminology.yml"
# What is not prose, or is a link already.
UNTOUCHED = (nodes.reference, nodes.literal, nodes.math, nodes.math_block, nodes.literal_block)


def first_letter(entry: dict[str, Any]) -> str:
    """The letter under which an entry is filed."""
    return next(c for c in entry["en"].upper() if c in string.ascii_uppercase)


def sort_key(entry: dict[str, Any]) -> tuple[str, str]:
    """The order of the English alphabet."""
    return first_letter(entry), entry["en"].lower()


def abbreviations(entry: dict[str, Any]) -> list[str]:
    """English forms that are abbreviations: shown beside the name, unlike plurals."""
    return [form for form in entry.get("en_forms", []) if is_abbreviation(form)]


def letter_links(letters: Iterable[str]) -> nodes.paragraph:
    """A row of letters to jump to the rubrics ``letter-a``, ``letter-b`` and so on."""
    row = nodes.paragraph(classes=["glossary-letters"])
    for letter in letters:
        anchor = f"letter-{letter.lower()}"
        row += [nodes.reference("", letter, refid=anchor, internal=True), nodes.Text(" ")]
    return row


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
        entries = sorted(read_entries(path), key=sort_key)
        groups = [(letter, list(group)) for letter, group in groupby(entries, first_letter)]
        result: list[nodes.Node] = [letter_links([letter for letter, _ in groups])]
        for letter, group in groups:
            heading = nodes.rubric("", letter, ids=[f"letter-{letter.lower()}"])
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


# --- first uses -------------------------------------------------------------------------------


def chinese_forms(entries: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Forms with their entries: the names, and other names inside which a shorter name would hide.

    交叉熵 must not be taken for 熵. Elsewhere another name is an everyday word: 块, 间距.
    """
    names = [(entry["zh"], entry) for entry in entries]
    also = [(form, entry) for entry in entries for form in entry.get("zh_also", [])]
    return [(form, e) for form, e in also if any(name in form for name, _ in names)] + names


@cache
def finders(file: Path) -> dict[str, TermFinder[dict[str, Any]]]:
    """For each language what finds its terms. Everyday words are no terms by themselves."""
    entries = [entry for entry in read_entries(file) if not entry.get("everyday")]
    english_forms = {form: e for e in entries for form in (e["en"], *e.get("en_forms", []))}
    return {
        "en": TermFinder(english_forms, english),
        "zh": TermFinder(dict(chinese_forms(entries)), chinese),
    }


def link_first_uses(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """``doctree-resolved``: the first use of each term in each language becomes a link."""
    file = Path(app.srcdir, FILE)
    one_page = app.builder.name == "singlehtml"
    if docname == PAGE or PAGE not in app.env.found_docs or not file.exists() or one_page:
        return
    address = app.builder.get_relative_uri(docname, PAGE)
    for language, finder in finders(file).items():
        linked: set[str] = set()
        for block in doctree.findall(nodes.container):
            if f"lang-{language}" not in block["classes"]:
                continue
            for text in list(block.findall(nodes.Text)):
                if not in_prose(text):
                    continue
                pieces = linked_pieces(text, finder, language, address, linked)
                if len(pieces) > 1:
                    text.parent.replace(text, pieces)


def in_prose(text: nodes.Text) -> bool:
    """Whether a text may become a link."""
    parent = text.parent
    while parent is not None:
        if isinstance(parent, (*UNTOUCHED, nodes.raw, nodes.comment)):
            return False
        parent = parent.parent
    return True


def linked_pieces(
    text: nodes.Text,
    finder: TermFinder[dict[str, Any]],
    language: str,
    address: str,
    linked: set[str],
) -> list[nodes.Node]:
    """The text cut at the terms that are not `linked` yet, which become links."""
    pieces: list[nodes.Node] = []
    last = 0
    for match, entry in finder.finditer(text.replace("’", "'")):  # as authors type it
        if entry["id"] in linked:
            continue
        linked.add(entry["id"])
        shown = text[match.start() : match.end()]
        link = nodes.reference(
            "", shown, refuri=f"{address}#term-{entry['id']}", internal=True, classes=["term"]
        )
        link["reftitle"] = entry[f"{language}_def"]
        pieces += [nodes.Text(text[last : match.start()]), link]
        last = match.end()
    return [*pieces, nodes.Text(text[last:])]


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_directive("terminology", Terminology)
    app.connect("doctree-resolved", link_first_uses, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
