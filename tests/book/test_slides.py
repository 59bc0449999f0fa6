"""Slides: sections, figures and formulas in one language, and nothing from elsewhere."""

import json
import re

import pytest
import slides
from browser import serve

from tests.book.conftest import ROOT

CHAPTER = ROOT / "chapters/05-losses-and-metrics/02-region-losses.ipynb"


def cell(kind, source, *tags, **more):
    return {"cell_type": kind, "source": [source], "metadata": {"tags": list(tags)}, **more}


def code(source, output, *tags):
    return cell("code", source, *tags, outputs=[output] if output else [], execution_count=1)


TABLE = {
    "output_type": "display_data",
    "metadata": {},
    "data": {"text/html": "<b>n ｜ 数</b>", "text/plain": "x"},
}
PRINTED = {"output_type": "stream", "name": "stdout", "text": "3"}
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        cell("markdown", "# One ｜ 一"),
        code("import os", None, "setup"),
        cell("markdown", "## Objectives ｜ 学习目标"),
        cell("markdown", "You can.", "lang-en"),
        cell("markdown", "## Grass ｜ 草"),
        cell("markdown", "As [there](../a.ipynb#b): $$a = 1$$ <!-- eq-a -->", "lang-en"),
        cell("markdown", "如[彼处](../a.ipynb#b)：$$a = 1$$", "lang-zh"),
        code("print(3)", PRINTED),
        code("table()", TABLE),
        cell("markdown", "A table. ｜ 表。", "caption"),
        cell("markdown", "## Exercises ｜ 练习"),
        code("solved()", TABLE, "solution"),
    ],
}


@pytest.mark.parametrize(
    ("language", "title", "grass", "note", "table", "caption"),
    [
        ("en", "One", "Grass", "As there:", "n", "*A table.*"),
        ("zh", "一", "草", "如彼处：", "数", "*表。*"),
    ],
)
def test_what_becomes_of_a_chapter(language, title, grass, note, table, caption):
    found = slides.slides(NOTEBOOK, language)
    assert found["metadata"]["title"] == title
    kinds = [c["metadata"].get("slideshow", {}).get("slide_type") for c in found["cells"]]
    assert list(zip(kinds, [c["source"] for c in found["cells"]], strict=True)) == [
        ("slide", f"# {title}"),
        ("slide", f"## {grass}"),
        ("-", "$$a = 1$$"),
        ("notes", note),
        ("subslide", f"### {grass}"),
        (None, ""),
        ("-", caption),
    ]
    assert found["cells"][5]["outputs"][0]["data"]["text/html"] == f"<b>{table}</b>"


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    if problem := slides.REVEAL.fetch():
        pytest.skip(f"reveal.js is not to be had: {problem}")
    out = tmp_path_factory.mktemp("deck")
    assert slides.main([str(CHAPTER), "--lang", "zh", "--out", str(out)]) == 0
    return out


def test_nothing_comes_from_elsewhere(deck):
    html = (deck / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'\b(?:src|href)="(?!data:|#|reveal\.js/|mathjax/)([^"]*)"', html) == []
    assert '<html lang="zh">' in html
    assert re.findall(r">[^<]*｜[^<]*<", re.sub(r"<script.*?</script>", "", html, flags=re.S)) == []


@pytest.mark.browser
def test_a_browser_shows_all_slides(deck, browser):
    headings = [
        "".join(cell["source"])
        for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown" and "".join(cell["source"]).startswith("#")
    ]
    with serve(deck) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("response", lambda r: problems.append(r.url) if r.status >= 400 else None)
        page.on("request", lambda r: r.url.startswith(address) or problems.append(r.url))
        page.goto(f"{address}index.html")
        page.wait_for_selector("mjx-container", state="attached")
        assert page.evaluate("Reveal.getHorizontalSlides().length") == len(headings) - 3
        assert page.evaluate("Reveal.getTotalSlides()") > len(headings)
        page.evaluate("Reveal.slide(2, 1)")
        notes = page.evaluate("Reveal.getSlideNotes(Reveal.getSlide(2, 0)) || ''")
        wide = page.evaluate(
            """[...document.querySelectorAll(".slides section:not(.stack)")].filter(
              (slide) => slide.scrollWidth > Reveal.getConfig().width + 4).length"""
        )
        page.close()
    assert not problems
    assert len(notes) > 100
    assert wide == 0


def test_bad_input_is_one_line(tmp_path, capsys):
    assert slides.main([str(tmp_path / "none.ipynb"), "--lang", "en"]) == 2
    assert capsys.readouterr().err.startswith("slides: ")
    assert list(tmp_path.iterdir()) == []
