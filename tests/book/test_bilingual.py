from copy import deepcopy
from types import SimpleNamespace

import pytest
from bilingual import (
    bilingual_parts,
    blocks,
    halves,
    plain,
    select_markdown,
    select_notebook,
    split_attributes,
    translate_citations,
)
from docutils import nodes
from docutils.utils import new_document
from sphinx.errors import ExtensionError

PAIR = """# Title ｜ 标题

+++ {"tags": ["lang-en"]}

English prose.

+++ {"tags": ["lang-zh"]}

中文正文。

+++

Shared.
"""


def test_a_pair_is_kept_dropped_or_wrapped(read):
    texts = {edition: read(PAIR, edition)[0].astext() for edition in ("both", "en", "zh")}
    assert "English prose." in texts["en"] and "中文正文" not in texts["en"]
    assert "中文正文。" in texts["zh"] and "English prose" not in texts["zh"]
    assert "English prose." in texts["both"] and "中文正文。" in texts["both"]
    assert all("Shared." in text for text in texts.values())
    assert all("bilingual-begin" not in text for text in texts.values())


def test_each_half_says_its_language(read):
    tree, _ = read(PAIR, "both")
    wrapped = {
        block["classes"][1]: block["classes"][2]
        for block in tree.findall(nodes.container)
        if "lang-block" in block["classes"]
    }
    assert wrapped == {"lang-en": "language-en", "lang-zh": "language-zh-CN"}


def test_short_texts_are_split_everywhere(read, tmp_path):
    page = """# Title $a$ ｜ 标题 $a$

| Head ｜ 表头 |
|---|
| cell ｜ 单元格 |

- item ｜ 条目

**strong ｜ 粗体** and `code ｜ 代码`

![alternative ｜ 替代文字](picture.png)

```{rubric} rubric ｜ 小标题
```
"""
    (tmp_path / "picture.png").write_bytes(b"")
    for edition, words, others in (
        (
            "en",
            ("Title", "Head", "cell", "item", "strong", "rubric"),
            ("标题", "表头", "条目", "粗体"),
        ),
        (
            "zh",
            ("标题", "表头", "单元格", "条目", "粗体", "小标题"),
            ("Title", "Head", "item", "strong"),
        ),
    ):
        tree, warnings = read(page, edition)
        text = tree.astext()
        assert all(word in text for word in words), edition
        assert not any(word in text for word in others), edition
        assert "code ｜ 代码" in text
        assert len(list(tree.next_node(nodes.title).findall(nodes.math))) == 1
        [image] = tree.findall(nodes.image)
        assert image["alt"] == {"en": "alternative", "zh": "替代文字"}[edition]
        assert warnings == ""


def test_anchors_are_those_of_the_bilingual_heading(read):
    page = "# Title ｜ 标题\n\n## The Dice loss ｜ Dice 损失\n\n## 3 things ｜ 三件事\n"
    ids = {
        edition: [section["ids"] for section in read(page, edition)[0].findall(nodes.section)]
        for edition in ("both", "en", "zh")
    }
    assert ids["both"] == ids["en"] == ids["zh"]
    assert ["the-dice-loss-dice"] in ids["en"] or ["the-dice-loss"] in ids["en"]


def test_a_formula_keeps_the_mark_after_it(read):
    tree, _ = read("# T\n\n设 $x$，并且 $y$ 与 $z$。$w$\n", "zh")
    [paragraph] = tree.findall(nodes.paragraph)
    kept = [node.astext() for node in tree.findall(nodes.inline) if "unbroken" in node["classes"]]
    assert kept == ["x，", "z。"]
    assert paragraph.astext() == "设 x，并且 y 与 z。w"


def test_full_width_marks_stand_without_spaces(read):
    tree, _ = read("# T\n\n**运行。** 点击 `Run all` ，再看 **图 1** （右）\n下一行。 A b\n", "zh")
    [paragraph] = tree.findall(nodes.paragraph)
    assert paragraph.astext() == "运行。点击 Run all，再看 图 1（右）下一行。A b"


def test_of_equal_texts_the_right_one_loses_its_space(read):
    tree, _ = read("# T\n\n*甲* → *乙？* → *丙*\n", "zh")
    [paragraph] = tree.findall(nodes.paragraph)
    assert paragraph.astext() == "甲 → 乙？→ 丙"


def test_names_are_not_broken(read):
    page = "# The U-Net ｜ U-Net 网络\n\nFCN-8s and nnU-Net++, a well-known `R-CNN`, (R-CNN).\n"
    tree, _ = read(page, "both")
    kept = [node.astext() for node in tree.findall(nodes.inline) if "unbroken" in node["classes"]]
    assert kept == ["U-Net", "U-Net", "FCN-8s", "nnU-Net++", "R-CNN"]
    assert tree.astext().endswith("FCN-8s and nnU-Net++, a well-known R-CNN, (R-CNN).")


@pytest.mark.parametrize("edition", ["both", "zh"])
def test_a_heading_in_a_tagged_cell_is_an_error_that_names_the_page(read, edition):
    page = '# Title\n\n+++ {"tags": ["lang-zh"]}\n\n## 标题\n\n正文\n\n+++\n'
    with pytest.raises(ExtensionError, match="index: a heading stands in a cell"):
        read(page, edition)


