import io
import re

import numpy as np
import pytest
from PIL import Image

from segedu import viz
from segedu.medical import viewer
from segedu.medical.preprocess import WINDOWS, Window
from segedu.medical.viewer import slice_viewer
from segedu.medical.volume import PLANES, Volume
from segedu.viz import explorers

WIDE = Window(100, 200)  # 0 is black, 200 white
NAMES = ("ball ｜ 球",)


@pytest.fixture
def scan():
    """Values that grow to the left, to the back and to the head, on voxels of 4 x 2 x 2 mm."""
    d, h, w = np.ogrid[:10, :20, :16]
    return Volume((4.0 * d + 2 * h + 6 * w).astype(np.float32), (4.0, 2.0, 2.0))


@pytest.fixture
def labels(scan):
    mask = np.zeros(scan.shape, np.uint8)
    mask[4:7, 8:13, 6:10] = 1
    return scan.with_array(mask)


@pytest.fixture
def live(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv(explorers.LIVE, "1")


@pytest.fixture
def stored(monkeypatch):
    monkeypatch.setenv(explorers.LIVE, "0")


def parts(viewer):
    """Pictures and sliders by plane; window, level, width and opacity."""
    columns, controls = viewer.children[0].children, viewer.children[1].children
    pictures, places = ([column.children[k] for column in columns] for k in (0, 1))
    return *(dict(zip(PLANES, of, strict=True)) for of in (pictures, places)), *controls


def seen(picture):
    return np.asarray(Image.open(io.BytesIO(picture.value)).convert("RGB")).astype(int)


def test_a_stored_notebook_holds_a_slider_over_slices_of_three_planes(scan, labels, stored):
    explorer = slice_viewer(scan, labels, names=NAMES, per_plane=3)
    assert isinstance(explorer, explorers.Explorer) and "widget" not in explorer.html
    names = re.findall('data-label="([^"]*)"', explorer.html)
    assert [name.split(",")[0] for name in names] == [p for p in PLANES for _ in range(3)]
    assert names[1] == "axial, slice 6 of 10 from the feet ｜ 横断面，自足侧起第 6 层，共 10 层"
    assert "ball" in explorer.html
    assert slice_viewer(scan, labels, names=NAMES, per_plane=3).html == explorer.html


def test_widgets_need_a_page_that_answers_and_the_package(scan, monkeypatch):
    monkeypatch.delenv(explorers.LIVE, raising=False)
    for name in viewer._SESSIONS:
        monkeypatch.delenv(name, raising=False)
    assert isinstance(slice_viewer(scan), explorers.Explorer)  # executed by nbconvert or a test
    monkeypatch.setenv("JPY_SESSION_NAME", "chapter.ipynb")
    ipywidgets = pytest.importorskip("ipywidgets")
    assert isinstance(slice_viewer(scan), ipywidgets.VBox)
    monkeypatch.setattr(viewer, "find_spec", lambda name: None)
    assert isinstance(slice_viewer(scan), explorers.Explorer)


@pytest.mark.parametrize("axes", ["SPL", "IAR", "LSP"])
def test_the_pictures_are_the_slices_in_true_proportion(scan, labels, axes, live):
    side = 160
    shown = slice_viewer(scan.reorient(axes), labels.reorient(axes), window=WIDE, side=side)
    pictures, places, *_, opacity = parts(shown)
    opacity.value = 0
    for plane, index in zip(PLANES, (3, 14, 5), strict=True):
        places[plane].value = index
    for plane, picture in pictures.items():
        values, aspect = scan.view(plane, places[plane].value)
        shown, scale = seen(picture), side / 40  # pixels per mm; the scan is 40 x 40 x 32 mm
        high, wide = (4 if aspect == 2 else 2) * scale, 2 * scale
        rows = (side - high * values.shape[0]) / 2 + (np.arange(values.shape[0]) + 0.5) * high
        columns = (side - wide * values.shape[1]) / 2 + (np.arange(values.shape[1]) + 0.5) * wide
        inner = np.ix_(rows.astype(int), columns.astype(int))
        grey = np.ptp(shown[inner], axis=-1) == 0  # not under a line or a letter
        grey[[0, 1, -2, -1]] = grey[:, [0, 1, -2, -1]] = False
        expected = 255 * WIDE.scale(values)
        assert grey.sum() > grey.size / 3
        assert np.abs(shown[inner][..., 0] - expected)[grey].max() < 8


def test_lines_show_where_the_other_planes_lie(scan, live):
    pictures, places, *_ = parts(slice_viewer(scan, window=WIDE, side=160))

    def line(plane, axis):
        yellow = (seen(pictures[plane]) == (240, 228, 66)).all(axis=-1)
        (place,) = np.flatnonzero(yellow.mean(axis=axis) > 0.8)
        return place

    places["axial"].value, places["sagittal"].value = 9, 15  # nearest to head and left
    places["coronal"].value = 0  # front
    assert line("coronal", 1) < 20 and line("sagittal", 1) < 20  # the head is up
    assert line("axial", 0) > 130 and line("coronal", 0) > 130  # the left is right
    assert line("axial", 1) < 20 and line("sagittal", 0) < 20  # the front is up, or left
    places["axial"].value = 0
    assert line("coronal", 1) > 140


def test_window_and_labels_can_be_changed(scan, labels, live):
    shown = slice_viewer(scan, labels, window=WIDE, names=NAMES)
    pictures, places, preset, level, width, opacity = parts(shown)
    assert (level.value, width.value) == WIDE
    before = pictures["axial"].value
    preset.value = WINDOWS["bone"]
    assert level.value == level.max and pictures["axial"].value != before  # as far as values go
    preset.value = WIDE
    assert pictures["axial"].value == before
    opacity.value = 1
    color = (seen(pictures["axial"]) == viz.instance_colors(1)[0]).all(axis=-1)
    assert color.any()
    opacity.value = 0
    assert not (seen(pictures["axial"]) == viz.instance_colors(1)[0]).all(axis=-1).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": "liver"}, "window must be one of lung"),
        ({"window": Window(0, 0)}, "positive width"),
        ({"per_plane": 5}, "per_plane must be in 1..4, got 5"),
        ({"names": ("a", "b")}, "names must name the labels 1 to 1, got 2"),
        ({"labels": Volume(np.zeros((2, 2, 2)))}, "on the grid of the scan; .*put_on"),
        ({"labels": 0.5}, "whole numbers from 0, got values from 0 to 0.5"),
    ],
)
def test_bad_input(scan, labels, change, message, stored):
    if change.get("labels") == 0.5:
        change = {"labels": labels.with_array(labels.array * 0.5)}
    with pytest.raises(ValueError, match=message):
        slice_viewer(scan, **{"labels": labels, **change})
