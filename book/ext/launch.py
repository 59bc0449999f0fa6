"""Sphinx extension: where the launch and repository buttons lead.

The address stands once, in ``_config.yml`` (``repository: url, branch``). A fork changes no file:
the environment variable SEGEDU_REPOSITORY_URL wins, then GitHub's own GITHUB_REPOSITORY; the branch
may come from SEGEDU_REPOSITORY_BRANCH or GITHUB_REF_NAME. Without an address there are no buttons.

SEGEDU_SITE_URL says where the book is published; the pages then name their own address and that of
their other editions in full.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

ADDRESS = re.compile(r"https://[\w.-]+/[\w.-]+/[\w.-]+")
SITE = re.compile(r"https?://[\w.:-]+(/[\w.~-]+)*")


def repository(options: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, str]:
    """The (url, branch) that the buttons lead to; url is empty where none is known."""
    url, branch = options.get("repository_url", ""), options.get("repository_branch", "")
    if environ.get("SEGEDU_REPOSITORY_URL"):
        url = environ["SEGEDU_REPOSITORY_URL"]
        branch = environ.get("SEGEDU_REPOSITORY_BRANCH", branch)
    elif environ.get("GITHUB_REPOSITORY"):
        server = environ.get("GITHUB_SERVER_URL", "https://github.com")
        url = f"{server}/{environ['GITHUB_REPOSITORY']}"
        branch = environ.get("GITHUB_REF_NAME", branch)
    url = url.strip().rstrip("/").removesuffix(".git")
    if url and not ADDRESS.fullmatch(url):
        raise ExtensionError(
            f"repository url: got {url!r}, allowed: https://host/owner/name or nothing"
        )
    return url, branch or "main"


def site_url(environ: Mapping[str, str]) -> str:
    """Where the book is published, with a slash at the end; empty where that is not known."""
    url = environ.get("SEGEDU_SITE_URL", "").strip().rstrip("/")
    if url and not SITE.fullmatch(url):
        raise ExtensionError(f"SEGEDU_SITE_URL: got {url!r}, allowed: https://host/path or nothing")
    return f"{url}/" if url else ""


def set_buttons(app: Sphinx, config: Config) -> None:
    """``config-inited``: hands the address to the theme, or takes the buttons away."""
    options = config.html_theme_options
    url, branch = repository(options, os.environ)
    on_github = url.startswith("https://github.com/")
    options["repository_url"], options["repository_branch"] = url, branch
    options["repository_provider"] = "github" if url else ""
    options["use_repository_button"] = bool(url)
    options["launch_buttons"] = options.get("launch_buttons", {}) if on_github else {}


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.connect("config-inited", set_buttons, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
