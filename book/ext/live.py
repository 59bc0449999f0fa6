"""Sphinx extension: figures of `segedu.viz.live` learn where the files of their networks are.

Config value:
    live_files: path of the folder with the runtime and the networks (`book/runtime.py`), from the
        top of the edition, ending in a slash; empty where they are not: then no button is shown.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

FIGURE = '<div class="segedu-live"'


def add_files(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """``html-page-context``: the path to the files, from the page."""
    if app.config.live_files and FIGURE in context.get("body", ""):
        files = context.get("content_root", "") + app.config.live_files
        context["body"] = context["body"].replace(FIGURE, f'{FIGURE} data-files="{files}"')


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_config_value("live_files", "", "html", [str])
    app.connect("html-page-context", add_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
