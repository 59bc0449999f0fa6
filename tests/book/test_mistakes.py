"""The index of mistakes: all 118, in both languages, each with a place or a test that exists."""

import io
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from docutils import nodes
from mistakes import headings
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.docutils import docutils_namespace, patch_docutils

from segedu.languages import LANGUAGES
from tests.book.conftest import ROOT
from tests.chapters.gates import typographic_problems
from tests.chapters.prose import HAN, parse, untranslated

BOOK = ROOT / "book"
ENTRIES = yaml.safe_load((BOOK / "mistakes.yml").read_text(encoding="utf-8"))
PAGE = (BOOK / "mistakes.md").read_text(encoding="utf-8")
NUMBERS = range(1, 119)
KEYS = {"ids", "topic", "en", "zh", "places", "function", "test"}

Entry = dict[str, Any]


def numbers(entries: list[Entry]) -> list[int]:
    return sorted(number for entry in entries for number in entry["ids"])


def speaks_both_languages(entry: Entry) -> Iterator[str]:
    english, chinese = parse(entry["en"]), parse(entry["zh"])
    if re.search(f"[{HAN}]", english.text) or not entry["en"].endswith("."):
        yield "the English sentence"
    if chinese.han < 10 or not entry["zh"].endswith("。"):
        yield "the Chinese sentence"
    if english.words > 60 or chinese.han > 110:
        yield "is longer than a sentence"
    yield from untranslated(english.text, chinese.text)
    yield from typographic_problems(chinese)
    for kind in ("numbers", "code", "formulas"):
        if getattr(english, kind) != getattr(chinese, kind):
            yield f"{kind} differ"


def leads_to_places(entry: Entry) -> Iterator[str]:
    if not entry.get("places") and "function" not in entry:
        yield "neither places nor a function"
    for place in entry.get("places", ()):
        file, _, anchor = place.partition("#")
        notebook = BOOK / file
        if not notebook.is_file():
            yield f"no such file: {file}"
        elif anchor not in headings(notebook):
            yield f"no such heading: {place}"


def names_what_is_tested(entry: Entry) -> Iterator[str]:
    if ("function" in entry) != ("test" in entry):
        yield "function and test go together"
    elif "function" in entry:
        module, _, name = entry["function"].rpartition(".")
        test = ROOT / "tests" / entry["test"]
        if not module.startswith("segedu") or name.startswith("_"):
            yield f"not public: {entry['function']}"
        elif not hasattr(import_module(module), name):
            yield f"no such function: {entry['function']}"
        if not test.is_file():
            yield f"no such test: {entry['test']}"
        elif not re.search(rf"\b{name}\b", test.read_text(encoding="utf-8")):
            yield f"{entry['test']} does not name {name}"


def has_known_keys(entry: Entry) -> Iterator[str]:
    if unknown := set(entry) - KEYS:
        yield f"unknown: {sorted(unknown)}"
    if f":topic: {entry['topic']}\n" not in PAGE:
        yield f"not on the page: {entry['topic']}"


RULES = (speaks_both_languages, leads_to_places, names_what_is_tested, has_known_keys)


def problems(entry: Entry) -> list[str]:
    return [problem for rule in RULES for problem in rule(entry)]


def test_every_mistake_has_one_entry():
    assert numbers(ENTRIES) == list(NUMBERS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['ids'][0]}")
def test_an_entry_is_sound(entry):
    assert not problems(entry)


GOOD = next(entry for entry in ENTRIES if "places" in entry and "function" in entry)
FILE, ANCHOR = GOOD["places"][0].split("#")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"en": GOOD["zh"]}, "the English sentence"),
        ({"zh": GOOD["en"]}, "the Chinese sentence"),
        ({"zh": GOOD["zh"].replace("掩膜", "遮罩")}, "must be 掩膜"),
        ({"zh": GOOD["zh"].replace("，", ",")}, "half-width"),
        ({"en": GOOD["en"].replace("compute", "compute `it`")}, "code differ"),
        ({"places": [f"{FILE}#no-such-heading"]}, "no such heading"),
        ({"places": [f"../chapters/none.ipynb#{ANCHOR}"]}, "no such file"),
        ({"function": "segedu.ops.no_such_function"}, "no such function"),
        ({"function": "numpy.array"}, "not public"),
        ({"test": "ops/no_such_file.py"}, "no such test"),
        ({"test": "test_files.py"}, "does not name"),
        ({"topic": "weather"}, "not on the page"),
        ({"note": "?"}, "unknown"),
    ],
)
def test_a_broken_entry_is_noticed(change, message):
    assert any(message in problem for problem in problems(GOOD | change)), problems(GOOD | change)


