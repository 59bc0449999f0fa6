"""Sphinx extension: what the theme says in the language of the edition.

Its Chinese catalogues lack some texts or have other words than the book, which
``locale/<language>.po`` mends: of two translations Sphinx takes the one that was added first, so
this extension is listed before the theme. Other texts stand in its templates, in the HTML of
notebooks and in a script in English and are handed to the catalogue here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2.ext import Extension
from sphinx.application import Sphinx
from sphinx.locale import _

CATALOGUES = ("sphinx", "booktheme")  # the second is the theme's own
# Attributes of the theme's templates that cannot be translated as they stand.
IN_TEMPLATES = (
    ("title", "Toggle primary sidebar"),
    ("title", "Toggle secondary sidebar"),
    ("aria-label", "Main"),
    ("aria-label", "Page"),
)
FOLDED = "Toggle hidden content"  # the name of the button, in a script
SUMMARY = f'<summary aria-label="{FOLDED}">'  # of a folded cell, which has its own text


class TranslatedTemplates(Extension):
    """Hands the texts of `IN_TEMPLATES` to the catalogue before a template is compiled."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The template with translatable texts."""
        for attribute, text in IN_TEMPLATES:
            translated = f"""{attribute}="{{{{ _('{text}') }}}}\""""
            source = source.replace(f'{attribute}="{text}"', translated)
        return source


def add_translations(app: Sphinx) -> None:
    """Compiles ``locale/<language>.po`` and adds it to the texts of `CATALOGUES`."""
    catalogue = Path(__file__).parent / "locale" / f"{app.config.language}.po"
    if not catalogue.exists():
        return
    folder = Path(app.doctreedir, "locale")
    compiled = folder / app.config.language / "LC_MESSAGES"
    compiled.mkdir(parents=True, exist_ok=True)
    with catalogue.open("rb") as source:
        texts = read_po(source, locale=app.config.language)
    for name in CATALOGUES:
        with (compiled / f"{name}.mo").open("wb") as target:
            write_mo(target, texts)
        app.add_message_catalog(name, str(folder))


def translate_templates(app: Sphinx) -> None:
    """``builder-inited``: from now on templates are compiled with their texts translated."""
    if app.builder.format == "html":
        app.builder.templates.environment.add_extension(TranslatedTemplates)


def name_folded_cells(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """``html-page-context``: a folded cell is called by the text that one sees."""
    if "body" in context:
        context["body"] = context["body"].replace(SUMMARY, "<summary>")


def name_buttons(app: Sphinx, exception: Exception | None) -> None:
    """``build-finished``: the button that unfolds an answer is named in the page's language."""
    script = Path(app.outdir, "_static", "togglebutton.js")
    if exception is None and script.exists():
        script.write_text(script.read_text("utf-8").replace(FOLDED, _(FOLDED)), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    add_translations(app)
    app.connect("builder-inited", translate_templates)
    app.connect("html-page-context", name_folded_cells)
    app.connect("build-finished", name_buttons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
