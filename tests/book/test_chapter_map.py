"""The map of the chapters: what they need, drawn once, in each language, with links that work."""

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from chapter_map import Chapter, breadth, chapters, direct, draw
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tests.book.conftest import ROOT

BOOK = chapters(ROOT)


def svg(html):
    return ElementTree.fromstring(html)[0][0]


def test_the_map_holds_every_chapter_of_the_contents():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    assert [one.page for one in BOOK] == [file for file in files if file.startswith("chapters/")]
    assert not any(re.search("[:：]", one.title) for one in BOOK)
    for one in BOOK[1:]:
        assert one.needs, f"{one.page}: its objectives link to no chapter that it needs"


def write(root, name, title, *links):
    objectives = "## Objectives ｜ 学习目标\n" + "".join(f"[x]({link})" for link in links)
    later = "## Later ｜ 之后\n[y](../01-a/04-never.ipynb)"
    cells = [
        {"cell_type": "markdown", "source": [text]} for text in (f"# {title}", objectives, later)
    ]
    path = root / "chapters" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(text), encoding="utf-8")


@pytest.fixture
def small(tmp_path) -> Path:
    """Four chapters; the last needs all others, the second looks ahead."""
    parts = {
        "A ｜ 甲": ["01-a/01-one", "01-a/02-two"],
        "B ｜ 乙": ["02-b/01-three", "02-b/02-four"],
    }
    contents = {
        "format": "jb-book",
        "root": "index",
        "parts": [
            {"caption": part, "chapters": [{"file": f"chapters/{name}"} for name in names]}
            for part, names in parts.items()
        ],
    }
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(contents, allow_unicode=True))
    write(tmp_path, "01-a/01-one", "One: at first ｜ 一：起初")
    write(tmp_path, "01-a/02-two", "U-Net ｜ U-Net", "01-one.ipynb#place", "../02-b/02-four.ipynb")
    write(tmp_path, "02-b/01-three", "Three & more ｜ 三", "../01-a/02-two.ipynb")
    write(
        *(tmp_path, "02-b/02-four", "Four ｜ 四"),
        *("01-three.ipynb", "../01-a/02-two.ipynb", "../01-a/01-one.ipynb"),
    )
    return tmp_path


def test_needs_are_the_earlier_chapters_that_the_objectives_name(small):
    one, two, three, four = chapters(small)
    assert (one.title, one.needs) == ("One ｜ 一", ())
    assert two.needs == (one.page,) and three.needs == (two.page,)
    assert four.needs == (one.page, two.page, three.page)
    found = direct([one, two, three, four])
    assert list(found.values()) == [[], [one.page], [two.page], [three.page]]


def test_a_chapter_without_objectives_is_named(small):
    path = small / "chapters/02-b/02-four.ipynb"
    path.write_text('{"cells": [{"cell_type": "markdown", "source": ["# Four"]}]}')
    with pytest.raises(ValueError, match="chapters/02-b/02-four needs a title and a section"):
        chapters(small)


def test_every_need_is_drawn_or_follows_from_others():
    found = direct(BOOK)
    for one in BOOK:
        reached, open_ones = set(), [*found[one.page]]
        while open_ones:
            page = open_ones.pop()
            reached.add(page)
            open_ones += found[page]
        assert set(one.needs) <= reached


@pytest.mark.parametrize("edition", ["both", "en", "zh"])
def test_an_edition_shows_its_languages(edition):
    picture = svg(draw(BOOK, edition, lambda page: f"{page}.html"))
    links = picture.findall("g/a")
    assert [link.get("href") for link in links] == [f"{one.page}.html" for one in BOOK]
    arcs = picture.findall("g/path")
    assert len(arcs) == sum(map(len, direct(BOOK).values()))
    text = "".join(picture.itertext())
    assert ("Gradient descent" in text, "梯度下降" in text) == (edition != "zh", edition != "en")
    assert len(picture.findall("text")) == len({one.part for one in BOOK})


def test_no_text_is_cut_off():
    long = Chapter("chapters/01-a/01-long", "W" * 20 + " ｜ " + "长" * 40, "P ｜ 部", ())
    heading = Chapter("chapters/01-a/01-short", "短 ｜ 短", f"P ｜ {'部' * 40}", ())
    for edition in ("both", "zh"):
        for one, left in ((long, 150 + 14), (heading, 0)):
            width = float(svg(draw([one], edition, str)).get("viewBox").split()[2])
            assert width > left + 14 * 40
    assert breadth("长") == 1 and breadth("W") == 0.6


def test_the_directive_links_from_its_page(small):
    (small / "book").mkdir()
    (small / "book/map.md").write_text("# Map ｜ 地图\n\n```{chapter-map}\n```\n", encoding="utf-8")
    settings = {
        "extensions": ["myst_nb", "bilingual", "chapter_map"],
        "bilingual_edition": "zh",
        "root_doc": "book/map",
        "exclude_patterns": ["chapters", "_build"],
        "nb_execution_mode": "off",
    }
    folders = (small, None, small / "_build", small / "_build" / "trees")
    with patch_docutils(), docutils_namespace():
        app = Sphinx(*folders, "html", settings, status=None, warning=io.StringIO(), freshenv=True)
        app.build(force_all=True)
        tree = app.env.get_and_resolve_doctree("book/map", app.builder)
    (drawing,) = tree.findall(nodes.raw)
    links = svg(drawing.astext()).findall("g/a")
    assert links[-1].get("href") == "../chapters/02-b/02-four.html"
    assert [link.find("text").text for link in links] == ["一", "U-Net", "三", "四"]
    assert 'href="../chapters/02-b/01-three.html"' in (small / "_build/book/map.html").read_text()


def test_on_a_phone_the_map_of_a_language_fits_without_moving_it():
    width = float(svg(draw(BOOK, "zh", str)).get("viewBox").split()[2])
    assert width <= 358
