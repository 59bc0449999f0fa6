"""The drawing of a network, judged as a picture: nothing overlaps, nothing lies outside."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from torch import nn

from segedu import viz
from segedu.models import get_model
from tests.viz.published import NAMES, drawn

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(params=NAMES)
def drawing(request):
    return drawn(request.param)


def boxes(svg):
    """Left, top, right and bottom of every box."""
    for rect in svg.iter(f"{SVG}rect"):
        x, y, width, height = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
        yield x, y, x + width, y + height


def test_boxes_lie_apart_and_inside(drawing):
    svg = ElementTree.fromstring(drawing.svg)
    width, height = float(svg.get("width")), float(svg.get("height"))
    places = list(boxes(svg))
    assert len(places) == len(drawing.stages)
    for left, top, right, bottom in places:
        assert left > 0 and right <= width and top > 0 and bottom <= height
    for one, other in itertools.combinations(places, 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


def test_texts_fit_into_their_boxes(drawing):
    svg = ElementTree.fromstring(drawing.svg)
    for text in svg.iter(f"{SVG}text"):
        if text.get("text-anchor") == "middle" and text.get("font-family"):  # a name
            x, y, half = float(text.get("x")), float(text.get("y")), 3.35 * len(text.text)
            assert any(
                b[0] <= x - half and x + half <= b[2] and b[1] < y < b[3] for b in boxes(svg)
            )


def test_every_way_of_the_data_is_an_arrow(drawing):
    svg = ElementTree.fromstring(drawing.svg)
    edges = sum(len(stage.sources) for stage in drawing.stages)
    assert len(list(svg.iter(f"{SVG}path"))) == len(list(svg.iter(f"{SVG}polygon"))) == edges


def test_the_drawing_follows_the_page(drawing):
    assert "currentColor" in drawing.svg
    assert 'id="' not in drawing.svg  # any number of drawings share a page
    title = ElementTree.fromstring(drawing.svg).find(f"{SVG}title").text
    assert title.count(" ｜ ") == 1


def test_skips_are_dashed_and_the_way_down_and_up_is_not():
    with torch.device("meta"):
        svg = viz.architecture(get_model("unet", 5), 64).svg
    paths = list(ElementTree.fromstring(svg).iter(f"{SVG}path"))
    assert sum(path.get("stroke-dasharray") is not None for path in paths) == 4
    assert len(paths) == 15


def test_the_poolings_that_skips_start_from_have_the_names_of_their_paper():
    with torch.device("meta"):
        svg = viz.architecture(get_model("fcn8s_vgg16", 5), 64).svg
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert [text for text in texts if text.startswith("pool")] == ["pool3", "pool4"]


def test_the_same_network_gives_the_same_bytes():
    first, second = (viz.architecture(get_model("unet", 5, base_width=2), 64) for _ in range(2))
    assert first._repr_html_() == second._repr_html_()
    assert repr(first) == "Architecture('UNet', 10 stages)"
    named = viz.architecture(get_model("unet", 5, base_width=2), (64, 96), name="U <1>")
    assert named.svg.count("U &lt;1&gt;") == 2


def test_shapes_are_a_table_of_the_stages():
    with torch.device("meta"):
        table = viz.shapes(get_model("unet", 5, base_width=8), (64, 32))
        volumes = viz.shapes(get_model("unet3d", 2), (32, 32, 32), in_channels=1)
    assert table.rows[0] == ("input ｜ 输入", "3 × 64 × 32", "1/1", "–")
    assert table.rows[2] == ("encoder.1", "16 × 32 × 16", "1/2", "3,520")
    assert table.rows[-1] == ("output ｜ 输出", "5 × 64 × 32", "1/1", "–")
    assert volumes.head[1] == "output C × D × H × W ｜ 输出 C × D × H × W"


def test_the_legend_says_what_the_dashed_lines_carry():
    model = get_model("segnet_basic", 2, base_width=2)
    assert "Dashed: skip connection." in viz.architecture(model, 32)._repr_html_()
    html = viz.architecture(model, 32, dashed="places ｜ 位置")._repr_html_()
    assert "Dashed: places. ｜ " in html and "虚线：位置。" in html
    assert "skip connection" not in html and "跳跃连接" not in html


def test_the_legend_paints_its_squares_like_the_boxes():
    drawing = viz.architecture(get_model("segnet_basic", 2, base_width=2), 32)
    rect = re.compile(r'<rect[^>]*(fill="#[^>]*)/>')
    legend = drawing._repr_html_().replace(drawing.svg, "")
    assert set(rect.findall(drawing.svg)) == set(rect.findall(legend))


def test_the_legend_says_nothing_of_what_is_not_drawn():
    html = viz.architecture(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1)), 32)._repr_html_()
    assert "downsampled" in html and "fraction of the input" in html
    assert not any(text in html for text in ("upsampled", "same size", "Dashed", "虚线"))
