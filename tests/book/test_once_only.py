"""What `once_only` remembers is what Sphinx, docutils and the theme would have made again."""

from pathlib import Path
from types import SimpleNamespace

import once_only
import pytest
from docutils import nodes
from hypothesis import given, settings
from hypothesis import strategies as st
from once_only import (
    CURRENT_ENTRY,
    CURRENT_PART,
    ENTRY,
    Navigation,
    findall,
    mark,
    share_formatters,
    unmark,
)
from sphinx.environment import BuildEnvironment
from sphinx.highlighting import PygmentsBridge

KINDS = (nodes.paragraph, nodes.emphasis, nodes.section, nodes.strong)


def navigation(page: Path) -> str:
    html = page.read_text(encoding="utf-8")
    start = html.index('<nav class="bd-links')
    return html[start : html.index("</nav>", start)]


@pytest.mark.parametrize("folder", ["", "en", "zh"])
def test_the_theme_writes_what_is_marked(miniature, folder):
    chapters = miniature / folder / "chapters" / "01-part"
    first, second = (navigation(chapters / name) for name in ("01-first.html", "02-second.html"))
    assert first.count(CURRENT_ENTRY) == first.count(CURRENT_PART) == 1
    assert first.count(ENTRY.format("02-second.html")) == 1
    unmarked = unmark(first, "01-first.html")
    assert CURRENT_ENTRY not in unmarked and mark(unmarked, "01-first.html") == first
    assert mark(unmarked, "02-second.html") == second
    assert mark(unmarked, "not-listed.html") == unmarked


class Theme:
    """Makes the table of contents of a page, and says how often it was asked."""

    def __init__(self, nested: str = "") -> None:
        self.nested, self.calls, self.builder, self.name = nested, 0, self, "html"

    def made(self, folder: str, current: str) -> str:
        """Two parts, each with two pages; addresses are relative to the page."""
        parts = ""
        for part in ("a", "b"):
            up = "" if part == folder else f"../{part}/"
            here = part == folder
            entries = "".join(
                (CURRENT_ENTRY if here and page == current else ENTRY.format(f"{up}{page}.html"))
                + f"{part}/{page}</a></li>"
                for page in ("one", "two")
            )
            listed = here and current in ("one", "two")
            parts += (CURRENT_PART if listed else once_only.PART) + entries + "</ul>"
        return parts + self.nested

    def generate(self, folder: str, page: str):
        def generate_toctree_html(**options):
            self.calls += 1
            return self.made(folder, page)

        return generate_toctree_html


def seen(remember: Navigation, theme: Theme, folder: str, page: str, **options) -> str:
    context = {"file_suffix": ".html"}
    remember(theme, f"{folder}/{page}", "page.html", context, None)
    return context["navigation_of"](theme.generate(folder, page))(**options)


def test_a_table_of_contents_is_made_once_for_a_folder():
    remember, theme = Navigation(), Theme()
    for folder, page in [("a", "one"), ("a", "two"), ("b", "two"), ("b", "one"), ("a", "other")]:
        assert seen(remember, theme, folder, page, depth=1) == theme.made(folder, page)
    assert theme.calls == 2  # one for each folder
    seen(remember, theme, "a", "one", depth=2)
    assert theme.calls == 3


def test_what_cannot_be_made_again_is_made_by_the_theme_each_time():
    remember, theme = Navigation(), Theme(nested='<li class="has-children">')
    for page in ("one", "two"):
        assert seen(remember, theme, "a", page) == theme.made("a", page)
    assert theme.calls == 2
    theme = Theme()
    theme.name = "singlehtml"  # its addresses are other ones
    for page in ("one", "two"):
        seen(remember, theme, "a", page)
    assert theme.calls == 2


def test_figures_of_the_page_at_hand_are_found_without_loading_it_again(read, monkeypatch):
    loaded = []
    original = BuildEnvironment.get_doctree

    def get_doctree(env, docname):
        loaded.append(docname)
        return original(env, docname)

    monkeypatch.setattr(BuildEnvironment, "get_doctree", get_doctree)
    figure = "```{figure} x.png\n:name: fig-x\nA caption\n```\n"
    counts = []
    for references in (1, 5):
        loaded.clear()
        _, warnings = read(f"# Page\n\n{figure}" + "{numref}`fig-x`\n\n" * references, "en")
        assert "x.png" in warnings and "numref" not in warnings
        counts.append(len(loaded))
    assert counts[0] == counts[1]


def test_code_is_written_by_one_formatter_for_the_same_options():
    code = "def one(x):\n    return x  # 一\n"
    options = ({}, {"linenos": "inline"}, {"hl_lines": [1]}, {"hl_lines": [2]})
    plain, sharing = PygmentsBridge(), PygmentsBridge()
    share_formatters(SimpleNamespace(builder=SimpleNamespace(highlighter=sharing)))
    written = set()
    for _ in range(2):
        for chosen in options:
            expected = plain.highlight_block(code, "python", **chosen)
            assert sharing.highlight_block(code, "python", **chosen) == expected
            assert sharing.get_formatter(**chosen) is sharing.get_formatter(**chosen)
            written.add(expected)
    assert len(written) == len(options)
    share_formatters(SimpleNamespace(builder=SimpleNamespace()))


def grown(shape: list) -> nodes.Element:
    """A tree with a node for each list, of a kind that depends on its length, and texts."""
    node = KINDS[len(shape) % len(KINDS)]("", classes=[str(len(shape))])
    for child in shape:
        node += nodes.Text("text") if isinstance(child, int) else grown(child)
    return node


SHAPES = st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=4), max_leaves=30)


@settings(deadline=None)
@given(st.lists(SHAPES, max_size=5))
def test_nodes_are_found_as_docutils_finds_them(shape):
    tree = grown(shape)
    conditions = [None, nodes.Text, nodes.Element, nodes.Inline, *KINDS]
    conditions += [lambda node: isinstance(node, nodes.Element) and "2" in node["classes"]]
    for start in once_only.FINDALL(tree):
        for condition in conditions:
            for options in ({}, {"include_self": False}, {"siblings": True}, {"ascend": True}):
                found = list(map(id, findall(start, condition, **options)))
                assert found == list(map(id, once_only.FINDALL(start, condition, **options)))
