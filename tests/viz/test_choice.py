"""The chart that a reader filters: what it shows without scripts, and what its controls do."""

import re

import pytest

from segedu.viz.choice import Option, choice, front

KINDS = {"a": ("class ｜ 类别", "IoU ｜ 交并比"), "b": ("object ｜ 物体", "AP ｜ 平均精度")}
COSTS = {"ms": "time, ms ｜ 时间（ms）", "mb": "memory, MB ｜ 内存（MB）"}
OPTIONS = [
    Option("Slow", "a", 0.8, {"ms": 40, "mb": 2}),
    Option("Middle", "a", 0.7, {"ms": 12, "mb": 9}),
    Option("Beaten", "a", 0.6, {"ms": 20, "mb": 1}),
    Option("Quick", "a", 0.5, {"ms": 4, "mb": 3}),
    Option("<Other>", "b", 0.3, {"ms": 30, "mb": 5}),
]


def test_the_front_is_what_no_other_beats():
    assert [one.name for one in front(OPTIONS[:4], "ms")] == ["Slow", "Middle", "Quick"]
    assert [one.name for one in front(OPTIONS[:4], "mb")] == ["Slow", "Beaten"]
    twins = [Option("x", "a", 0.5, {"ms": 1}), Option("y", "a", 0.5, {"ms": 1})]
    assert front(twins, "ms") == twins


def test_it_is_one_self_contained_fragment_in_two_languages():
    html = choice(OPTIONS, KINDS, COSTS).html
    assert "<script" not in html and not re.search(r"\sid=", html)
    assert '<option value="b">object ｜ 物体</option>' in html
    assert '<span class="lang-zh" lang="zh-CN">内存（MB）</span>' in html
    assert "&lt;Other&gt;" in html and "<Other>" not in html
    assert choice(OPTIONS, KINDS, COSTS) == choice(OPTIONS, KINDS, COSTS)
    assert repr(choice(OPTIONS, KINDS, COSTS)) == "Choice(5 options)"
    named = re.findall(r'visibility:visible">([^<]+)<', html)
    assert named == ["Slow", "Middle", "Quick", "&lt;Other&gt;"]  # without scripts
    assert re.findall(r"<div data-panel=\"(.)\"( hidden)?>", html) == [("a", ""), ("b", " hidden")]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([OPTIONS[0]._replace(kind="c")], r"kind of Slow must be in \['a', 'b'\], got 'c'"),
        ([OPTIONS[0]._replace(costs={"ms": 1})], "Slow must have positive .*, got {'ms': 1}"),
        ([OPTIONS[0]._replace(costs={"ms": 0, "mb": 1})], "Slow must have positive"),
        (OPTIONS[:4], r"one of every kind, got none of \['b'\]"),
    ],
)
def test_faults_are_named(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        choice(options, KINDS, COSTS)


@pytest.mark.browser
def test_a_reader_filters_in_the_page(browser):
    html = choice(OPTIONS, KINDS, COSTS).html
    page, errors = browser.new_page(viewport={"width": 390, "height": 900}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content(f"<!doctype html><body>{html}{html}")
    first, second = page.locator(".segedu-choice").all()

    def names(chart):
        dots = chart.locator("[data-kind=a] text").all()
        return [dot.text_content() for dot in dots if dot.is_visible()]

    assert names(first) == ["Slow", "Middle", "Quick"]
    limit = first.locator("[data-limit=ms]")
    limit.focus()
    while float(limit.get_attribute("aria-valuetext")) > 30:
        limit.press("ArrowLeft")
    assert names(first) == ["Middle", "Quick"]
    assert first.locator("[data-count]").text_content() == "3"
    assert first.locator("[data-best]").text_content() == "Middle"
    memory = first.locator("[data-limit=mb]")
    memory.focus()
    while float(memory.get_attribute("aria-valuetext")) > 3:
        memory.press("ArrowLeft")
    assert names(first) == ["Beaten", "Quick"]  # what beat it no longer fits
    first.locator("select").select_option("b")
    assert first.locator("[data-panel=a]").is_hidden()
    assert first.locator("[data-best]").text_content() == "–"  # 5 MB are too much
    assert names(second) == ["Slow", "Middle", "Quick"]  # the other chart stays as it was
    assert not errors and page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
