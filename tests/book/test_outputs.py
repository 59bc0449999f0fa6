import re
from copy import deepcopy
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
from outputs import (
    convert_cell,
    convert_notebook,
    inline_chart,
    inline_slider_charts,
    split_code,
    split_html,
    split_lines,
)

from segedu import viz
from segedu.viz.compact import chart_svg

CODE = """import x  # first ｜ 先
# a line ｜ 一行
names = ["a ｜ 甲", f"{c.name} ｜ {c.name_zh}", name.split(" ｜ ")[0]]
caption = ("An image. "  # not a part
           "Its truth. ｜ 图像。"
           "真值。")
ax.set(xlabel=r"rate $\\eta$ ｜ 学习率", title="only")
"""


def test_code_speaks_the_language_of_the_edition():
    english, chinese = split_code(CODE, "en"), split_code(CODE, "zh")
    assert split_code(CODE, "both") == CODE
    assert english.splitlines()[:2] == ["import x  # first", "# a line"]
    assert chinese.splitlines()[:2] == ["import x  # 先", "# 一行"]
    for code in (english, chinese):
        compile(code, "cell", "exec")
        assert code.count("｜") == 1 and 'name.split(" ｜ ")[0]' in code
        assert 'title="only"' in code
    assert '["a", f"{c.name}", ' in english and '["甲", f"{c.name_zh}", ' in chinese
    assert 'r"rate $\\eta$"' in english and 'r"学习率"' in chinese
    assert not re.search("[\u4e00-\u9fff]", english)


def test_a_solution_is_numbered_in_chinese():
    code = "# Exercise 2\nx = 1  # Exercise 2\n"
    assert split_code(code, "zh") == "# 练习 2\nx = 1  # Exercise 2\n"
    assert split_code(code, "en") == split_code(code, "both") == code


def test_neighbouring_strings_are_one_text():
    code = 't = ("One. "\n     "Two. ｜ 一。"\n     "二。")\n'
    assert split_code(code, "en") == 't = ("One. "\n     "Two.")\n'
    assert split_code(code, "zh") == 't = ("一。"\n     "二。")\n'
    ends = 't = ("One. ｜ " "一。")\n'
    begins = 't = ("One." " ｜ 一。")\n'
    for code in (ends, begins):
        assert [split_code(code, e) for e in ("en", "zh")] in (
            ['t = ("One.")\n', 't = ("一。")\n'],
        )


def test_what_is_not_python_stays():
    piece = '"""an open text  # a ｜ 甲\n'
    assert split_code(piece, "en") == piece


def test_printed_lines():
    text = "loss ｜ 损失\na ｜ b ｜ c\nplain\n"
    assert split_lines(text, "zh") == "损失\na ｜ b ｜ c\nplain\n"
    assert split_lines(text, "both") == text


def test_html_loses_the_other_language():
    html = (
        '<td>a ｜ 甲</td><span class="lang-en" lang="en">x</span> '
        '<span class="lang-zh" lang="zh-CN">乙</span>'
    )
    assert split_html(html, "en") == '<td>a</td><span class="lang-en" lang="en">x</span> '
    assert split_html(html, "zh") == '<td>甲</td><span class="lang-zh" lang="zh-CN">乙</span>'
    assert split_html(html, "both").startswith("<td>a · 甲</td><span")
    picture = '<img alt="a &quot;b&quot; ｜ 甲" title="c ｜ 丙" src="a｜b">'
    assert split_html(picture, "zh") == '<img alt="甲" title="丙" src="a｜b">'


@pytest.fixture
def chart():
    viz.use_style()
    ax = plt.subplots()[1]
    ax.plot([1, 2], [1, 3], "-o", mfc="white", label="curve ｜ 曲线")
    ax.fill_between([1, 2], 1, 2, color="white")
    ax.text(1, 1, "on a dark bar", color="white")
    ax.set_xlabel("epoch ｜ 轮次")
    ax.legend()
    yield chart_svg(ax.figure)
    plt.close(ax.figure)


def test_a_chart_becomes_a_part_of_the_page(chart):
    options = {"alt": "A curve ｜ 一条曲线", "width": "60%"}
    html = inline_chart(chart, options, "zh")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", html)
    assert "轮次" in texts and "曲线" in texts and "epoch" not in html
    assert "<style" not in html and "<metadata" not in html and "<?xml" not in html
    assert 'role="img"' in html and 'style="width: 60%"' in html
    shapes = re.sub(r"<text[^>]*>", "", html)
    assert "currentColor" in shapes and "var(--pst-color-background)" in shapes
    assert "#000000" not in shapes and "#ffffff" not in shapes
    assert "fill: #ffffff" in html  # the text on the bar
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert ids and set(re.findall(r'(?:url\(|href=")#([^")]+)', html)) == set(ids)


