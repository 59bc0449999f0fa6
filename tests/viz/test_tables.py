import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from segedu import viz

HEAD = ["model ｜ 模型", "mean IoU ｜ 平均 IoU", "parameters ｜ 参数量"]
ROWS = [["U-Net <s>", torch.tensor(0.71851), 31037698], ["无跳跃", math.nan, np.int64(7)]]


def test_table_is_html_that_screen_readers_can_read():
    html = viz.table(ROWS, HEAD, digits=2, caption="Two ｜ 两个")._repr_html_()
    table = ElementTree.fromstring(html).find("table")
    assert table.find("caption").text == "Two ｜ 两个"
    assert [(th.text, th.get("scope")) for th in table.find("thead/tr")] == [
        (text, "col") for text in HEAD
    ]
    first, second = table.findall("tbody/tr")
    assert [cell.text for cell in first] == ["U-Net <s>", "0.72", "31,037,698"]
    assert [cell.text for cell in second] == ["无跳跃", "–", "7"]
    assert viz.table([["x", True, 2]], HEAD).rows == (("x", "yes ｜ 是", "2"),)
    assert [cell.tag for cell in first] == ["th", "td", "td"]
    assert first[0].get("scope") == "row"
    assert ["right" in cell.get("style") for cell in first] == [False, True, True]


def test_table_is_aligned_text_in_a_terminal():
    assert repr(viz.table([["a", 1.0], ["汉字", 10.5]], ["x", "值"], digits=1)).splitlines() == [
        "x       值",
        "----  ----",
        "a      1.0",
        "汉字  10.5",
    ]


def test_table_writes_a_minus_where_a_number_is_negative():
    rows = [["a-b", -1234], ["c", -0.5], ["zero", -0.0001]]
    assert [row[1] for row in viz.table(rows, ["name", "value"]).rows] == [
        "−1,234",
        "−0.500",
        "0.000",
    ]
    assert viz.table(rows, ["name", "value"]).rows[0][0] == "a-b"


def test_table_gives_the_same_bytes():
    assert viz.table(ROWS, HEAD)._repr_html_() == viz.table(ROWS, HEAD)._repr_html_()


def test_table_refuses_rows_that_do_not_fit():
    with pytest.raises(ValueError, match=r"2 cells as head has, got \['a'\]"):
        viz.table([["a"]], ["x", "y"])
    with pytest.raises(ValueError, match="at least one row"):
        viz.table([], ["x"])
