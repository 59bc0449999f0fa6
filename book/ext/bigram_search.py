"""Sphinx extension: search that finds Chinese words without a dictionary.

A run of Chinese characters is indexed as its single characters and its overlapping pairs. The
browser splits the query alike, so that 概率图 is looked up as 概率 and 率图; English words are
stemmed as in Sphinx's own English search.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
CHINESE = re.compile(f"[{HAN}]")
RUN = re.compile(rf"([{HAN}]+)|([^\W{HAN}]+)")

# The query needs only the pairs: a page that has them all has the word.
JS_SPLITTER = rf"""
function splitQuery(query) {{
  const words = [];
  for (const [run] of query.matchAll(/[{HAN}]+|(?:(?![{HAN}])[\p{{L}}\p{{N}}_])+/gu)) {{
    if (run.length === 1 || !/^[{HAN}]/.test(run)) words.push(run);
    else for (let i = 0; i + 1 < run.length; i++) words.push(run.slice(i, i + 2));
  }}
  return words;
}}
"""


class SearchBigrams(SearchEnglish):
    """English search that also knows Chinese."""

    lang = "bigrams"
    language_name = "English and Chinese"
    js_splitter_code = JS_SPLITTER

    def init(self, options: dict[str, str]) -> None:
        """Prepares stemmer and filter; a book has few words and says them often."""
        super().init(options)
        self.stem = cache(self._stem)
        self.word_filter = cache(super().word_filter)

    def _stem(self, word: str) -> str:
        """Chinese is not inflected; the stemmer would look for English endings."""
        return word if CHINESE.match(word) else super().stem(word)

    def split(self, input: str) -> list[str]:
        """Splits a text into words, Chinese runs into characters and pairs."""
        words: list[str] = []
        for chinese, other in RUN.findall(input):
            pairs = (chinese[i : i + 2] for i in range(len(chinese) - 1))
            words += [other] if other else [*chinese, *pairs]
        return words


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the language ``bigrams`` for ``html_search_language``."""
    app.add_search_language(SearchBigrams)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
