import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from segedu import viz
from segedu.viz import compact, use_style


def photo(size=200):
    """A smooth picture with a little noise and more than 256 colours."""
    rows, columns = np.indices((size, size)) / size
    noise = np.random.default_rng(0).normal(0, 0.02, (size, size, 3))
    return np.clip(np.stack([rows, columns, 1 - rows], -1) + noise, 0, 1)


def decoded(data):
    return np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.mark.parametrize("dither", [False, True])
def test_palette_png_is_close_and_white_stays_white(dither):
    pixels = np.rint(photo() * 255).astype(np.uint8)
    pixels[:20] = 255
    data = compact.palette_png(Image.fromarray(pixels), dither=dither)
    assert Image.open(io.BytesIO(data)).mode == "P"
    found = decoded(data)
    assert (found[:19] == 255).all()
    assert np.abs(found - pixels).mean() < 12


@pytest.mark.parametrize("dither", [False, True])
def test_palette_png_keeps_the_few_colours_of_a_picture(dither):
    greys = np.random.default_rng(0).integers(0, 200, (40, 30, 1), dtype=np.uint8)
    pixels = np.repeat(greys, 3, axis=2)
    data = compact.palette_png(Image.fromarray(pixels), dither=dither)
    assert Image.open(io.BytesIO(data)).mode == "P"
    np.testing.assert_array_equal(decoded(data), pixels)


def test_figures_are_small_and_deterministic():
    sizes = []
    for width in (7.0, 12.0):
        axes = viz.show_row([photo(), photo()], ["a ｜ 甲", "b"], width=width)
        data = compact.figure_png(axes[0].figure)
        buffer = io.BytesIO()
        axes[0].figure.savefig(buffer, format="png", bbox_inches="tight")
        sizes.append((len(data), len(buffer.getvalue())))
    assert data == compact.figure_png(axes[0].figure)
    assert all(small < large / 2 for small, large in sizes)
    assert sizes[0][0] <= 100_000


def test_charts_are_svg_with_their_text_and_colors():
    ax = viz.schedules({"poly ｜ 多项式": [3, 2, 1]})
    data = compact.chart_svg(ax.figure)
    assert compact.figure_png(ax.figure) is None
    assert data == compact.chart_svg(ax.figure) and len(data) < 40_000
    assert ">poly ｜ 多项式</text>" in data and "#0072b2" in data


def test_a_picture_with_labels_in_two_languages_keeps_them_as_text():
    ax = viz.show_row([photo()])[0]
    ax.set_title("a ｜ 甲")
    data = compact.chart_svg(ax.figure)
    assert compact.figure_png(ax.figure) is None and ">a ｜ 甲</text>" in data
    [embedded] = re.findall(r'base64,([^"]+)"', data)
    assert Image.open(io.BytesIO(base64.b64decode(embedded))).mode == "P"


def test_pictures_are_png():
    assert compact.chart_svg(viz.show_row([photo()])[0].figure) is None


def test_notebook_stores_charts_as_svg_and_pictures_as_palette_png(monkeypatch):
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    shell = interactive.InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    use_style()
    chart, picture = Figure(figsize=(2, 1)), Figure(figsize=(2, 1))
    picture.subplots().imshow(photo())
    stored = [shell.display_formatter.format(figure)[0] for figure in (chart, picture)]
    assert [sorted(data) for data in stored] == [
        ["image/svg+xml", "text/plain"],
        ["image/png", "text/plain"],
    ]
    assert Image.open(io.BytesIO(stored[1]["image/png"])).mode == "P"


def test_plain_python_is_left_alone():
    before = plt.get_backend()
    compact.store_figures_small()
    assert plt.get_backend() == before
