"""The pages around the chapters keep the rules of the two languages, too."""

import re
from functools import cached_property

import pytest

from tests.chapters import gates
from tests.chapters.gates import Chapter, report
from tests.chapters.prose import ROOT

PAGES = sorted((ROOT / "book").glob("*.md"))
RULES = (
    gates.pairs_languages,
    gates.keeps_shared_things_out_of_pairs,
    gates.keeps_single_language_prose_in_pairs,
    gates.agrees_across_languages,
    gates.translates_terms,
    gates.writes_short_texts_in_both_languages,
    gates.sets_chinese_well,
    gates.renders_emphasis,
    gates.links_to_what_exists,
)
BREAK = re.compile(r'^\+\+\+ ?(?:\{"tags": \["(lang-(?:en|zh))"\]\})?[ \t]*$', re.M)


class Page(Chapter):
    """A Markdown page; its block breaks (+++) divide it into cells."""

    @cached_property
    def notebook(self) -> dict:
        """The page in the form of a notebook."""
        first, *rest = BREAK.split(self.path.read_text(encoding="utf-8"))
        pieces = [(None, first), *zip(rest[::2], rest[1::2], strict=True)]
        return {
            "cells": [
                {
                    "cell_type": "markdown",
                    "metadata": {"tags": [tag]} if tag else {},
                    "source": text.strip(),
                }
                for tag, text in pieces
            ]
        }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page(path, rule):
    problems = report(Page(path), rule)
    assert not problems, "\n" + "\n".join(problems)


def test_pages_are_found_and_divided():
    assert len(PAGES) >= 6
    page = Page(ROOT / "book" / "intro.md")
    assert len(page.pairs) >= 3
    assert page.headings[0][1] == 1


def test_a_broken_page_is_noticed(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(
        '# A ｜ 甲\n\n+++ {"tags": ["lang-en"]}\n\nThe mask.\n\n'
        '+++ {"tags": ["lang-zh"]}\n\n遮罩,\n\n+++\n\n## Only English\n'
    )
    page = Page(path, tmp_path)
    assert "must be 掩膜" in report(page, gates.translates_terms)[0]
    assert report(page, gates.writes_short_texts_in_both_languages)
    assert report(page, gates.pairs_languages) == []
