"""Pages that need nothing else: HTML with its pictures inside, in English and Chinese.

A page loads nothing and names nobody, but for the names of files.
"""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from segedu.languages import BAR, halves

STYLE = """
:root { color-scheme: light dark; --ink: #25302f; --page: #fffdf9; --line: #e3ddd0;
  --warn: #fdf1cf; --edge: #a14e12; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e2dc; --page: #171c1c; --line: #3a4341; --warn: #3a2c14; --edge: #e0954f; }
}
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--page);
  font: 16px/1.6 "Helvetica Neue", Arial, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei",
  sans-serif; }
h1 span, h2 span { display: inline-block; }
h1 .bar, h2 .bar { width: 1.5em; text-align: center; }
.warning { padding: .6rem 1rem; border-left: 4px solid var(--edge); background: var(--warn); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; line-height: 1.35; }
th, td { padding: .3rem .4rem; border-bottom: 1px solid var(--line); text-align: left; }
td { min-width: 6rem; }
td.number { min-width: 0; white-space: nowrap; }
th { vertical-align: bottom; }
th span { display: block; }
th .bar { display: none; }
.number { text-align: right; }
img { display: block; width: 100%; height: auto; background: white; border-radius: 4px; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
@media (max-width: 24rem) { .charts { grid-template-columns: 1fr; } }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page; ``title`` is ``English ｜ 中文``."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{bilingual(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def heading(text: str) -> str:
    """A heading, ``English ｜ 中文``."""
    return f"<h2>{bilingual(text)}</h2>"


def paragraphs(text: str) -> str:
    """A paragraph for each language of ``English ｜ 中文``."""
    split = halves(html.escape(text))
    return f"<p>{split['en']}</p><p lang='zh'>{split['zh']}</p>"


def bilingual(text: str) -> str:
    """The halves of a short text, so that a line ends between them."""
    text = html.escape(text)
    if (split := halves(text)) is None:
        return f"<span>{text}</span>"
    bar = f"<span class='bar'> {BAR} </span>"
    return f"<span>{split['en']}</span>{bar}<span lang='zh'>{split['zh']}</span>"


def table(rows: Sequence[Mapping[str, Any]], heads: Mapping[str, str]) -> str:
    """Rows with the same keys; what does not exist is a dash.

    Args:
        rows: key -> value; texts and lists stand left and may wrap, numbers stand right.
        heads: key -> its head, ``English ｜ 中文``; the key itself where it is not there.
    """
    keys = list(rows[0])
    texts = {key for key in keys if all(isinstance(row[key], str) for row in rows)}
    texts &= {"image", "class", "metric", "about", "text"}
    texts |= {key for key in keys if any(isinstance(row[key], list) for row in rows)}
    align = ["" if key in texts else " class='number'" for key in keys]
    cells = [[cell(row[key]) for key in keys] for row in rows]
    cells = [[f"<td{a}>{c}</td>" for a, c in zip(align, row, strict=True)] for row in cells]
    names = (bilingual(heads.get(key, key)) for key in keys)
    titles = [f"<th{a}>{name}</th>" for a, name in zip(align, names, strict=True)]
    lines = "".join(f"<tr>{''.join(line)}</tr>" for line in (titles, *cells))
    return f"<div class='wide'><table>{lines}</table></div>"


def cell(value: Any) -> str:
    """A value of a table: three digits, lists of numbers with one, a dash for what is absent."""
    if isinstance(value, list):
        return ", ".join(f"{number:.1f}" for number in value) or "–"
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else "–"
    return "–" if value is None else html.escape(str(value))


def picture(shown: Figure | Image.Image, alt: str) -> str:
    """A figure, which is closed, or an image as part of the page."""
    import matplotlib.pyplot as plt

    file = io.BytesIO()
    if isinstance(shown, Figure):
        how = {"dpi": 140, "bbox_inches": "tight", "metadata": {"Software": None}}
        shown.savefig(file, format="png", **how)
        plt.close(shown)
    else:
        shown.save(file, format="PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f"<img alt='{html.escape(alt)}' src='data:image/png;base64,{data}'>"
