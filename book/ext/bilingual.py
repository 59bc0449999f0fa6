"""Sphinx extension: one bilingual source tree, three editions.

Prose cells (notebooks) and ``+++ {"tags": [...]}`` blocks (Markdown pages) tagged ``lang-en`` or
``lang-zh`` are dropped or wrapped in an element with the right ``lang`` attribute. Every short
shared text (title, caption, table cell, list item, alternative text, toc part) is written
``English ｜ 中文`` and split at the full-width bar.

Anchors are computed by docutils from the full bilingual heading before the split, so that they are
the same in every edition.

Config values:
    bilingual_edition: ``both`` (default), ``en`` or ``zh``: the edition that is built.
    bilingual_editions: the editions that are published side by side; empty hides the switcher.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from docutils import nodes
from launch import site_url
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from segedu.languages import BAR, LANGUAGES, Language, halves, plain

logger = logging.getLogger(__name__)

LANG_ATTRIBUTE = {"en": "en", "zh": "zh-CN"}
CLOSING = "，。；：、！？）》”’"  # marks that must not start a line
FULL_WIDTH = "，。；：、！？（）《》"
SPACES = re.compile(f"(?<=[{FULL_WIDTH}])[ \\n]+|[ \\n]+(?=[{FULL_WIDTH}])")
SHORT_CODE = 10  # characters, that fit in a column of a phone
JOINT = re.compile(r"(?<=\w[_./])(?=\w)|(?<=[a-z])(?=[A-Z])|(?<=\w)(?=[\[(])")  # of names
# U-Net, nnU-Net, R-CNN; FCN-8s, ResNet-50.
NAME = re.compile(r"(?<![\w-])(\w{0,3}[A-Z]-[A-Z][\w+]*|[A-Z]\w+-\d\w*)(?![\w-])")

# Folder of each edition inside the site, and its name in the switcher.
EDITIONS = {
    "both": ("", "双语", "English and 中文"),
    "en": ("en/", "English", "English edition"),
    "zh": ("zh/", "中文", "中文版"),
}

# Two steps: a search that begins with a choice would try it at each letter of a page.
VALUE = re.compile(f'="([^"<>]*{BAR}[^"<>]*)"')
ATTRIBUTE = re.compile(r"\b(alt|title|aria-[a-z]{1,20}|data-label)$")
BEGIN, END = "bilingual-begin", "bilingual-end"
BLOCK_BREAK = re.compile(r"^\+\+\+\s*(\{.*\})?\s*$")
FENCE = re.compile(r"^\s{0,3}(`{3,}|~{3,}|:{3,})")


def classes_of(language: Language) -> list[str]:
    """Classes of an element in `language`; docutils turns ``language-…`` into ``lang="…"``."""
    return [f"lang-{language}", f"language-{LANG_ATTRIBUTE[language]}"]


# --- source: tagged cells and blocks ----------------------------------------------------------


def language_of(tags: list[str], where: str) -> Language | None:
    """The language that the tags of a cell name; None for a shared cell."""
    found = [language for language in LANGUAGES if f"lang-{language}" in tags]
    if len(found) > 1:
        raise ExtensionError(f"{where}: a cell is tagged both lang-en and lang-zh")
    return found[0] if found else None


def marked(text: str, language: Language) -> str:
    """Puts comment lines around `text`, from which `WrapLanguages` makes an element."""
    return f"% {BEGIN} {language}\n\n{text}\n\n% {END}\n"


class Notebook(dict[str, Any]):
    """A notebook with a short name: Sphinx writes down what an event brings, here megabytes."""

    def __repr__(self) -> str:
        return "Notebook"


def select_notebook(notebook: dict[str, Any], edition: str, docname: str) -> None:
    """Drops the Markdown cells of the other language and marks those of this edition."""
    if notebook.get("metadata", {}).get("segedu", {}).get("draft"):
        raise ExtensionError(f"{docname}: is a draft: take it out of _toc.yml, or finish it")
    kept = []
    for cell in notebook["cells"]:
        language = language_of(cell.get("metadata", {}).get("tags", []), docname)
        if language and cell["cell_type"] == "markdown":
            if edition not in ("both", language):
                continue
            cell["source"] = marked("".join(cell["source"]), language)
        kept.append(cell)
    notebook["cells"] = kept


def blocks(source: str) -> list[tuple[str, list[str]]]:
    """Splits a Markdown page at ``+++`` lines outside fences into (text, tags)."""
    result: list[tuple[list[str], list[str]]] = [([], [])]
    fence = ""
    for line in source.splitlines():
        if match := FENCE.match(line):
            if not fence:
                fence = match[1]
            elif line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        if not fence and (match := BLOCK_BREAK.match(line)):
            result.append(([], json.loads(match[1] or "{}").get("tags", [])))
        else:
            result[-1][0].append(line)
    return [("\n".join(lines), tags) for lines, tags in result]


def select_markdown(source: str, edition: str, docname: str) -> str:
    """The same for the ``+++`` blocks of a Markdown page."""
    parts = []
    for text, tags in blocks(source):
        language = language_of(tags, docname)
        if language is None:
            parts.append(text)
        elif edition in ("both", language):
            parts.append(marked(text, language))
    return "\n\n".join(parts) + "\n"


def select_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """``source-read``: what of the page belongs to this edition.

    A notebook, of megabytes, is parsed once: other extensions change it at ``notebook-read``.
    """
    edition = app.config.bilingual_edition
    if not app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = select_markdown(source[0], edition, docname)
        return
    notebook = Notebook(json.loads(source[0]))
    select_notebook(notebook, edition, docname)
    app.emit("notebook-read", docname, notebook)
    source[0] = json.dumps(notebook, ensure_ascii=False)


# --- document tree ----------------------------------------------------------------------------


class WrapLanguages(SphinxTransform):
    """Moves what stands between two marks into a container with a ``lang`` attribute."""

    default_priority = 10

    def apply(self, **kwargs: Any) -> None:
        """Wraps every marked block of the document."""
        for begin in list(self.document.findall(self._is_mark(BEGIN))):
            siblings, start = begin.parent.children, begin.parent.index(begin)
            after = range(start + 1, len(siblings))
            is_end = self._is_mark(END)
            end = next((i for i in after if is_end(siblings[i])), None)
            if end is None:
                raise ExtensionError(
                    f"{self.env.docname}: a heading stands in a cell tagged with a language; "
                    f"headings are shared: an untagged cell `## English {BAR} 中文`"
                )
            language = begin.astext().split()[1]
            block = nodes.container(classes=["lang-block", *classes_of(language)])
            block.extend(siblings[start + 1 : end])
            begin.parent[start : end + 1] = [block]

    @staticmethod
    def _is_mark(mark: str) -> Any:
        return lambda node: isinstance(node, nodes.comment) and node.astext().startswith(mark)


class SplitShortTexts(SphinxTransform):
    """Splits every shared text at its bar; runs before titles are collected."""

    default_priority = 200  # after the toctrees of _toc.yml have been inserted (100)

    # What is shown as it is written.
    verbatim = (nodes.FixedTextElement, nodes.literal, nodes.math, nodes.math_block, nodes.raw)

    def apply(self, **kwargs: Any) -> None:
        """Splits the texts of the document and those kept in attributes."""
        edition = self.config.bilingual_edition
        for element in list(self.document.findall(nodes.TextElement)):
            if not isinstance(element, self.verbatim):
                self._split(element, edition)
        for image in self.document.findall(nodes.image):
            if "alt" in image:
                image["alt"] = plain(image["alt"], edition)
        for cell in self.document.findall(nodes.container):
            for prompt in ("prompt_show", "prompt_hide"):
                if prompt in cell:
                    cell[prompt] = plain(cell[prompt], edition)
        for toctree in self.document.findall(addnodes.toctree):
            self._split_toctree(toctree, edition)

    def _split(self, element: nodes.TextElement, edition: str) -> None:
        bars = [i for i, node in enumerate(element) if isinstance(node, nodes.Text) and BAR in node]
        if not bars:
            return
        if len(bars) > 1 or element[bars[0]].count(BAR) > 1:
            logger.warning("more than one %s in %r", BAR, element.astext(), location=element)
        i = bars[0]
        before, after = element[i].split(BAR, 1)
        sides = {
            "en": [*element[:i], nodes.Text(before.rstrip())],
            "zh": [nodes.Text(after.lstrip()), *element[i + 1 :]],
        }
        if edition != "both":
            element[:] = sides[edition]
            return
        english, chinese = (
            nodes.inline("", "", *sides[language], classes=classes_of(language))
            for language in LANGUAGES
        )
        bar = nodes.inline("", f" {BAR} ", classes=["lang-bar"])
        element[:] = [english, bar, chinese]

    @staticmethod
    def _split_toctree(toctree: addnodes.toctree, edition: str) -> None:
        for key in ("caption", "rawcaption"):
            if toctree.get(key):
                toctree[key] = plain(toctree[key], edition)
        toctree["entries"] = [
            (title and plain(title, edition), target) for title, target in toctree["entries"]
        ]


class DropSpaces(SphinxTransform):
    """Drops the spaces around full-width marks, which bring their own.

    A run-in heading needs one in the notebook (``**标题。** 正文``), or it would not be bold.
    """

    default_priority = 205

    def apply(self, **kwargs: Any) -> None:
        """Goes through the texts of each element, whatever inline elements hold them."""
        for element in list(self.document.findall(nodes.TextElement)):
            if isinstance(element.parent, nodes.TextElement):
                continue  # its texts are those of the element around it
            before = ""
            for text in list(element.findall(nodes.Text)):
                shown = text.astext()
                if not isinstance(text.parent, SplitShortTexts.verbatim):
                    shown = SPACES.sub("", shown)
                    if before.endswith(tuple(FULL_WIDTH)):
                        shown = shown.lstrip(" \n")
                    if shown != text:
                        place = next(i for i, child in enumerate(text.parent) if child is text)
                        text.parent[place] = nodes.Text(shown)  # equal texts may stand before it
                before = shown or before


class KeepNames(SphinxTransform):
    """Ties the parts of a name such as U-Net or FCN-8s: a browser may break it at its hyphen."""

    default_priority = 206

    def apply(self, **kwargs: Any) -> None:
        """Puts every such name into an element that does not wrap."""
        keep_names(self.document)


class KeepNamesOfWorks(SphinxPostTransform):
    """The same for the titles of the bibliography, which come after the transforms."""

    default_priority = 6  # right after sphinxcontrib-bibtex has written them

    def run(self, **kwargs: Any) -> None:
        """Looks at the bibliography alone."""
        for works in self.document.findall(nodes.citation):
            keep_names(works)


def keep_names(tree: nodes.Element) -> None:
    """Puts every name such as U-Net into an element that does not wrap."""
    for text in list(tree.findall(nodes.Text)):
        parent = text.parent
        if isinstance(parent, (*SplitShortTexts.verbatim, nodes.comment)):
            continue
        pieces = NAME.split(text.astext())  # text, name, text, name, ... text
        if len(pieces) > 1:
            pieces[1::2] = [nodes.inline("", name, classes=["unbroken"]) for name in pieces[1::2]]
            pieces[::2] = map(nodes.Text, pieces[::2])
            parent.replace(text, pieces)


class BreakCode(SphinxTransform):
    """Where code in a table may be broken: short code nowhere, else after a joint of a name."""

    default_priority = 207

    def apply(self, **kwargs: Any) -> None:
        """Goes through the cells of all tables."""
        for cell in self.document.findall(nodes.entry):
            for code in list(cell.findall(nodes.literal)):
                text = code.astext()
                if len(text) <= SHORT_CODE:
                    code["classes"].append("unbroken")
                    continue
                first, *others = map(nodes.Text, JOINT.split(text))
                code[:] = [first]
                for other in others:
                    code += [nodes.raw("", "<wbr>", format="html"), other]


class KeepPunctuation(SphinxTransform):
    """Ties a Chinese mark to the formula before it: a browser may break the line there."""

    default_priority = 210

    def apply(self, **kwargs: Any) -> None:
        """Puts formula and mark into one element that does not wrap."""
        for formula in list(self.document.findall(nodes.math)):
            siblings, after = formula.parent, formula.parent.index(formula) + 1
            text = siblings[after] if after < len(siblings) else None
            if not isinstance(text, nodes.Text) or not text.startswith(tuple(CLOSING)):
                continue
            siblings[after] = nodes.Text(text[1:])
            pair = nodes.inline("", "", classes=["unbroken"])
            formula.replace_self(pair)
            pair += [formula, nodes.Text(text[0])]


def shorten_references(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """``doctree-resolved``: a link inside a paragraph speaks the language of the paragraph."""
    for block in doctree.findall(nodes.container):
        language = next((k for k in LANGUAGES if f"lang-{k}" in block["classes"]), None)
        if language is None:
            continue
        for reference in block.findall(nodes.reference):
            for text in list(reference.findall(nodes.Text)):
                if split := halves(text):
                    text.parent.replace(text, nodes.Text(split[language]))


CITED = (
    (re.compile(r" and (?=\S)"), " 与 "),
    (re.compile(r", (?=\d)"), "，"),
    (re.compile("; "), "；"),
)


def translate_citations(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """``doctree-resolved``: a citation in Chinese prose joins its names in Chinese."""
    for block in doctree.findall(nodes.container):
        if "lang-zh" not in block["classes"]:
            continue
        for citation in block.findall(is_citation):
            for others in list(citation.findall(nodes.emphasis)):
                if others.astext() == "et al.":
                    others.replace_self(nodes.Text("等"))
            for text in list(citation.findall(nodes.Text)):
                shown = text.astext()
                for english, chinese in CITED:
                    shown = english.sub(chinese, shown)
                text.parent.replace(text, nodes.Text(shown))


def is_citation(node: nodes.Node) -> bool:
    """Whether a node is what the role ``cite`` has become."""
    return isinstance(node, nodes.inline) and "bibtex-citation" in node["classes"]


# --- pages and configuration ------------------------------------------------------------------


def split_attributes(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """``html-page-context``: texts in the attributes of HTML that notebooks have put out.

    An explorer's picture is called ``title: label``, both parts bilingual. The book's title in the
    side bar is plain text as well.
    """
    edition = app.config.bilingual_edition
    context["root_title"] = plain(context.get("root_title", ""), edition)

    def split(match: re.Match[str]) -> str:
        name = match.string[max(match.start() - 30, 0) : match.start()]
        if not ATTRIBUTE.search(name):
            return match[0]
        parts = (plain(part, edition) for part in bilingual_parts(match[1]))
        return f'="{": ".join(parts)}"'

    if BAR in context.get("body", ""):
        context["body"] = VALUE.sub(split, context["body"])


def bilingual_parts(text: str) -> list[str]:
    """Title and label of a picture; a colon before the bar is part of the English half."""
    parts: list[str] = []
    for piece in text.split(": "):
        if parts and BAR not in parts[-1]:
            parts[-1] += f": {piece}"
        else:
            parts.append(piece)
    return parts


def add_switcher(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """``html-page-context``: the same page in the other editions.

    Runs before the theme, which takes away the components that come out empty.
    """
    here = app.config.bilingual_edition
    up = context.get("content_root", "") + ("../" if EDITIONS[here][0] else "")
    site = site_url(os.environ)
    context["edition"] = here
    context["edition_links"] = [
        {
            "href": f"{up}{EDITIONS[name][0]}{pagename}.html",
            "label": EDITIONS[name][1],
            "title": EDITIONS[name][2],
            "gloss": "Both" if name == "both" and here != "zh" else None,
            "lang": "en" if name == "en" else "zh-CN",
            "hreflang": "x-default" if name == "both" else "en" if name == "en" else "zh-CN",
            "address": f"{site}{EDITIONS[name][0]}{pagename}.html" if site else None,
            "current": name == here,
        }
        for name in app.config.bilingual_editions
    ]


def split_config(app: Sphinx, config: Config) -> None:
    """``config-inited``: the texts of the configuration, before other extensions read them."""
    edition = config.bilingual_edition
    if edition not in EDITIONS:
        raise ExtensionError(f"bilingual_edition: got {edition!r}, allowed: {', '.join(EDITIONS)}")
    for key in ("html_title", "project", "author", "togglebutton_hint", "togglebutton_hint_hide"):
        if isinstance(getattr(config, key, None), str):
            setattr(config, key, plain(getattr(config, key), edition))
    theme = config.html_theme_options
    for options in (theme, theme.get("logo", {}), config.numfig_format):
        for key, value in options.items():
            if isinstance(value, str):
                options[key] = plain(value, edition)
    # A label takes one number: "Fig. %s · 图 %s" becomes "Fig. 图 %s".
    for key, value in config.numfig_format.items():
        config.numfig_format[key] = value.replace("%s · ", "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_config_value("bilingual_edition", "both", "env", [str])
    app.add_config_value("bilingual_editions", [], "html", [list])
    app.connect("config-inited", split_config, priority=100)
    app.add_event("notebook-read")  # (app, docname, notebook), which a listener changes in place
    app.connect("source-read", select_source)
    app.add_transform(WrapLanguages)
    app.add_transform(SplitShortTexts)
    app.add_transform(DropSpaces)
    app.add_transform(KeepNames)
    app.add_post_transform(KeepNamesOfWorks)
    app.add_transform(BreakCode)
    app.add_transform(KeepPunctuation)
    app.connect("doctree-resolved", shorten_references)
    app.connect("doctree-resolved", translate_citations)
    app.connect("html-page-context", add_switcher, priority=400)
    app.connect("html-page-context", split_attributes, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
