import ast
import base64
import functools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from segedu import viz
from segedu.viz import explorers

RAMP = np.broadcast_to(np.arange(60, dtype=np.uint8)[None, :, None] * 4, (40, 60, 3))


def figure(power):
    ax = plt.subplots(figsize=(3, 2))[1]
    ax.plot(np.linspace(0, 1, 20) ** power)
    ax.set_title(f"power {power}")
    return ax.figure


def three_frames(**settings):
    images = [RAMP, RAMP[:, ::-1], RAMP // 2]
    labels = ["plain ｜ 原样", 'mirrored "<b>" ｜ 镜像', "dark ｜ 变暗"]
    return viz.frames(images, labels, "Change ｜ 变化", "Drag. ｜ 拖动。", **settings)


def test_frames_are_one_self_contained_fragment():
    html = three_frames()._repr_html_()
    assert html.startswith('<div class="segedu-frames">')
    assert "<script" not in html
    assert not re.search(r"\sid=", html)
    assert "this.closest('.segedu-frames')" in html
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)
    assert html.count('class="dark-light"') == 3
    assert html.count("max-width:100%") == 3


def test_frames_are_accessible_and_bilingual():
    html = three_frames(start=1).html
    alts = re.findall(r'alt="([^"]*)"', html)
    assert alts[0] == "Change ｜ 变化: plain ｜ 原样"
    assert len(set(alts)) == 3
    assert 'aria-valuetext="mirrored &quot;&lt;b&gt;&quot; ｜ 镜像"' in html
    assert re.search(r"<label.*<input.*</label>", html)
    assert '<span class="lang-zh" lang="zh-CN">拖动。</span>' in html
    assert '<span class="lang-en" lang="en">Drag.</span>' in html
    assert html.count(" hidden>") == 2


def test_frames_name_their_colours():
    html = three_frames(legend={"sky ｜ 天空": (1, 2, 3), "road ｜ 道路": (4, 5, 6)}).html
    assert "rgb(1, 2, 3)" in html and "rgb(4, 5, 6)" in html
    assert '<span class="lang-zh" lang="zh-CN">道路</span>' in html
    assert "rgb(" not in three_frames().html


def test_frames_are_deterministic():
    first = viz.frames([figure(1), figure(2)], ["a", "b"], "t")
    assert first == viz.frames([figure(1), figure(2)], ["a", "b"], "t")
    assert repr(first) == "Explorer('t')"  # no address: it is stored in notebooks


def test_frames_close_their_figures_and_take_axes():
    axes = [viz.show_row([RAMP, RAMP]), viz.show_row([RAMP, RAMP])]
    viz.frames(axes, ["a", "b"], "t")
    viz.frames([figure(1).axes[0], figure(2)], ["a", "b"], "t")
    assert plt.get_fignums() == []


def test_small_images_are_enlarged_sharply():
    html = three_frames().html
    assert 'width="480"' in html
    assert "image-rendering:pixelated" in html
    assert "pixelated" not in viz.frames([figure(1), figure(2)], ["a", "b"], "t").html


def test_frames_refuse_wrong_numbers_and_sizes():
    with pytest.raises(ValueError, match="2 to 12"):
        viz.frames([RAMP], ["a"], "t")
    with pytest.raises(ValueError, match="2 to 12"):
        viz.frames([RAMP] * 13, ["a"] * 13, "t")
    with pytest.raises(ValueError, match="labels"):
        viz.frames([RAMP] * 2, ["a"], "t")
    with pytest.raises(ValueError, match="same size"):
        viz.frames([RAMP, RAMP[1:]], ["a", "b"], "t")
    with pytest.raises(ValueError, match="start"):
        three_frames(start=3)


def svgs(explorer):
    found = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', explorer.html)
    return [base64.b64decode(data).decode() for data in found]


def test_charts_keep_their_text_in_both_languages():
    axes = [plt.subplots(figsize=(3, 2))[1] for _ in range(2)]
    for ax in axes:
        ax.set_xticks([0], ["sky ｜ 天空"])
    shown = viz.frames(axes, ["a", "b"], "t ｜ 题")
    assert all(">sky ｜ 天空</text>" in svg for svg in svgs(shown)) and len(svgs(shown)) == 2
    assert shown.html.count('width="288" height="192"') == 2
    assert plt.get_fignums() == []


def test_frames_take_rows_of_pictures_with_their_captions():
    rows = [
        viz.pictures([RAMP, shade], ["image ｜ 图像", "answer ｜ 答案"])
        for shade in (RAMP, RAMP // 2)
    ]
    html = viz.frames(rows, ["a", "b"], "t ｜ 题").html
    assert html.count('<span class="lang-zh" lang="zh-CN">答案</span>') == 2
    assert html.count('<div class="segedu-frame"') == 2 and html.count(" hidden>") == 1
    noise = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="limit is 150 kB"):
        viz.frames([viz.pictures([noise])] * 2, "ab", "t")


