"""Sphinx extension: the map of the chapters, with what each of them needs.

``{chapter-map}`` draws the chapters of ``_toc.yml`` below one another, and from each an arc to
every earlier chapter that its objectives link to: these are its prerequisites. An arc that others
imply (3 needs 2, 2 needs 1, so 3 needs 1) is left out. Each chapter is a link; its arcs light up
with it.
"""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from contents import note_notebooks, notebooks
from docutils import nodes
from mistakes import short_title
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from segedu.languages import BAR, LANGUAGES, halves

LINK = re.compile(r"\]\(([^)#\s]+\.ipynb)")
NAME = {"en": "Chapters and what they need", "zh": "各章与所需的前置章节"}
NEEDS = {"en": "needs: ", "zh": "需要："}
ROW, PART, LEFT = 24, 40, 150  # heights of the rows, width of the arcs; headings may lie on them
EM = 14  # size of the letters


class Chapter(NamedTuple):
    """A chapter of the book."""

    page: str  #: from the root, without ``.ipynb``
    title: str  #: ``English ｜ 中文``, without its second half after a colon
    part: str  #: title of its part
    needs: tuple[str, ...]  #: pages of earlier chapters


def chapters(root: Path) -> list[Chapter]:
    """The chapters of ``_toc.yml`` in its order.

    Raises:
        ValueError: a notebook has no title, or no section after it.
    """
    found: list[Chapter] = []
    for page, part, file in notebooks(root):
        title, links = read(page, file.read_text(encoding="utf-8"))
        found.append(Chapter(page, title, part, tuple(c.page for c in found if c.page in links)))
    return found


@cache
def read(page: str, text: str) -> tuple[str, frozenset[str]]:
    """Title of a notebook, and the pages that its first section links to."""
    cells = json.loads(text)["cells"]
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    before, *sections = re.split("^## ", prose, flags=re.MULTILINE)
    title = re.search("^# (.+)$", before, re.MULTILINE)
    if not (title and sections):
        raise ValueError(f"chapter-map: {page} needs a title and a section of objectives")
    folder = posixpath.dirname(page)
    targets = (posixpath.join(folder, link) for link in LINK.findall(sections[0]))
    pages = (posixpath.normpath(target).removesuffix(".ipynb") for target in targets)
    short = f" {BAR} ".join(short_title(title[1], language) for language in LANGUAGES)
    return short, frozenset(pages)


def direct(all_chapters: Sequence[Chapter]) -> dict[str, list[str]]:
    """What each chapter needs but for what these need themselves."""
    behind: dict[str, set[str]] = {}
    for chapter in all_chapters:  # earlier ones come first
        behind[chapter.page] = set(chapter.needs).union(*(behind[page] for page in chapter.needs))
    return {
        chapter.page: [
            page
            for page in chapter.needs
            if not any(page in behind[other] for other in chapter.needs)
        ]
        for chapter in all_chapters
    }


def draw(all_chapters: Sequence[Chapter], edition: str, address: Callable[[str], str]) -> str:
    """The map as HTML.

    Args:
        all_chapters: in the order of the book.
        edition: ``both``, ``en`` or ``zh``.
        address: page -> what a link to it reads.
    """
    needs, titles = direct(all_chapters), {c.page: shown(c.title, edition) for c in all_chapters}
    height, places, parts, heads, drawn = 0, {}, [], [], []
    for chapter in all_chapters:
        name = shown(chapter.part, edition)
        if name not in parts:
            parts.append(name)
            height += PART
            heads.append(f'<text class="part" y="{height - 5}">{marked(name)}</text>')
        height += ROW
        places[chapter.page] = height - ROW / 2
    for chapter in all_chapters:
        y, wanted = places[chapter.page], needs[chapter.page]
        arcs = "".join(arc(places[page], y, height) for page in wanted)
        listed = "; ".join(titles[page] for page in wanted)
        tip = f"<title>{escape(label(NEEDS, edition) + listed)}</title>" if wanted else ""
        drawn.append(
            f'<g>{tip}{arcs}<a href="{escape(address(chapter.page))}">'
            f'<circle cx="{LEFT}" cy="{y:g}" r="4"/>'
            f'<text x="{LEFT + 14}" y="{y + 5:g}">{marked(titles[chapter.page])}</text></a></g>'
        )
    titles_end = LEFT + 14 + EM * max(map(breadth, titles.values()))
    width = 6 + max(titles_end, EM * max(map(breadth, parts)))
    return (
        '<div class="chapter-map"><div tabindex="0">'
        f'<svg viewBox="0 0 {width:.0f} {height + 8}" '
        f'width="{width:.0f}" role="group" aria-label="{escape(label(NAME, edition))}">'
        f"{''.join(drawn + heads)}</svg></div></div>"
    )


def arc(top: float, bottom: float, height: float) -> str:
    """Half an ellipse on the left, the wider the farther apart its ends are."""
    rise = (bottom - top) / 2
    wide = (LEFT - 8) * (2 * rise / height) ** 0.5
    return f'<path d="M{LEFT} {top:g}A{wide:.1f} {rise:g} 0 0 0 {LEFT} {bottom:g}"/>'


def shown(text: str, edition: str) -> str:
    """The text as the edition has it; in both languages once where they are the same."""
    split = halves(text)
    if split is None:
        return text
    if edition == "both":
        return f" {BAR} ".join(dict.fromkeys(split.values()))
    return split[edition]


def label(texts: dict[str, str], edition: str) -> str:
    """A text of this extension."""
    return shown(f"{texts['en']} {BAR} {texts['zh']}", edition)


def marked(text: str) -> str:
    """The text with its Chinese half marked as such, and a thinner bar."""
    split = halves(text)
    if split is None:
        return escape(text)
    chinese = f'<tspan lang="zh-CN">{escape(split["zh"])}</tspan>'
    return f"{escape(split['en'])} · {chinese}"


def breadth(text: str) -> float:
    """At most how many ems a text is wide."""
    return sum(1 if unicodedata.east_asian_width(letter) in "WF" else 0.6 for letter in text)


class ChapterMap(SphinxDirective):
    """``{chapter-map}``."""

    def run(self) -> list[nodes.Node]:
        """A place for the drawing, whose links depend on what is built."""
        note_notebooks(self.env)
        return [nodes.raw("", "", format="html", chapter_map=True)]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """``doctree-resolved``: draws the map."""
    for place in doctree.findall(nodes.raw):
        if place.attributes.pop("chapter_map", False):

            def address(page: str) -> str:
                return app.builder.get_relative_uri(docname, page)

            drawing = draw(chapters(Path(app.srcdir)), app.config.bilingual_edition, address)
            place += nodes.Text(drawing)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_directive("chapter-map", ChapterMap)
    app.connect("doctree-resolved", fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
