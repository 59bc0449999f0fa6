"""The checklist of a project: the stages of its chapter, equal in both languages, on one sheet."""

import json
import re
import shutil
from pathlib import Path

import pytest
from browser import serve
from editions import ROOT, build_edition

from tests.chapters.test_pages import Page

PAGE = ROOT / "book" / "checklist.md"
CHAPTER = ROOT / "chapters" / "09-wrap-up" / "02-running-a-project.ipynb"
BOX = re.compile(r"^- ☐ \S", re.M)
SHEET = re.compile(rb"/Type\s*/Page\b")


def test_its_stages_are_those_of_the_chapter():
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    told = re.findall(r"^## Stage (\d+): .+ ｜ 第 (\d+) 阶段：", prose, re.M)
    listed = re.findall(r"^## (\d+)\. .+ ｜ (\d+)\. ", PAGE.read_text(encoding="utf-8"), re.M)
    assert told == listed == [(str(n), str(n)) for n in range(1, 11)]


def test_both_languages_have_the_same_boxes():
    cells = Page(PAGE).cells
    halves_of_stages = [
        ("".join(cell["source"]), "".join(following["source"]))
        for cell, following in zip(cells, cells[1:], strict=False)
        if "lang-en" in cell["metadata"].get("tags", ()) and "☐" in cell["source"]
    ]
    assert len(halves_of_stages) == 10
    for english, chinese in halves_of_stages:
        assert len(BOX.findall(english)) == len(BOX.findall(chinese)) >= 1
        assert english.count("☐") == len(BOX.findall(english))


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_is_printed_on_one_sheet(language, browser, tmp_path):
    """The page alone, with the style of the book; A4, as its readers' printers hold it."""
    source = alone(tmp_path / "book")
    folder = build_edition(source, tmp_path / "work", language)
    with serve(folder) as address:
        page = browser.new_page(color_scheme="light")
        page.goto(f"{address}book/checklist.html", wait_until="load")
        printed = page.pdf(format="A4")
        page.close()
    assert len(SHEET.findall(printed)) == 1


def alone(folder: Path) -> Path:
    """A book of a front page and the checklist, whose link to the chapter is a plain name."""
    text = re.sub(r"\]\(\.\./chapters[^)]*\)", "](intro.md)", PAGE.read_text(encoding="utf-8"))
    (folder / "book").mkdir(parents=True)
    (folder / "book" / "checklist.md").write_text(text, encoding="utf-8")
    (folder / "book" / "intro.md").write_text("# Front page ｜ 首页\n", encoding="utf-8")
    shutil.copy2(ROOT / "book" / "references.bib", folder / "book")
    toc = "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/checklist\n"
    (folder / "_toc.yml").write_text(toc, encoding="utf-8")
    return folder
