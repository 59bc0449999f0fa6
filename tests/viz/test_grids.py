import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from segedu import viz

WIDE = np.zeros((30, 300, 3), np.uint8)
SMALL = np.full((4, 5, 3), 255, np.uint8)


def test_pictures_with_captions_and_legend():
    shown = viz.pictures(
        [WIDE, SMALL, SMALL], ["a ｜ 甲", "b < c", ""], legend={"sky ｜ 天空": (1, 2, 3)}
    )
    html = shown._repr_html_()
    assert repr(shown) == "Pictures(3)"
    assert html.count("<figure") == 3 and html.count("<figcaption") == 2
    assert '<span class="lang-zh" lang="zh-CN">甲</span>' in html and "b &lt; c" in html
    assert "background:rgb(1, 2, 3)" in html
    assert re.findall(r'alt="([^"]*)"', html) == ["a ｜ 甲", "b &lt; c", "picture ｜ 图"]
    assert re.findall(r'<img[^>]*width="(\d+)" height="(\d+)"', html)[0] == ("300", "30")
    assert html.count("pixelated") == 2  # enlarged pixels stay sharp, those of the wide one do not
    data = re.findall(r"base64,([^\"]+)", html)[1]
    assert (np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) == 255).all()
    assert (
        html
        == viz.pictures(
            [WIDE, SMALL, SMALL], ["a ｜ 甲", "b < c", ""], legend={"sky ｜ 天空": (1, 2, 3)}
        ).html
    )


def test_pictures_load_nothing_and_have_no_ids():
    html = viz.pictures([SMALL]).html
    assert "<script" not in html and "http" not in html and " id=" not in html


@pytest.mark.parametrize("count, columns", [(4, 2), (3, 3), (6, 3)])
def test_columns(count, columns):
    assert f"/ {columns})" in viz.pictures([SMALL] * count).html
    assert "/ 5)" in viz.pictures([SMALL] * count, columns=5).html


def test_pictures_refuse_what_cannot_be_shown():
    with pytest.raises(ValueError, match="images is empty"):
        viz.pictures([])
    with pytest.raises(ValueError, match="captions must name every image, got 1 for 2"):
        viz.pictures([SMALL, SMALL], ["a"])
