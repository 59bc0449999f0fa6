"""The subject index: its entries exist, and each is found where the chapters speak of it."""

import json
import re
from collections import Counter
from importlib import import_module

import pytest
import yaml
from subject_index import TITLED, forms, places, read, sections, weights
from term_finder import TermFinder, english

from segedu import losses, metrics
from segedu.languages import plain
from segedu.models import list_models
from tests.book.conftest import ROOT

SUBJECTS = yaml.safe_load((ROOT / "book/subjects.yml").read_text(encoding="utf-8"))
TERMS = yaml.safe_load((ROOT / "book/terminology.yml").read_text(encoding="utf-8"))
ALL = [entry for entries in SUBJECTS.values() for entry in entries]
INTERNAL = {"Metric", "check_labels", "region_areas"}  # what metrics and losses are built from


def named(kind: str) -> Counter[str]:
    names = (name for entry in SUBJECTS[kind] for name in entry.get("package", ()))
    return Counter(name for name in names if "." not in name)


def test_every_network_of_the_package_has_one_entry():
    assert named("networks") == Counter(dict.fromkeys(list_models(), 1))


@pytest.mark.parametrize(("kind", "package"), [("losses", losses), ("metrics", metrics)])
def test_every_loss_and_metric_of_the_package_has_an_entry(kind, package):
    assert set(named(kind)) == set(package.__all__) - INTERNAL


def test_modules_and_papers_exist():
    keys = re.findall(r"^@\w+\{([^,]+)", (ROOT / "book/references.bib").read_text("utf-8"), re.M)
    assert {key for entry in ALL for key in entry.get("papers", ())} <= set(keys)
    for entry in ALL:
        assert set(entry) <= {"en", "zh", "also", "package", "papers"}
        for name in entry.get("package", ()):
            if "." in name:
                import_module(name)


@pytest.mark.parametrize("kind", SUBJECTS)
def test_every_entry_leads_to_a_chapter_or_the_package(kind):
    found = sum(weights(sections(ROOT), SUBJECTS[kind], code=True), Counter())
    nowhere = [e for e in SUBJECTS[kind] if not found[e["en"]]]
    assert [e["en"] for e in nowhere if "package" not in e] == []


@pytest.mark.parametrize(
    ("entries", "name", "page"),
    [
        (SUBJECTS["networks"], "SegNet", "chapters/02-semantic/03-segnet"),
        (SUBJECTS["networks"], "U-Net", "chapters/02-semantic/02-unet"),
        (SUBJECTS["networks"], "YOLACT", "chapters/03-instance/03-yolact"),
        (SUBJECTS["losses"], "Lovász losses", "chapters/05-losses-and-metrics/02-region-losses"),
        (SUBJECTS["metrics"], "panoptic quality (PQ)", "chapters/04-panoptic/01-panoptic-fpn"),
        (TERMS, "max pooling", "chapters/02-semantic/03-segnet"),
        (TERMS, "anchor box", "chapters/03-instance/01-detection-blocks"),
        (TERMS, "pyramid pooling", "chapters/02-semantic/05-pspnet"),
    ],
)
def test_a_reader_is_led_to_the_chapter_that_explains(entries, name, page):
    book = sections(ROOT)
    score = [found[name] for found in weights(book, entries, code=True)]
    assert page in [section.page for section in places(book, score)]


@pytest.mark.parametrize("entries", [*SUBJECTS.values(), TERMS], ids=[*SUBJECTS, "terms"])
def test_an_entry_that_a_title_names_leads_to_that_chapter(entries):
    book = sections(ROOT)
    finder = TermFinder({form: entry["en"] for entry in entries for form in forms(entry)}, english)
    titles = {section.page: plain(section.chapter, "en") for section in book}
    named = {(name, page) for page, title in titles.items() for _, name in finder.finditer(title)}
    found = weights(book, entries, code=entries is not TERMS)
    led = {name: {s.page for s in places(book, [f[name] for f in found])} for name, _ in named}
    assert named and [(name, page) for name, page in named if page not in led[name]] == []


def notebook(*cells: tuple[str, str, list[str]]) -> str:
    parts = [{"cell_type": k, "source": [s], "metadata": {"tags": tags}} for k, s, tags in cells]
    return json.dumps({"cells": parts})


BOOK = [
    *read(
        "a",
        notebook(
            ("markdown", "# First: of grass ｜ 一：草", []),
            ("code", "wheel = 1", ["setup"]),
            ("markdown", "## Objectives ｜ 学习目标", []),
            ("markdown", "You know the **wheel**.", ["lang-en"]),
            ("markdown", "## Two *wheels* ｜ 两个轮子", []),
            ("markdown", "A wheel, a wheel, and a recall.", ["lang-en"]),
            ("markdown", "wheel 轮子", ["lang-zh"]),
            ("markdown", "## Round ｜ 圆", []),
            ("markdown", "The **wheel** is round; so is `Wheel`.", ["lang-en"]),
            ("code", "Spoke()", []),
        ),
    ),
    *read(
        "b",
        notebook(
            ("markdown", "# Second ｜ 二", []),
            ("markdown", "**Recall** is how much is found. A wheel.", ["lang-en"]),
        ),
    ),
]


@pytest.mark.parametrize(
    ("entry", "code", "expected"),
    [
        # explained in bold letters; once a chapter; objectives are not a place; Chinese is not read
        ({"en": "wheel"}, False, [("a", "Round ｜ 圆", 10), ("b", "Second ｜ 二", 1)]),
        ({"en": "recall", "everyday": True}, False, [("b", "Second ｜ 二", 8)]),
        # a title outweighs an explanation
        ({"en": "second"}, False, [("b", "Second ｜ 二", TITLED)]),
        (
            {"en": "wheel", "also": ["second"]},
            False,
            [("a", "Round ｜ 圆", 10), ("b", "Second ｜ 二", TITLED + 1)],
        ),
        ({"en": "spoke", "also": ["Spoke"]}, True, [("a", "Round ｜ 圆", 1)]),
        ({"en": "spoke", "also": ["Spoke"]}, False, []),
    ],
)
def test_places_by_hand(entry, code, expected):
    score = [found[entry["en"]] for found in weights(BOOK, [entry], code=code)]
    found = [(s.page, s.heading, score[BOOK.index(s)]) for s in places(BOOK, score)]
    assert found == expected


def test_level_chapters_are_told_apart_by_their_sum():
    heads = [("markdown", f"## {name} ｜ 节", []) for name in "12"]
    text = ("markdown", "A hub.", ["lang-en"])
    cells = {p: (("markdown", f"# {p} ｜ 章", []), heads[0], text, heads[1]) for p in "abcde"}
    book = [s for p, c in cells.items() for s in read(p, notebook(*c, *[text] * (p in "bde")))]
    score = [found["hub"] for found in weights(book, [{"en": "hub"}], code=False)]
    assert [section.page for section in places(book, score)] == ["b", "d", "e"]


def test_a_link_says_chapter_and_section():
    assert BOOK[0].name("en") == "First"
    assert BOOK[1].name("en") == "First: Two wheels"
    assert BOOK[1].name("zh") == "一：两个轮子"
