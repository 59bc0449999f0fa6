import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segedu import viz
from segedu.viz.overlays import IGNORE_COLOR, to_image, two_lines

COLORS = [(10, 20, 30), (200, 0, 0), (0, 150, 250)]
IMAGE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
MASK = np.zeros((6, 8), dtype=np.uint8)
MASK[2:5, 3:7] = 1
MASK[0, 0] = 2
MASK[5, 7] = 255

label_maps = arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 2), elements=st.integers(0, 2))


def test_image_forms_agree():
    tensor = torch.from_numpy(IMAGE).permute(2, 0, 1)
    for form in (IMAGE, tensor, tensor.float() / 255, IMAGE / 255.0):
        np.testing.assert_array_equal(to_image(form), IMAGE)
    np.testing.assert_array_equal(to_image(IMAGE[..., 0])[..., 2], IMAGE[..., 0])
    assert to_image(MASK == 1).max() == 255


@pytest.mark.parametrize(
    "image", [np.zeros((2, 3, 5, 4)), np.zeros((5, 4, 2)), torch.zeros(5, 4, 3)]
)
def test_image_of_wrong_shape_is_refused(image):
    with pytest.raises(ValueError, match="image must be"):
        to_image(image)


def test_normalised_image_is_refused():
    with pytest.raises(ValueError, match="denormalize"):
        to_image(torch.randn(3, 4, 4))


def test_colorize():
    image = viz.colorize(torch.from_numpy(MASK).long(), COLORS)
    assert image.shape == (6, 8, 3)
    assert image.dtype == np.uint8
    assert tuple(image[0, 0]) == COLORS[2]
    assert tuple(image[3, 4]) == COLORS[1]
    assert tuple(image[5, 7]) == IGNORE_COLOR


def test_label_without_color_is_refused():
    with pytest.raises(ValueError, match=r"labels \[2\].*0\.\.1 and 255"):
        viz.colorize(MASK, COLORS[:2])


@pytest.mark.parametrize("colors", [[(0, 0)], [(0, 0, 300)], [0, 1, 2]])
def test_bad_colors_are_refused(colors):
    with pytest.raises(ValueError, match="colors must be"):
        viz.colorize(np.zeros((2, 2), int), colors)


def test_overlay_between_image_and_colors():
    np.testing.assert_array_equal(viz.overlay(IMAGE, MASK, COLORS, 0, False), IMAGE)
    np.testing.assert_array_equal(viz.overlay(IMAGE, MASK, COLORS, 1), viz.colorize(MASK, COLORS))
    half = viz.overlay(IMAGE, MASK, COLORS, 0.5, False)
    expected = (IMAGE.astype(float) + viz.colorize(MASK, COLORS)) / 2
    assert np.abs(half - expected).max() <= 0.5


def test_overlay_hides_the_background():
    shown = viz.overlay(IMAGE, MASK, COLORS, hide=(0,))
    np.testing.assert_array_equal(shown[MASK == 0], IMAGE[MASK == 0])
    assert (shown[MASK == 1] != IMAGE[MASK == 1]).any()


@settings(deadline=None, max_examples=50)
@given(label_maps)
def test_outline_is_where_a_neighbour_differs(labels):
    """At strength 0 the overlay shows the outline alone; the definition, pixel by pixel."""
    image = np.full((*labels.shape, 3), 99, dtype=np.uint8)
    changed = (viz.overlay(image, labels, COLORS, 0) != image).any(-1)
    height, width = labels.shape
    for row, column in np.ndindex(height, width):
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        inside = [(r, c) for r, c in around if 0 <= r < height and 0 <= c < width]
        assert changed[row, column] == any(labels[p] != labels[row, column] for p in inside)


def test_overlay_checks_size_and_alpha():
    with pytest.raises(ValueError, match="agree in size"):
        viz.overlay(IMAGE[1:], MASK, COLORS)
    with pytest.raises(ValueError, match="alpha"):
        viz.overlay(IMAGE, MASK, COLORS, 1.5)


def test_instance_colors_differ():
    colors = viz.instance_colors(20)
    assert len(set(colors)) == 20
    neighbours = np.abs(np.diff(np.array(colors), axis=0)).sum(1)
    assert neighbours.min() > 100


