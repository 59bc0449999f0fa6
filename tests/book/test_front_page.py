"""The front page: the size of the book and the place to begin are those of the contents."""

import re

import yaml

from tests.book.conftest import ROOT

PAGE = (ROOT / "book/intro.md").read_text(encoding="utf-8")
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
NUMBERED = [part["chapters"] for part in TOC["parts"] if part.get("numbered")]
WORDS = {"eight": 8, "nine": 9, "ten": 10, "八": 8, "九": 9, "十": 10}


def test_the_size_of_the_book_is_counted():
    english = re.search(r"(\d+) chapters in (\w+) parts", PAGE)
    chinese = re.search(r"共 (\d+) 章，分为(.+?)个部分", PAGE)
    for chapters, parts in (english.groups(), chinese.groups()):
        assert (int(chapters), WORDS[parts]) == (sum(map(len, NUMBERED)), len(NUMBERED))


def test_a_beginner_is_sent_to_the_first_chapter():
    first = re.search(
        r"\[Begin with chapter 1: [^\]]+ ｜ 从第 1 章读起：[^\]]+\]\(\.\./(.+)\.ipynb\)", PAGE
    )
    assert first[1] == NUMBERED[0][0]["file"]
