"""The miniature book as it is built by `book/editions.py`."""

import re
import shutil
from pathlib import Path

import pytest
from editions import EDITIONS, build_edition, fingerprint

FOLDERS = {edition: folder for edition, (folder, _, _) in EDITIONS.items()}
FIRST = "chapters/01-part/01-first.html"
ID = re.compile(r'<(?:section|figure|div)[^>]*\bid="([^"]+)"')


@pytest.fixture(scope="module")
def pages(miniature: Path) -> dict[str, str]:
    """The first chapter in every edition."""
    return {
        edition: (miniature / folder / FIRST).read_text(encoding="utf-8")
        for edition, folder in FOLDERS.items()
    }


def article(page: str) -> str:
    return page[page.index("<article") : page.index("</article>")]


def test_every_edition_has_every_page(miniature):
    names = {
        edition: {
            str(path.relative_to(miniature / folder))
            for path in (miniature / folder).rglob("*.html")
            if path.relative_to(miniature / folder).parts[0] not in ("en", "zh")
        }
        for edition, folder in FOLDERS.items()
    }
    assert names["both"] - {"404.html"} == names["en"] == names["zh"]
    assert FIRST in names["both"]


def test_anchors_are_equal_in_all_editions(pages):
    anchors = {edition: ID.findall(article(page)) for edition, page in pages.items()}
    assert anchors["both"] == anchors["en"] == anchors["zh"]
    assert {"the-idea", "fig-disc", "equation-eq-dice"} <= set(anchors["en"])


def test_each_edition_is_in_its_language(pages):
    assert '<html lang="en"' in pages["both"] and '<html lang="en"' in pages["en"]
    assert '<html lang="zh-CN"' in pages["zh"]
    # What remains of the other language are explorers (hidden by the style sheet) and code.
    not_prose = re.compile(r'<pre>.*?</pre>|<div class="segedu-frames.*?</label>.*?</div>', re.S)
    prose = {edition: not_prose.sub("", article(page)) for edition, page in pages.items()}
    for word in ("掩膜", "思路", "绿色圆盘", "半径", "参考答案", "图 1.1", "提示"):
        assert word in prose["both"] and word in prose["zh"] and word not in prose["en"], word
    for word in ("The idea", "A green disc", "A disc of radius", "Solution", "A tip"):
        assert word in prose["both"] and word in prose["en"] and word not in prose["zh"], word
    assert 'data-edition="zh"' in pages["zh"]


def test_links_in_a_paragraph_speak_its_language(pages):
    chinese = re.search(r'<div class="lang-block lang-zh.*?</div>', pages["both"], re.S)[0]
    assert ">平滑<" in chinese and "Smoothing" not in chinese
    assert ">图 1.1<" in chinese and "式 <a" in chinese


def test_side_bar_parts_are_split(pages):
    assert "Part one · 第一部分" in pages["both"]
    assert "第一部分" not in pages["en"] and "Part one" not in pages["zh"]


def test_the_theme_speaks_chinese(pages):
    for text in ("本页目录", "下一页", "本节链接", "搜索", "明暗模式", "参考答案"):
        assert text in pages["zh"], text
    for text in ("打印为 PDF", "segedu 作者团队"):
        assert text in pages["zh"] and text not in pages["en"], text
    for text in ("On this page", "Link to this heading", "Color mode", "Search"):
        assert text not in pages["zh"], text
    for text in ("列印", "Copyright", "The segedu authors"):
        assert text not in pages["zh"], text


def test_the_switch_says_in_english_what_the_bilingual_edition_is(pages):
    for edition in ("both", "en"):
        assert '双语 <span lang="en">Both</span></a>' in pages[edition]
    assert "双语</a>" in pages["zh"]


def test_mathjax_is_shared_and_scripts_are_slim(miniature):
    assert len(list(miniature.rglob("tex-chtml.js"))) == 1
    assert not list(miniature.rglob("*.map"))
    for script in miniature.rglob("fontawesome.js"):
        assert script.stat().st_size < 100
    page = miniature / "en" / FIRST
    [script] = re.findall(r'src="([^"]*tex-chtml.js)"', page.read_text())
    assert (page.parent / script).resolve() == (miniature / "_static/mathjax/tex-chtml.js")


def test_without_a_repository_there_is_no_launch_button(pages):
    assert "colab" not in pages["en"] and "github.com" not in pages["en"]
    assert "_sources/chapters/01-part/01-first.ipynb" in pages["en"]


def test_a_fork_gets_its_own_colab_link(fork):
    page = (fork / FIRST).read_text(encoding="utf-8")
    path = "chapters/01-part/01-first.ipynb"
    assert f"https://colab.research.google.com/github/teacher/fork/blob/main/{path}" in page


def test_a_failing_build_says_why(miniature_source, tmp_path):
    book = tmp_path / "source"
    shutil.copytree(miniature_source, book)
    with (book / "book/intro.md").open("a", encoding="utf-8") as page:
        page.write("\n+++\n\nSee [](nowhere.md).\n")
    with pytest.raises(RuntimeError, match=r"(?s)English edition was not built.*nowhere\.md"):
        build_edition(book, tmp_path / "work", "en")


def test_a_new_title_or_order_rebuilds_everything(miniature_source, tmp_path):
    book = tmp_path / "source"
    shutil.copytree(miniature_source, book)
    before = fingerprint(book)
    page = book / "book/intro.md"
    page.write_text(page.read_text() + "\nmore text\n")
    assert fingerprint(book) == before
    page.write_text(page.read_text().replace("# A miniature", "# A tiny"))
    changed = fingerprint(book)
    assert changed != before
    (book / "_toc.yml").write_text((book / "_toc.yml").read_text() + "\n# comment\n")
    assert fingerprint(book) != changed