def test_a_label_with_a_formula_is_split_too():
    viz.use_style()
    ax = plt.subplots()[1]
    ax.set_xlabel(r"learning rate $\eta$ ｜ 学习率 $\eta$")
    svg = chart_svg(ax.figure)
    plt.close(ax.figure)
    assert re.search(r">\s*learning rate η\s*</text>", inline_chart(svg, {}, "en"))
    assert re.search(r">\s*学习率 η\s*</text>", inline_chart(svg, {}, "zh"))


def test_two_charts_share_no_id(chart):
    first = inline_chart(chart, {}, "en")
    second = inline_chart(chart.replace("on a dark bar", "another"), {}, "en")
    ids = [set(re.findall(r'\bid="([^"]+)"', html)) for html in (first, second)]
    assert ids[0] and not ids[0] & ids[1]


@pytest.mark.parametrize(("edition", "word", "other"), [("en", "late", "晚"), ("zh", "晚", "late")])
def test_the_charts_of_a_slider_become_parts_of_the_page(edition, word, other):
    viz.use_style()
    figures = []
    for slope in (1, 2):
        ax = plt.subplots(figsize=(3, 2))[1]
        ax.plot([0, slope], clip_on=True)
        ax.set_xlabel("late ｜ 晚")
        figures.append(ax.figure)
    html = viz.frames(figures, ["1", "2"], "slope ｜ 斜率").html
    shown = inline_slider_charts(html, edition)
    assert "<img" not in shown and shown.count('<div class="book-chart">') == 2
    assert "currentColor" in shown and "#000000" not in re.sub(r"<text[^>]*>", "", shown)
    assert shown.count(f">{word}</text>") == 2 and f">{other}</text>" not in shown
    assert 'aria-label="slope ｜ 斜率: 1"' in shown  # split with the attributes of the page
    ids = re.findall(r'\bid="([^"]+)"', shown)
    assert ids and len(ids) == len(set(ids))


def test_a_notebook_is_converted(chart):
    cell = {
        "cell_type": "code",
        "metadata": {"mystnb": {"image": {"alt": "A ｜ 甲"}}},
        "source": ["x  # one ｜ 一"],
        "outputs": [
            {"output_type": "stream", "text": ["one ｜ 一\n"]},
            {"output_type": "display_data", "data": {"image/svg+xml": [chart]}},
        ],
    }
    table = viz.table(
        [["U-Net++, depth 1 ｜ U-Net++，深度 1", "31.6 (30.5–32.3)"]], ["x–1", "1–2 ｜ 1–2"]
    )._repr_html_()
    pictures = (
        '<div class="segedu-pictures"><figcaption>FCN-32s ｜ FCN-32s，正确</figcaption></div>'
    )
    for html in (table, pictures):
        cell["outputs"].append({"output_type": "display_data", "data": {"text/html": [html]}})
    app = SimpleNamespace(config=SimpleNamespace(bilingual_edition="zh"))
    prose = {"cell_type": "markdown", "metadata": {}, "source": ["as it is ｜ 原样"]}
    notebook = {"cells": [deepcopy(prose), cell]}
    convert_notebook(app, "page", notebook)
    [untouched, converted] = notebook["cells"]
    assert untouched == prose
    assert converted["source"] == "x  # 一"
    assert converted["outputs"][0]["text"] == "一\n"
    assert list(converted["outputs"][1]["data"]) == ["text/html"]
    whole = [
        re.findall('<span class="unbroken">(.*?)</span>', output["data"]["text/html"])
        for output in converted["outputs"][2:]
    ]
    assert whole == [["1–2", "U-Net++", "(30.5–32.3)"], ["FCN-32s"]]


def test_both_halves_of_a_cell_and_of_a_note_are_elements():
    table = viz.table([["a–b, x ｜ 甲", "1"], ["U-Net ｜ U-Net", "2"]], ["name ｜ 名称", "n"])
    drawing = '<div class="segedu-architecture"><svg><text>in ｜ 入</text></svg><div>{}</div></div>'
    html = [table._repr_html_(), drawing.format("Box. ｜ 方框。")]
    for edition in ("both", "zh"):
        data = [{"text/html": [text]} for text in html]
        outputs = [{"output_type": "display_data", "data": each} for each in data]
        cell = {"metadata": {}, "source": [], "outputs": outputs}
        convert_cell(cell, edition)
        shown = "".join(each["text/html"] for each in data)
        if edition == "zh":
            assert ">甲</th>" in shown and ">方框。</div>" in shown and "lang-en" not in shown
            continue
        for english, chinese in (("a–b, x", "甲"), ("name", "名称"), ("Box.", "方框。")):
            assert (
                f'<span class="lang-en" lang="en">{english}</span> '
                f'<span class="lang-zh" lang="zh-CN">{chinese}</span></'
            ) in shown
        assert "<text>in · 入</text>" in shown and re.search(">U-Net<(?!.*U-Net)", shown)
