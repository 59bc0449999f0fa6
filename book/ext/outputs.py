"""Sphinx extension: code and outputs in the language of the edition, charts in the page's colours.

A notebook keeps both languages. For a page the extension

- splits comments ``# English ｜ 中文`` and strings ``"English ｜ 中文"`` of code cells, also where
  neighbouring strings make one text, so that the code that is copied is the code that is shown;
- splits the lines of printed text and the texts of HTML and SVG outputs;
- ties the parts of names and ranges in tables and in captions of pictures: a browser may break them
  at their dashes;
- marks the two halves of a text of a table or of a note below a drawing, so that the style sheet
  keeps each of them whole;
- sets charts (``image/svg+xml``, alone or as the pictures of a slider) into the page itself: black
  becomes the colour of the text, the white ground is left out, and ids get the chart's own prefix.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from html import escape, unescape
from typing import Any

from bilingual import NAME
from sphinx.application import Sphinx

from segedu.languages import BAR, halves
from segedu.tools.languages import split_code, split_html, split_lines

COLOUR = re.compile(r"<text\b[^>]*>|#(?:000000|ffffff)\b")
INK = {"#000000": "currentColor", "#ffffff": "var(--pst-color-background)"}
ID = re.compile(r'\bid="([^"]+)"')
GROUND = re.compile(r'<g id="patch_1">.*?</g>', re.S)  # the figure's own rectangle
HEAD = re.compile(
    r"<metadata>.*?</metadata>|<style\b.*?</style>|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>", re.S
)
# A label with a formula: matplotlib sets it letter by letter, and writes its source before it.
SET_LABEL = re.compile(
    rf"<!-- ([^>]*\$[^>]*{BAR}[^>]*|[^>]*{BAR}[^>]*\$[^>]*) -->"
    r"\s*<g\b([^>]*)>\s*<text>(.*?)</text>\s*</g>",
    re.S,
)
LAST_LETTER = re.compile(r'.*<tspan x="([-\d.]+)"[^>]*font-size: ([\d.]+)px', re.S)
RANGE = re.compile(r"[(（]?\d[\d.,]*–\d[\d.,]*[)）]?")
TEXT = re.compile(r">([^<>]+)<")
# A text of a page in two languages; of a drawing, <text> and <title> hold nothing but text.
PAIR = re.compile(rf"(<(?:td|th|caption|div|span)\b[^>]*>)([^<>]*{BAR}[^<>]*)(?=<)")
COMMAND = re.compile(r"\\([A-Za-z]+)")
SVG_TAG = re.compile(r"<svg\b[^>]*>")
SIZE = re.compile(r'\b(width|height)="([\d.]+)pt"')
PIXELS_PER_POINT = 96 / 72
SVG_DATA = "data:image/svg+xml;base64,"
SLIDER_CHART = re.compile(
    rf'<img\b[^>]*?alt="([^"]*)"[^>]*?src="{re.escape(SVG_DATA)}([A-Za-z0-9+/=]+)"[^>]*>'
)


def plain_label(match: re.Match[str]) -> str:
    """A label in two languages with a formula, as one text that can be split."""
    source, attributes, letters = match.groups()
    text = COMMAND.sub(letter, source).translate(str.maketrans("", "", "${}"))
    width, size = map(float, LAST_LETTER.match(letters).groups())
    legend = match.string.rfind('<g id="legend_', 0, match.start()) > match.string.rfind(
        '<g id="axes_', 0, match.start()
    )
    place = "" if legend else f' x="{width / 2:.1f}" text-anchor="middle"'
    return f'<g{attributes}><text{place} style="font-size: {size}px">{escape(text)}</text></g>'


def letter(match: re.Match[str]) -> str:
    """A Greek letter for its command; nothing for a command that only sets the font."""
    try:
        return unicodedata.lookup(f"GREEK SMALL LETTER {match[1].upper()}")
    except KeyError:
        return ""


def inline_chart(svg: str, options: dict[str, Any], edition: str) -> str:
    """A chart as a part of the page.

    Args:
        svg: what matplotlib has drawn, its text kept as text.
        options: ``mystnb.image`` of the cell: alternative text and width.
        edition: the edition of the page.
    """
    prefix = f"c{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    svg = SET_LABEL.sub(plain_label, svg)
    svg = GROUND.sub("", HEAD.sub("", svg), count=1).strip()
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = ID.sub(lambda match: f'id="{prefix}{match[1]}"' if match[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = COLOUR.sub(lambda match: INK.get(match[0], match[0]), svg)  # not of texts on a colour
    size = {name: float(points) * PIXELS_PER_POINT for name, points in SIZE.findall(svg)}
    width = options.get("width", f"{size['width']:.0f}px")
    tag = SIZE.sub("", SVG_TAG.search(svg)[0]).removesuffix(">")
    tag += f' role="img" aria-label="{escape(options.get("alt", ""))}" style="width: {width}">'
    svg = SVG_TAG.sub(lambda _: tag, svg, count=1)
    return f'<div class="book-chart">{split_html(svg, edition)}</div>'


def inline_slider_charts(html: str, edition: str) -> str:
    """An output whose pictures that are charts have become parts of the page."""
    if SVG_DATA not in html:  # spares a search through megabytes of other pictures
        return html

    def inline(match: re.Match[str]) -> str:
        svg = base64.b64decode(match[2]).decode()
        return inline_chart(svg, {"alt": unescape(match[1])}, edition)

    return SLIDER_CHART.sub(inline, html)


def unbroken(match: re.Match[str]) -> str:
    """A text of a table or a caption whose names and ranges stay on one line."""
    text = match[1]
    for pattern in (NAME, RANGE):
        text = pattern.sub(r'<span class="unbroken">\g<0></span>', text)
    return f">{text}<"


def marked(match: re.Match[str]) -> str:
    """A text in two languages, each half in an element of its own."""
    text = halves(match[2])
    if text["en"] == text["zh"]:
        return match[1] + text["en"]
    return (
        f'{match[1]}<span class="lang-en" lang="en">{text["en"]}</span> '
        f'<span class="lang-zh" lang="zh-CN">{text["zh"]}</span>'
    )


def convert_cell(cell: dict[str, Any], edition: str) -> None:
    """Code and outputs of a cell, in place."""
    cell["source"] = split_code("".join(cell["source"]), edition)
    options = cell["metadata"].get("mystnb", {}).get("image", {})
    for output in cell["outputs"]:
        if "text" in output:
            output["text"] = split_lines("".join(output["text"]), edition)
        data = output.get("data", {})
        if html := data.get("text/html"):
            data["text/html"] = inline_slider_charts("".join(html), edition)
            if edition == "both" and re.search("segedu-(?:table|architecture)", data["text/html"]):
                data["text/html"] = PAIR.sub(marked, data["text/html"])
        for kind, convert in (
            ("text/plain", split_lines),
            ("text/html", split_html),
            ("text/markdown", split_lines),
        ):
            if kind in data:
                data[kind] = convert("".join(data[kind]), edition)
        if re.search("segedu-(?:table|pictures)", data.get("text/html", "")):
            data["text/html"] = TEXT.sub(unbroken, data["text/html"])
        if svg := data.pop("image/svg+xml", None):
            data["text/html"] = inline_chart("".join(svg), options, edition)


def convert_notebook(app: Sphinx, docname: str, notebook: dict[str, Any]) -> None:
    """``notebook-read``: the code cells of a notebook."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            convert_cell(cell, app.config.bilingual_edition)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension; needs `bilingual`."""
    app.connect("notebook-read", convert_notebook)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
