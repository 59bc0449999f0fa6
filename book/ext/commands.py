"""Sphinx extension: what a reader types or downloads to run the chapters.

``{clone}`` shows commands in a fresh clone, with the address that the configuration names;
``{wheel}`` links to the package as one file, which the published site holds (book/editions.py);
``{exercises}`` lists the exercises of all chapters, by the names that `segedu.teaching` uses.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bilingual import plain
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
PLACEHOLDER = "https://github.com/OWNER/NAME"


class Clone(SphinxDirective):
    """``{clone}``: commands in a fresh clone; comments are ``# English ｜ 中文``."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Puts the two commands that make the clone before the others."""
        url = self.config.html_theme_options.get("repository_url") or PLACEHOLDER
        lines = [f"git clone {url}", f"cd {url.rsplit('/', 1)[1]}"]
        for line in self.content:
            command, mark, comment = line.partition("# ")
            if self.config.bilingual_edition != "both":
                comment = plain(comment, self.config.bilingual_edition)
            lines.append(command + mark + comment)
        code = "\n".join(lines)
        return [nodes.literal_block(code, code, language="bash")]


class Wheel(SphinxDirective):
    """``{wheel}``: the package as one file, which stands at the top of the published site."""

    def run(self) -> list[nodes.Node]:
        """A link in the site of all editions, the name of the file elsewhere."""
        name = wheel_name(ROOT)
        if not self.config.bilingual_editions:
            return [nodes.paragraph("", "", nodes.literal(name, name))]
        up = "../" * (self.env.docname.count("/") + (self.config.bilingual_edition != "both"))
        link = nodes.reference("", "", nodes.literal(name, name), refuri=up + name, internal=True)
        return [nodes.paragraph("", "", link)]


class Exercises(SphinxDirective):
    """``{exercises}``: name and title of every exercise, out of the chapters' notebooks."""

    def run(self) -> list[nodes.Node]:
        """A list with an entry for each exercise; titles are ``English ｜ 中文``."""
        found = nodes.bullet_list()
        for path in sorted((ROOT / "chapters").glob("*/*.ipynb")):
            self.env.note_dependency(str(path))
            for name, title in titles(json.loads(path.read_text(encoding="utf-8"))):
                text = plain(title, self.config.bilingual_edition)
                line = nodes.paragraph("", "", nodes.literal(name, name), nodes.Text(f" {text}"))
                found += nodes.list_item("", line)
        return [found]


def titles(chapter: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The exercises of a notebook: name and heading."""
    title = ""
    for cell in chapter["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and text.startswith("### "):
            title = text.removeprefix("### ").split("\n")[0]
        elif "exercise" in cell["metadata"].get("tags", []):
            yield re.search(r'^check\("([a-z0-9-]+)"', text, re.MULTILINE)[1], title


def wheel_name(root: Path) -> str:
    """The file name of the package's wheel, by its `pyproject.toml`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"{project['name']}-{project['version']}-py3-none-any.whl"


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension; needs `bilingual` and `launch`."""
    app.add_directive("clone", Clone)
    app.add_directive("wheel", Wheel)
    app.add_directive("exercises", Exercises)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
