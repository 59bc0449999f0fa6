"""Slides of a chapter, in one language: its headings, figures and formulas, with reveal.js.

    python book/slides.py chapters/02-semantic/02-unet.ipynb --lang zh

writes a folder ``02-unet.zh.slides`` whose ``index.html`` opens in any browser, offline. A section
is a slide, and below it stand its formulas, figures and tables. The text of the section is in the
speaker's notes (key S). reveal.js (MIT) comes from its registry by ``npm``, once.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import SlidesExporter
from npm import NpmPackage
from traitlets.config import Config

from segedu.files import write_bytes, write_text
from segedu.tools.copy_chapter import copy_notebook

BOOK = Path(__file__).parent
sys.path.insert(0, str(BOOK / "ext"))
from self_contained import copy_mathjax  # noqa: E402

REVEAL = NpmPackage(
    "reveal.js",
    "5.2.1",
    "359b575dd51bbda32f89b2fd4c7dc46ad7389a805572158916c29252f7a27333",
    ("dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js"),
)
THEME = BOOK / "templates/slides/theme.css"
SHOWN = ("text/html", "image/svg+xml", "image/png")  # figures and tables; printed text is not
FORMULA = re.compile(r"\$\$.+?\$\$|\\begin\{(align\*?)\}.+?\\end\{\1\}", re.DOTALL)
# To other pages, which slides leave behind.
LINK = re.compile(r"\[([^\]\n]+)\]\((?!https?:)[^)\s]*\)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
ASIDE = {"Objectives", "学习目标", "Exercises", "练习", "Further reading", "延伸阅读"}


def slides(chapter: Mapping[str, Any], language: str) -> nbformat.NotebookNode:
    """The notebook of the slides: its cells say by their metadata what begins a slide.

    Args:
        chapter: the chapter's JSON; it is not changed.
        language: ``"en"`` or ``"zh"``.
    """
    copied = copy_notebook(chapter, language=language, solutions=False)
    cells: list[nbformat.NotebookNode] = []
    skipped, section = False, ""
    for cell in copied["cells"]:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if heading := re.match(r"#+ (.+)", source) if cell["cell_type"] == "markdown" else None:
            section = heading[1].strip()
            skipped = section in ASIDE
            if not skipped:
                cells.append(_markdown(source, "slide"))
        elif skipped or "solution" in tags or "setup" in tags:
            continue
        elif cell["cell_type"] == "code":
            cells += _figures(cell["outputs"], section)
        elif "caption" in tags:
            cells.append(_markdown(f"*{_text(source)}*", "-"))
        else:
            cells += [_markdown(formula[0], "-") for formula in FORMULA.finditer(source)]
            cells.append(_markdown(_text(FORMULA.sub("", source)), "notes"))
    return nbformat.v4.new_notebook(cells=cells, metadata={"title": _title(cells)})


def _title(cells: list[nbformat.NotebookNode]) -> str:
    return cells[0]["source"].lstrip("# ")


def _text(markdown: str) -> str:
    return COMMENT.sub("", LINK.sub(r"\1", markdown)).strip()


def _markdown(source: str, kind: str) -> nbformat.NotebookNode:
    metadata = {"slideshow": {"slide_type": kind}}
    return nbformat.v4.new_markdown_cell(COMMENT.sub("", source), metadata=metadata)


def _figures(outputs: list[dict[str, Any]], section: str) -> Iterator[nbformat.NotebookNode]:
    """A slide below that of the section for each figure or table."""
    for output in outputs:
        if set(output.get("data", {})) & set(SHOWN):
            yield _markdown(f"### {section}", "subslide")
            yield nbformat.v4.new_code_cell(outputs=[nbformat.from_dict(output)])


def write(chapter: Path, language: str, out: Path) -> None:
    """Write the slides of a chapter into the folder `out`, with all that they need.

    Raises:
        RuntimeError: if reveal.js is not to be had.
    """
    if problem := REVEAL.fetch():
        raise RuntimeError(f"reveal.js is not to be had: {problem}")
    notebook = slides(json.loads(chapter.read_text(encoding="utf-8")), language)
    exporter = SlidesExporter(
        template_name="slides",
        extra_template_basedirs=[str(BOOK / "templates")],
        reveal_url_prefix="reveal.js",
        reveal_theme="book",
        exclude_input=True,
        exclude_output_prompt=True,
        config=Config(HTMLExporter={"language_code": language}),
    )
    html, _ = exporter.from_notebook_node(notebook)
    for name, file in zip(REVEAL.files, REVEAL.kept(), strict=True):
        write_bytes(out / "reveal.js" / name, file.read_bytes())
    write_bytes(out / "reveal.js/LICENSE.txt", REVEAL.license.read_bytes())
    write_bytes(out / "reveal.js/dist/theme/book.css", THEME.read_bytes())
    copy_mathjax(out / "mathjax")
    write_text(out / "index.html", html)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python book/slides.py", description=__doc__)
    parser.add_argument("chapter", type=Path, help="a notebook below chapters/")
    parser.add_argument("--lang", required=True, choices=("en", "zh"))
    parser.add_argument("--out", type=Path, help="folder to write (default: here, by the chapter)")
    options = parser.parse_args(arguments)
    out = options.out or Path(f"{options.chapter.stem}.{options.lang}.slides")
    try:
        write(options.chapter, options.lang, out)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"slides: {error}", file=sys.stderr)
        return 2
    print(out / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