def test_an_entry_that_leads_nowhere_is_noticed():
    kept = {key: GOOD[key] for key in ("ids", "topic", "en", "zh")}
    assert problems(kept) == ["neither places nor a function"]


def test_a_missing_or_doubled_number_is_noticed():
    assert numbers(ENTRIES[1:]) != list(NUMBERS)
    assert numbers([*ENTRIES, ENTRIES[0]]) != list(NUMBERS)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], nodes.document]:
    """Gives the page as an edition has it, for the mistakes that a file holds."""
    (tmp_path / "book").mkdir()
    (tmp_path / "chapters").symlink_to(ROOT / "chapters")

    def build(edition: str, entries: str, page: str = PAGE) -> nodes.document:
        (tmp_path / "book/mistakes.yml").write_text(entries, encoding="utf-8")
        (tmp_path / "book/mistakes.md").write_text(page, encoding="utf-8")
        settings = {
            "extensions": ["myst_nb", "bilingual", "mistakes"],
            "bilingual_edition": edition,
            "root_doc": "book/mistakes",
            "exclude_patterns": ["chapters"],
            "suppress_warnings": ["myst.xref_missing"],
            "nb_execution_mode": "off",
        }
        warnings = io.StringIO()
        folders = (tmp_path, None, tmp_path / "_build", tmp_path / "_build" / "trees")
        with patch_docutils(), docutils_namespace():
            app = Sphinx(*folders, "html", settings, status=None, warning=warnings, freshenv=True)
            app.build(force_all=True)
            tree = app.env.get_and_resolve_doctree("book/mistakes", app.builder)
        if "no such place" in warnings.getvalue() or "no entry" in warnings.getvalue():
            raise SphinxError(warnings.getvalue())
        return tree

    return build


@pytest.mark.parametrize(
    ("edition", "languages"), [("both", LANGUAGES), ("en", ("en",)), ("zh", ("zh",))]
)
def test_the_page_shows_every_entry_once_in_each_language(read, edition, languages):
    tree = read(edition, yaml.safe_dump(ENTRIES, allow_unicode=True))
    items = {tuple(item["ids"]): item for item in tree.findall(nodes.list_item) if item["ids"]}
    assert len(items) == len(ENTRIES)
    for entry in ENTRIES:
        item = items[tuple(f"mistake-{number}" for number in entry["ids"])]
        assert item.astext().startswith(", ".join(map(str, entry["ids"])))
        for language in LANGUAGES:
            shown = sum(f"lang-{language}" in block["classes"] for block in item)
            assert shown == (language in languages)
        addresses = [link["refuri"] for link in item.findall(nodes.reference)]
        wanted = [place.replace(".ipynb", ".html") for place in entry.get("places", [])]
        assert addresses == wanted * len(languages)
        assert item.astext().count(entry.get("function", "\0")) == (
            len(languages) if "function" in entry else 0
        )


def test_a_link_is_named_after_chapter_and_heading(read):
    place = "../chapters/02-semantic/03-segnet.ipynb#two-bits-are-enough"
    entry = {"ids": [1], "topic": "data", "en": "A.", "zh": "甲。", "places": [place]}
    page = "# M ｜ 误\n\n```{mistakes} mistakes.yml\n:topic: data\n```\n"
    tree = read("both", yaml.safe_dump([entry]), page)
    assert [link.astext() for link in tree.findall(nodes.reference)] == [
        "SegNet: Two bits are enough",
        "SegNet：两个比特就够了",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"places": [f"{FILE}#no-such-heading"]}, "no such place: .*no-such-heading"),
        ({"places": [f"../chapters/none.ipynb#{ANCHOR}"]}, "no such place: .*none.ipynb"),
        ({"topic": "weather"}, "no entry has the topic 'data'; there are: weather"),
    ],
)
def test_the_build_stops_at_a_broken_entry(read, change, message):
    page = "# M ｜ 误\n\n```{mistakes} mistakes.yml\n:topic: data\n```\n"
    with pytest.raises(SphinxError, match=message):
        read("en", yaml.safe_dump([GOOD | {"topic": "data"} | change]), page)
