"""Sphinx extension: forms that read well in plain Jupyter become the book's own.

================================================  ================================
in the notebook                                   in the book
================================================  ================================
``> ⚠️ **Title.** text`` (also 💡 and ℹ️)         warning, tip, note
``([Long et al., 2015](…bibliography.md#key))``   citation; ``; `` stands between two
``[@key]``, ``[@one; @two]``                    citation
a cell tagged ``caption`` after a figure        its caption
``[Fig.](#fig-x)``, ``[图](#fig-x)``            "Fig. 2.1", "图 2.1"
``[Eq.](#eq-x)``, ``[式](#eq-x)``               "Eq. (3)", "式 (3)"
``$$ … $$ <!-- eq-x -->``                       numbered formula
================================================  ================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from docutils import nodes
from pybtex.plugin import find_plugin, register_plugin
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

CALLOUTS = {"⚠": "warning", "💡": "tip", "ℹ": "note"}
PROMPTS = {"setup": "Setup ｜ 准备", "parameters": "Parameters ｜ 参数"}  # of folded cells
VARIATION_SELECTOR = "\ufe0f"  # asks for the coloured form of the sign before it

CODE = re.compile(r"(^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$|`[^`\n]+`)", re.M | re.S)
CITATION = re.compile(r"\[((?:@[\w:.+/-]+)(?:\s*;\s*@[\w:.+/-]+)*)\]")
_WORK = r"\[[^\]\n]+\]\([^)\s]*bibliography\.md#([\w:.+/-]+)\)"
_WORKS = rf"{_WORK}(?:[;；] ?{_WORK})*"
# With their own brackets, or without any: those of a longer remark are not theirs.
REFERENCE = re.compile(rf"[(（]{_WORKS}[)）]|{_WORKS}")
FIGURE = re.compile(r"\[([^\]\n]+)\]\([^)\s#]*#(fig-[\w-]+)\)")
EQUATION = re.compile(r"\[([^\]\n]+)\]\([^)\s#]*#(eq-[\w-]+)\)")
NUMBER = re.compile("((?:{numref}|{eq})`[^`]*`)(?=[\u3400-\u9fff])")  # before a Chinese character
LABEL = re.compile(r"(\$\$)[ \t]*<!--\s*(eq-[\w-]+)\s*-->")


def _citation(match: re.Match[str]) -> str:
    keys = [key.strip().removeprefix("@") for key in match[1].split(";")]
    return "{cite}`" + ",".join(keys) + "`"


def _reference(match: re.Match[str]) -> str:
    return "{cite}`" + ",".join(re.findall(_WORK, match[0])) + "`"


RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (CITATION, _citation),
    (REFERENCE, _reference),
    (FIGURE, r"{numref}`\1 {number} <\2>`"),
    (EQUATION, r"\1 {eq}`\2`"),
    (NUMBER, r"\1 "),
    (LABEL, r"\1 (\2)"),
)


def rewrite(markdown: str) -> str:
    """Turns the notebook forms of `markdown` into MyST roles; leaves code alone."""
    pieces, last = [], 0
    for code in [*CODE.finditer(markdown), None]:
        prose = markdown[last : code.start() if code else None]
        for pattern, replacement in RULES:
            prose = pattern.sub(replacement, prose)
        pieces += [prose, code[0] if code else ""]
        last = code.end() if code else len(markdown)
    return "".join(pieces)


def move_captions(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gives the text of every cell tagged ``caption`` to the figure before it."""
    kept: list[dict[str, Any]] = []
    for cell in cells:
        if "caption" not in cell["metadata"].get("tags", []):
            kept.append(cell)
            continue
        figures = [c for c in kept if c["cell_type"] == "code"][-1:]
        if not figures or "figure" not in figures[0]["metadata"].get("mystnb", {}):
            raise ExtensionError("a cell tagged 'caption' follows no figure (mystnb.figure.name)")
        figures[0]["metadata"]["mystnb"]["figure"]["caption"] = "".join(cell["source"]).strip()
    return kept


def hide_results(cells: list[dict[str, Any]]) -> None:
    """Leaves out the cells that only the tests read."""
    for cell in cells:
        if "results" in (tags := cell["metadata"].get("tags", [])):
            cell["metadata"]["tags"] = [*tags, "remove-cell"]


def name_folded(cells: list[dict[str, Any]]) -> None:
    """Says on the button of a folded cell what it holds, where that is always the same."""
    for cell in cells:
        for tag in PROMPTS.keys() & cell["metadata"].get("tags", []):
            cell["metadata"].setdefault("mystnb", {}).setdefault("code_prompt_show", PROMPTS[tag])


def rewrite_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """``source-read``: rewrites a page that is no notebook."""
    if not app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = rewrite(source[0])


def rewrite_notebook(app: Sphinx, docname: str, notebook: dict[str, Any]) -> None:
    """``notebook-read``: rewrites the Markdown cells of a notebook."""
    notebook["cells"] = move_captions(notebook["cells"])
    name_folded(notebook["cells"])
    hide_results(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = rewrite("".join(cell["source"]))


class Callouts(SphinxTransform):
    """Turns a block quote that starts with a sign and a bold title into an admonition."""

    default_priority = 20

    def apply(self, **kwargs: Any) -> None:
        """Replaces every such quote of the document."""
        for quote in list(self.document.findall(nodes.block_quote)):
            if admonition := self._admonition(quote):
                quote.replace_self(admonition)

    @staticmethod
    def _admonition(quote: nodes.block_quote) -> nodes.admonition | None:
        first = quote[0] if len(quote) else None
        if not isinstance(first, nodes.paragraph) or len(first) < 2:
            return None
        sign = first[0].astext().strip().removesuffix(VARIATION_SELECTOR)
        if sign not in CALLOUTS or not isinstance(first[1], nodes.strong):
            return None
        title = nodes.title("", "", *first[1].children)
        if title.children and isinstance(title[-1], nodes.Text):
            title[-1] = nodes.Text(title[-1].rstrip(" .。：:"))
        del first[:2]
        if first.children and isinstance(first[0], nodes.Text):
            first[0] = nodes.Text(first[0].lstrip())
        body = quote.children if first.astext().strip() else quote.children[1:]
        return nodes.admonition("", title, *body, classes=[CALLOUTS[sign]])


def remember_plugins() -> None:
    """Spares pybtex, at every citation, a search through the metadata of all installed packages."""
    for group, name in (("pybtex.backends", "docutils"), ("pybtex.backends", "plaintext")):
        register_plugin(group, name, find_plugin(group, name), force=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension; needs `bilingual`."""
    remember_plugins()
    app.connect("source-read", rewrite_page)
    app.connect("notebook-read", rewrite_notebook)
    app.add_transform(Callouts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
