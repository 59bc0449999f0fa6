"""The miniature book (two notebooks, two pages) that the extensions are tested on."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book" / "ext")]

from editions import build_edition, build_site  # noqa: E402

from tests.once import once  # noqa: E402


@pytest.fixture(scope="session")
def miniature_source() -> Path:
    return Path(__file__).parent / "fixture"


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str, str], tuple[nodes.document, str]]:
    """Gives the document tree of a Markdown page as an edition sees it, and the warnings."""

    def read_page(page: str, edition: str) -> tuple[nodes.document, str]:
        (tmp_path / "index.md").write_text(page, encoding="utf-8")
        warnings = io.StringIO()
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                srcdir=tmp_path,
                confdir=None,
                outdir=tmp_path / "_build",
                doctreedir=tmp_path / "_build" / "doctrees",
                buildername="dummy",
                confoverrides={
                    "extensions": ["myst_nb", "bilingual", "notebook_forms", "once_only"],
                    "numfig": True,
                    "bilingual_edition": edition,
                    "exclude_patterns": ["_build"],
                    "myst_enable_extensions": ["dollarmath"],
                    "nb_execution_mode": "off",
                },
                status=None,
                warning=warnings,
                freshenv=True,
            )
            app.build(force_all=True)
            return app.env.get_doctree("index"), warnings.getvalue()

    return read_page


@pytest.fixture
def width() -> int:
    """Of the window of `page`, in pixels; a test may name another."""
    return 900


@pytest.fixture
def page(browser, width: int) -> Iterator:
    """An empty page, of which nothing is left after the test."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def miniature(miniature_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the miniature book, built once with warnings as errors."""

    def build() -> Path:
        return build_site(miniature_source, tmp_path_factory.mktemp("miniature"))

    return once("miniature", tmp_path_factory, build)


@pytest.fixture(scope="session")
def fork(miniature_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The English miniature as somebody publishes it from a repository of their own."""

    def build() -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SEGEDU_REPOSITORY_URL", "https://github.com/teacher/fork")
            patch.setenv("SEGEDU_SITE_URL", "https://teacher.example/fork/")
            return build_edition(miniature_source, tmp_path_factory.mktemp("fork"), "en")

    return once("fork", tmp_path_factory, build)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the book itself, brought up to date with warnings as errors."""

    def build() -> Path:
        return build_site(ROOT, ROOT / "_build", clean=bool(os.environ.get("CI")))

    return once("site", tmp_path_factory, build)