def test_two_bars_in_one_text_are_a_warning(read):
    _, warnings = read("# Title\n\none ｜ two ｜ three\n", "both")
    assert "more than one" in warnings


def test_an_unknown_edition_is_refused(read):
    with pytest.raises(ExtensionError, match="'fr', allowed: both, en, zh"):
        read("# Title\n", "fr")


def test_plain_texts():
    assert halves("no bar") is None
    assert halves("a ｜ 甲") == {"en": "a", "zh": "甲"}
    assert [plain("a ｜ 甲", edition) for edition in ("both", "en", "zh")] == ["a · 甲", "a", "甲"]
    assert plain("a", "zh") == "a"


def test_a_colon_before_the_bar_belongs_to_the_english_half():
    assert bilingual_parts("Grids: a map ｜ 方格：一幅图") == ["Grids: a map ｜ 方格：一幅图"]
    assert bilingual_parts("Rate ｜ 空洞率: 2") == ["Rate ｜ 空洞率", "2"]
    assert bilingual_parts("By: a ｜ 甲: on: b ｜ 乙") == ["By: a ｜ 甲", "on: b ｜ 乙"]


def test_blocks_inside_fences_are_text():
    source = '```text\n+++ {"tags": ["lang-en"]}\n```\n+++ {"tags": ["lang-zh"]}\n中文'
    assert blocks(source) == [
        ('```text\n+++ {"tags": ["lang-en"]}\n```', []),
        ("中文", ["lang-zh"]),
    ]
    assert "中文" not in select_markdown(source, "en", "page")


def test_notebook_cells_of_the_other_language_are_dropped():
    cell = {"cell_type": "markdown", "source": ["text"], "metadata": {"tags": ["lang-en"]}}
    code = {"cell_type": "code", "source": ["x = 1"], "metadata": {"tags": ["lang-en"]}}
    notebook = {"cells": [cell, code], "metadata": {}}
    select_notebook(chinese := deepcopy(notebook), "zh", "page")
    assert chinese["cells"] == [code]
    select_notebook(english := deepcopy(notebook), "en", "page")
    [kept, rest] = english["cells"]
    assert kept["source"].startswith("% bilingual-begin en\n") and rest == code
    cell["metadata"]["tags"].append("lang-zh")
    with pytest.raises(ExtensionError, match="page: a cell is tagged both"):
        select_notebook(notebook, "both", "page")


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "A and B [Long and Two, 2015; Ron et al., 2016]"),
        ("zh", "A and B [Long 与 Two，2015；Ron 等，2016]"),
    ],
)
def test_citations_join_names_in_the_language_of_the_paragraph(language, expected):
    works = [
        nodes.reference("", "Long and Two, 2015"),
        nodes.reference(
            "", "", nodes.Text("Ron "), nodes.emphasis("", "et al."), nodes.Text(", 2016")
        ),
    ]
    cited = nodes.inline("", "[", works[0], nodes.Text("; "), works[1], nodes.Text("]"))
    cited["classes"].append("bibtex-citation")
    block = nodes.container(
        "", nodes.paragraph("", "A and B ", cited), classes=[f"lang-{language}"]
    )
    tree = new_document("page")
    tree += block
    translate_citations(None, tree, "page")
    assert tree.astext() == expected


def test_attributes_of_pages_speak_the_language_of_the_edition():
    body = (
        '<img alt="A disc ｜ 圆盘" src="a.png"><svg aria-label="Curves: one ｜ 一"></svg>'
        '<b title="T ｜ 题" data-label="L ｜ 标" data-alt="x" data-code="C ｜ 码" halt="H ｜ 停">'
    )
    app = SimpleNamespace(config=SimpleNamespace(bilingual_edition="zh"))
    split_attributes(app, "page", "page.html", context := {"body": body}, None)
    assert context["body"] == (
        '<img alt="圆盘" src="a.png"><svg aria-label="一"></svg>'
        '<b title="题" data-label="标" data-alt="x" data-code="C ｜ 码" halt="H ｜ 停">'
    )


def test_code_in_a_table_is_broken_at_the_joints_of_its_names(read):
    row = "| `folders` | `runs/a_b.txt`, `mask_rcnn --out x`, `FocalLoss(x)` |"
    tree, _ = read(f"# T\n\n| a | b |\n|---|---|\n{row}\n\n`mask_rcnn_resnet50`\n", "en")
    codes = list(tree.findall(nodes.literal))
    assert ["unbroken" in code["classes"] for code in codes] == [True, False, False, False, False]
    parts = [[text.astext() for text in code] for code in codes]
    assert parts == [
        ["folders"],
        ["runs/", "<wbr>", "a_", "<wbr>", "b.", "<wbr>", "txt"],
        ["mask_", "<wbr>", "rcnn --out x"],
        ["Focal", "<wbr>", "Loss", "<wbr>", "(x)"],
        ["mask_rcnn_resnet50"],
    ]