def test_figures_of_pictures_alone_are_pictures():
    shown = viz.frames([viz.show_row([RAMP]), viz.show_row([RAMP // 2])], "ab", "t")
    assert svgs(shown) == [] and shown.html.count("data:image/") == 2


def test_charts_stay_within_their_budget():
    def busy(seed):
        ax = plt.subplots()[1]
        ax.plot(np.random.default_rng(seed).normal(size=9000))
        return ax

    with pytest.raises(ValueError, match="limit is 300 kB"):
        viz.frames([busy(0), busy(1)], "ab", "t")
    plt.close("all")


def test_charts_of_different_sizes_are_refused():
    axes = [plt.subplots(figsize=(3, height))[1] for height in (2, 1)]
    with pytest.raises(ValueError, match="same size"):
        viz.frames(axes, "ab", "t")


def test_frames_stay_within_the_budget():
    noise = np.random.default_rng(0).integers(0, 256, (12, 300, 500, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="limit is 150 kB"):
        viz.frames(list(noise), list("abcdefghijkl"), "t")
    smooth = [viz.overlay(RAMP, np.zeros((40, 60), int), [(9, 9, 9)])] * 2
    assert len(viz.frames(smooth, ["a", "b"], "t").html) < explorers.MAX_BYTES


def test_explore_draws_at_most_twelve_values(monkeypatch):
    monkeypatch.delenv(explorers.LIVE, raising=False)
    drawn = []

    def draw(value):
        drawn.append(value)
        return RAMP

    viz.explore(draw, range(100), "t", label=lambda value: f"value {value}")
    assert len(drawn) == 12
    assert (drawn[0], drawn[-1]) == (0, 99)
    drawn.clear()
    viz.explore(draw, [1, 2, 3], "t")
    assert drawn == [1, 2, 3]


def test_explore_live_is_a_widget_over_all_values(monkeypatch):
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.setenv(explorers.LIVE, "1")
    widget = viz.explore(lambda value: RAMP, range(30), "t ｜ 题")
    assert isinstance(widget, ipywidgets.interactive)
    assert len(widget.children[0].options) == 30


def test_source_shows_code_and_place():
    shown = viz.source(viz.overlay)
    assert shown.markdown.startswith(
        "`segedu/viz/overlays.py` · `overlay`\n\n```python\ndef overlay("
    )
    assert repr(shown) == "Source('segedu.viz.overlays: overlay')"
    assert shown._repr_markdown_() == shown.markdown


def test_source_of_methods_and_several_objects():
    shown = viz.source(explorers.Explorer._repr_html_, explorers.Explorer)
    assert "`Explorer._repr_html_`, `Explorer`" in shown.markdown
    assert "\ndef _repr_html_" in shown.markdown  # dedented
    assert "@dataclass" in shown.markdown


def test_source_without_docstrings_is_the_same_program():
    bare = viz.source(viz.frames, docstrings=False).markdown
    code = bare.split("```python\n")[1].removesuffix("```\n")
    assert '"""' not in code
    full = viz.source(viz.frames).markdown.split("```python\n")[1].removesuffix("```\n")
    (function,) = ast.parse(full).body
    function.body = function.body[1:]
    assert ast.dump(ast.parse(code).body[0]) == ast.dump(function)


def test_source_of_a_part_begins_and_ends_where_it_is_told():
    shown = viz.source(viz.frames, part=("if len(labels)", "raise")).markdown
    lines = shown.split("```python\n")[1].removesuffix("\n```\n").splitlines()
    assert lines[0] == "if len(labels) != len(images):"  # dedented
    assert len(lines) == 2 and lines[1].startswith('    raise ValueError(f"labels must')
    with pytest.raises(ValueError, match="no line begins with 'nothing'"):
        viz.source(viz.frames, part=("nothing", "raise"))
    with pytest.raises(ValueError, match="'if len.labels.' after the first"):
        viz.source(viz.frames, part=("bodies = ", "if len(labels)"))


def test_source_refuses_what_has_none():
    with pytest.raises(TypeError):
        viz.source(len)
    with pytest.raises(ValueError, match="one module"):
        viz.source(viz.legend, viz.frames)
    with pytest.raises(ValueError, match="one module"):
        viz.source()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 390, "height": 900})
    yield page
    page.close()


@pytest.mark.browser
def test_slider_moves_its_own_frames_alone(page):
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.set_content(f"<!doctype html><body>{three_frames().html}{three_frames().html}")
    first, second = page.locator(".segedu-frames").all()
    slider = first.get_by_role("slider", name="Change 变化")
    visible = functools.partial(first.locator(".segedu-frame:visible").get_attribute, "data-label")
    assert visible() == "plain ｜ 原样"
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, middle, steps=6)
    page.mouse.up()
    assert visible() == "dark ｜ 变暗"
    page.keyboard.press("ArrowLeft")
    assert visible() == 'mirrored "<b>" ｜ 镜像'
    assert slider.get_attribute("aria-valuetext") == 'mirrored "<b>" ｜ 镜像'
    assert second.get_by_role("slider").input_value() == "0"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == []
