"""Sphinx extension: pages that need nothing from elsewhere and load fast.

- MathJax is copied from the package ``sphinx-mathjax-offline``: the file with the macros of TeX and
  AMS, the fonts, and the extensions, of which a page loads one only when a macro (``\\boldsymbol``)
  needs it. An edition whose ``mathjax_path`` points to another's copy gets none.
- ``fontawesome.js`` (1.4 MB) is blanked: the theme's icon font draws the same icons.
- The icon font is cut down to the icons that the pages and the theme name.
- The Chinese font for machines without one is cut down to the characters of the pages.
- Source maps are removed. Figures get their size and are loaded when they come into view; the
  frames of an explorer, which stand inside the notebook's HTML, become files for that.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import imagesize
from fontTools import subset
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

logger = logging.getLogger(__name__)

MATHJAX_FILE = "tex-chtml.js"
MATHJAX_FONTS = "output/chtml/fonts/woff-v2"
MATHJAX_EXTENSIONS = "input/tex/extensions"
DATA_URI = re.compile(r"data:image/(png|webp|jpeg|gif);base64,([A-Za-z0-9+/=]+)")
HAN_FONT = Path(__file__).parents[2] / "segedu/viz/fonts/SegeduSansSC-Regular.otf"
HAN = re.compile("[\u2014\u2018-\u201d\u2026\u2e80-\u9fff\uff00-\uffef]")
ICON = re.compile("fa-([a-z0-9-]+)")  # a boundary before it takes a search thirty times as long
ICON_RULE = re.compile(r'((?:\.fa-[\w-]+::?before,?)+)\{content:"\\([0-9a-f]+)"\}')
IMAGE = re.compile(r'<img\b(?![^>]*\bloading=)(?P<attributes>[^>]*?\bsrc="(?P<src>[^"]+)"[^>]*)>')


def mathjax_folder() -> Path:
    """The folder of MathJax in the installed package."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ExtensionError("sphinx-mathjax-offline is not installed (see requirements.txt)")
    return Path(spec.origin).parent / "static" / "mathjax"


def copy_mathjax(target: Path) -> None:
    """Put MathJax into a folder."""
    source = mathjax_folder()
    for folder in (MATHJAX_FONTS, MATHJAX_EXTENSIONS):
        shutil.copytree(source / folder, target / folder, dirs_exist_ok=True)
    shutil.copy2(source / MATHJAX_FILE, target / MATHJAX_FILE)


def lazy_figures(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """``html-page-context``: figures say their size and wait until they are near."""
    if "body" not in context:
        return
    sources = {name: Path(app.srcdir, source) for source, (_, name) in app.env.images.items()}

    def lazy(match: re.Match[str]) -> str:
        attributes, src, size = match["attributes"], match["src"], ""
        if embedded := DATA_URI.fullmatch(src):
            name = store_image(Path(app.outdir), base64.b64decode(embedded[2]), embedded[1])
            attributes = attributes.replace(src, context["pathto"](name, 1))
        source = sources.get(src.rsplit("/", 1)[-1])
        if source and source.exists() and not re.search(r"\b(width|height)=", attributes):
            width, height = imagesize.get(source)
            size = f' width="{width}" height="{height}"' if width > 0 else ""
        return f'<img loading="lazy" decoding="async"{size}{attributes}>'

    context["body"] = IMAGE.sub(lazy, context["body"])


def store_image(outdir: Path, data: bytes, suffix: str) -> str:
    """Writes a picture among those of the book and returns its path from the book's root."""
    name = f"_images/{hashlib.sha256(data).hexdigest()[:24]}.{suffix}"
    target = outdir / name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
    return name


def cut_icon_font(static: Path) -> None:
    """Keep the icons named in pages, scripts and style sheets: 156 kB become a few."""
    theme = Path(find_spec("pydata_sphinx_theme").origin).parent
    font = "vendor/fontawesome/webfonts/fa-solid-900.woff2"
    styles = "".join(sheet.read_text(encoding="utf-8") for sheet in static.rglob("*.css"))
    sources = [*static.parent.rglob("*.html"), *static.rglob("*.js")]
    named = {name for file in sources for name in ICON.findall(file.read_text(encoding="utf-8"))}
    # Icons by class (see ICON_RULE), and those that a rule of the theme draws without a class.
    codes = {code for names, code in ICON_RULE.findall(styles) if named & set(ICON.findall(names))}
    others = ICON_RULE.sub("", styles)
    codes |= set(re.findall(r"\\(f[0-9a-f]{3})\b", others))
    codes |= {f"{ord(char):x}" for char in others if "\ue000" <= char <= "\uf8ff"}
    options = subset.Options(flavor="woff2", layout_features=[])
    icons = subset.load_font(str(theme / "theme/pydata_sphinx_theme/static" / font), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[int(code, 16) for code in codes])
    cutter.subset(icons)
    subset.save_font(icons, str(static / font), options)


def cut_han_font(static: Path) -> None:
    """Write the Chinese web font: the characters of all pages, out of the font of the figures."""
    pages = [page.read_text(encoding="utf-8") for page in static.parent.rglob("*.html")]
    used = {ord(char) for char in set().union("—‘’“”…", *pages) if HAN.match(char)}
    options = subset.Options(flavor="woff2", layout_features=[], hinting=False)
    font = subset.load_font(str(HAN_FONT), options)
    if missing := used - font.getBestCmap().keys():
        logger.warning(
            "%s lacks %s: add them to TECHNICAL in subset.py beside it and run that",
            HAN_FONT.name,
            "".join(map(chr, sorted(missing))),
        )
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=used)
    cutter.subset(font)
    subset.save_font(font, str(static / "fonts" / "SegeduSansSC.woff2"), options)


def finish(app: Sphinx, exception: Exception | None) -> None:
    """``build-finished``: completes and slims ``_static``."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    if not app.config.mathjax_path.startswith(".."):
        copy_mathjax(static / "mathjax")
    icons = static / "scripts" / "fontawesome.js"
    if icons.exists():
        icons.write_text("/* the icons come from the font */\n")
    cut_icon_font(static)
    cut_han_font(static)
    for source_map in static.rglob("*.map"):
        source_map.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension and the book's own style sheet and script."""
    app.add_css_file("book.css")
    app.add_js_file("book.js", loading_method="defer")
    app.connect("html-page-context", lazy_figures, priority=900)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
