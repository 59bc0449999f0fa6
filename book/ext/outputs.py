"""Sphinx extension: code and outputs in the language of the edition, charts in the page's colours.

A notebook keeps both languages. For a page the extension

- splits comments ``# English ｜ 中文`` and strings ``"English ｜ 中文"`` of code cells, also where
  neighbouring strings make one text, so that the code that is copied is the code that is shown;
- splits the lines of printed text and the texts of HTML and SVG outputs;
- sets charts (``image/svg+xml``) into the page itself: black becomes the colour of the text, the
  white ground is left out, and ids get the chart's own prefix.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tokenize
from html import escape
from itertools import accumulate, groupby
from typing import Any

from bilingual import BAR, LANGUAGES, plain
from sphinx.application import Sphinx

WORD = re.compile(r"[^\W\d_]")
STRING = re.compile(r"""(?P<prefix>\w*)(?P<quote>\"{3}|'{3}|"|')(?P<body>.*)(?P=quote)""", re.S)
OTHER_SPAN = r'<span class="lang-{}" lang="[^"]*">[^<]*</span> ?'
TEXT_NODE = re.compile(rf">([^<>]*{BAR}[^<>]*)<")
COLOUR = re.compile(r"<text\b[^>]*>|#(?:000000|ffffff)\b")
INK = {"#000000": "currentColor", "#ffffff": "var(--pst-color-background)"}
ID = re.compile(r'\bid="([^"]+)"')
GROUND = re.compile(r'<g id="patch_1">.*?</g>', re.S)  # the figure's own rectangle
HEAD = re.compile(
    r"<metadata>.*?</metadata>|<style\b.*?</style>|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>", re.S
)
SVG_TAG = re.compile(r"<svg\b[^>]*>")
SIZE = re.compile(r'\b(width|height)="([\d.]+)pt"')
PIXELS_PER_POINT = 96 / 72


# --- code -------------------------------------------------------------------------------------

Piece = tuple[str, int, int]  # kind (comment, string, other), first and last place in the code


def split_code(code: str, edition: str) -> str:
    """Python code whose comments and strings speak the language of the edition."""
    if edition == "both" or BAR not in code:
        return code
    try:
        found = pieces(code)
    except (tokenize.TokenError, IndentationError):
        return code  # not Python alone: a magic of the notebook
    for kind, group in reversed([(k, list(g)) for k, g in groupby(found, lambda piece: piece[0])]):
        if kind == "comment":
            for _, start, end in reversed(group):
                comment = plain(code[start + 1 : end].strip(), edition)
                code = f"{code[: start + 1]} {comment}{code[end:]}"
        elif kind == "string":
            start, end = group[0][1], group[-1][2]
            code = code[:start] + half_of_strings(code, group, edition) + code[end:]
    return code


def pieces(code: str) -> list[Piece]:
    """Comments, strings and what stands between them, in order."""
    lines = [0, *accumulate(map(len, code.splitlines(keepends=True)))]
    found: list[Piece] = []
    depth, opened = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        kind = tokenize.tok_name[token.type]
        start, end = (lines[line - 1] + column for line, column in (token.start, token.end))
        if kind == "FSTRING_START":  # from Python 3.12 on f-strings are taken apart
            opened = opened if depth else start
            depth += 1
        elif kind == "FSTRING_END":
            depth -= 1
            if not depth:
                found.append(("string", opened, end))
        elif not depth and kind != "NL":
            kind = kind.lower() if kind in ("STRING", "COMMENT") else "other"
            found.append((kind, start, end))
    return found


def half_of_strings(code: str, group: list[Piece], edition: str) -> str:
    """The half of neighbouring strings, one of which holds the bar, as code."""
    start, end = group[0][1], group[-1][2]
    whole = code[start:end]
    barred = [piece for piece in group if BAR in code[piece[1] : piece[2]]]
    if len(barred) != 1 or whole.count(BAR) != 1:
        return whole
    _, first, last = barred[0]
    prefix, quote, body = STRING.fullmatch(code[first:last]).group("prefix", "quote", "body")
    left, right = body.split(BAR)
    texts = {"en": code[start:first] + left, "zh": right + code[last:end]}
    if left.count("{") != left.count("}") or not all(map(WORD.search, texts.values())):
        return whole  # the bar of an expression, or a separator
    at = group.index(barred[0])
    if edition == "en":
        if not left.strip() and at:  # the bar begins a string: the one before ends the half
            return code[start : group[at - 1][2]]
        return f"{code[start:first]}{prefix}{quote}{left.rstrip()}{quote}"
    if not right.strip() and at + 1 < len(group):
        return code[group[at + 1][1] : end]
    return f"{prefix}{quote}{right.lstrip()}{quote}{code[last:end]}"


# --- outputs ----------------------------------------------------------------------------------


def split_lines(text: str, edition: str) -> str:
    """Printed text, line by line; what stands before the English half of a line stays."""
    if edition == "both" or BAR not in text:
        return text
    lines = text.split("\n")
    return "\n".join(plain(line, edition) if line.count(BAR) == 1 else line for line in lines)


def split_html(html: str, edition: str) -> str:
    """The texts of an HTML or SVG output."""
    if edition != "both":
        other = LANGUAGES[edition == "en"]
        html = re.sub(OTHER_SPAN.format(other), "", html)
    return TEXT_NODE.sub(lambda match: f">{plain(match[1], edition)}<", html)


def inline_chart(svg: str, options: dict[str, Any], edition: str) -> str:
    """A chart as a part of the page.

    Args:
        svg: what matplotlib has drawn, its text kept as text.
        options: ``mystnb.image`` of the cell: alternative text and width.
        edition: the edition of the page.
    """
    prefix = f"c{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
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


def convert_cell(cell: dict[str, Any], edition: str) -> None:
    """Code and outputs of a cell, in place."""
    cell["source"] = split_code("".join(cell["source"]), edition)
    options = cell["metadata"].get("mystnb", {}).get("image", {})
    for output in cell["outputs"]:
        if "text" in output:
            output["text"] = split_lines("".join(output["text"]), edition)
        data = output.get("data", {})
        for kind, convert in (
            ("text/plain", split_lines),
            ("text/html", split_html),
            ("text/markdown", split_lines),
        ):
            if kind in data:
                data[kind] = convert("".join(data[kind]), edition)
        if svg := data.pop("image/svg+xml", None):
            data["text/html"] = inline_chart("".join(svg), options, edition)


def convert_notebook(app: Sphinx, docname: str, source: list[str]) -> None:
    """``source-read``: the code cells of a notebook."""
    if not app.env.doc2path(docname).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            convert_cell(cell, app.config.bilingual_edition)
    source[0] = json.dumps(notebook, ensure_ascii=False)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension; needs `bilingual`."""
    app.connect("source-read", convert_notebook)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