def test_later_instance_lies_on_top():
    masks = np.zeros((2, 6, 8), dtype=bool)
    masks[0, :4] = masks[1, 2:] = True
    shown = viz.overlay_instances(IMAGE, masks, COLORS[1:], alpha=1)
    assert tuple(shown[0, 0]) == COLORS[1]
    assert tuple(shown[3, 0]) == COLORS[2]


def test_instances_without_any():
    shown = viz.overlay_instances(IMAGE, np.zeros((0, 6, 8), dtype=bool))
    np.testing.assert_array_equal(shown, IMAGE)


def test_show_instances_draws_boxes_on_pixel_borders():
    boxes = torch.tensor([[3.0, 2.0, 7.0, 5.0]])
    ax = viz.show_instances(IMAGE, (MASK == 1)[None], boxes, ["car ｜ 汽车"])
    assert ax.patches[0].get_bbox().extents.tolist() == [2.5, 1.5, 6.5, 4.5]
    assert [text.get_text() for text in ax.texts] == ["car ｜ 汽车"]
    ax.figure.canvas.draw()


def test_panoptic_colors():
    ids = np.array([[7, 7, 8, 8], [9, 9, 0, 0]])
    segments = [
        {"id": 7, "category_id": 1, "isthing": True},
        {"id": 8, "category_id": 1, "isthing": True},
        {"id": 9, "category_id": 2, "isthing": False},
    ]
    shown = viz.colorize_panoptic(ids, segments, COLORS)
    assert tuple(shown[0, 0]) == COLORS[1]  # the first instance has the colour of its class
    assert tuple(shown[0, 2]) != COLORS[1]  # the second a shade of it
    assert tuple(shown[1, 0]) == COLORS[2]
    assert tuple(shown[1, 2]) == IGNORE_COLOR
    image = np.zeros((2, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(viz.overlay_panoptic(image, ids, segments, COLORS, 1), shown)


def test_error_map():
    shown = viz.error_map([[0, 1, 1]], [[0, 0, 255]])
    assert [tuple(pixel) for pixel in shown[0]] == list(viz.ERROR_COLORS.values())
    with pytest.raises(ValueError, match="same shape"):
        viz.error_map(MASK, MASK[1:])


def test_show_row_and_legend():
    axes = viz.show_row([IMAGE, torch.rand(3, 6, 8), IMAGE], ["a ｜ 甲", "b", "c"], columns=2)
    assert [ax.get_title() for ax in axes] == ["a\n甲", "b", "c"]
    assert len(axes[0].figure.axes) == 4
    key = viz.legend(["sky ｜ 天空", "road ｜ 道路", "car ｜ 汽车"], COLORS)
    assert [text.get_text() for text in key.get_texts()][2] == "car ｜ 汽车"
    plt.gcf().canvas.draw()


def test_show_row_of_numbers_uses_the_color_map():
    axes = viz.show_row([np.arange(6.0).reshape(2, 3)], cmap="viridis")
    assert axes[0].images[0].get_cmap().name == "viridis"


def test_show_row_and_legend_refuse_unequal_lists():
    with pytest.raises(ValueError, match="titles"):
        viz.show_row([IMAGE], ["a", "b"])
    with pytest.raises(ValueError, match="empty"):
        viz.show_row([])
    with pytest.raises(ValueError, match="pair up"):
        viz.legend(["a"], COLORS)


def test_two_lines():
    assert two_lines("photo ｜ 照片") == "photo\n照片"
    assert two_lines("photo") == "photo"


def test_binary_errors_tell_hits_false_alarms_and_misses():
    target = np.array([[2, 2, 0, 0, 255]])
    prediction = np.array([[2, 0, 2, 1, 2]])
    image = np.full((1, 5, 3), 7, dtype=np.uint8)
    drawn = viz.binary_errors(image, prediction, target, label=2, alpha=1.0)
    hit, alarm, miss, ignored = viz.BINARY_COLORS.values()
    assert drawn[0].tolist() == [list(hit), list(miss), list(alarm), [7, 7, 7], list(ignored)]


def test_binary_errors_of_bool_maps():
    found, there = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    drawn = viz.binary_errors(np.zeros((1, 2), dtype=np.uint8), found, there, alpha=1.0)
    hit, alarm, *_ = viz.BINARY_COLORS.values()
    assert drawn[0].tolist() == [list(hit), list(alarm)]
    with pytest.raises(ValueError, match=r"same shape, got \(1, 2\) and \(1, 1\)"):
        viz.binary_errors(np.zeros((1, 2)), found, there[:, :1])
