import re

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from segedu import viz
from segedu.languages import BAR
from segedu.ops import receptive_fields

TAP, UNIT = to_rgba("#56B4E9"), to_rgba("#E69F00")


@pytest.mark.parametrize("stack", [[(3,), (2, 2), (3,)], [(3,), (3, 1, 2), (3, 1, 4)], [(5, 3)]])
def test_receptive_field_drawing_fills_the_whole_field(stack):
    ax = viz.receptive_field(stack)
    nodes = [line for line in ax.lines if line.get_marker() == "o"]
    filled = [line for line in nodes if line.get_markerfacecolor() != "white"]
    bottom = sorted(line.get_xdata()[0] for line in filled if line.get_ydata()[0] == 0)
    size = receptive_fields(stack)[-1].size
    assert bottom == [offset - (size - 1) / 2 for offset in range(size)]
    assert sum(line.get_ydata()[0] == len(stack) for line in filled) == 1
    ends = {(line.get_xdata()[1], line.get_ydata()[1]) for line in ax.lines if line not in nodes}
    assert {x for x, level in ends if level == 0} == set(bottom)  # lines end in filled inputs


def test_effective_receptive_field_draws_both_squares():
    gradient = np.zeros((3, 21, 21))
    gradient[:, 5:14, 5:14] = 1
    image = np.zeros((21, 21, 3), dtype=np.uint8)
    ax = viz.effective_receptive_field(gradient, 15, image=image)
    assert [patch.get_width() for patch in ax.patches] == [15, 9]
    middles = [patch.get_x() + patch.get_width() / 2 for patch in ax.patches]
    assert middles == pytest.approx([9, 9])
    for half in ax.get_title().split(BAR):  # an edition shows one of them
        assert re.findall(r"\d+", half) == ["15", "9"]
    ax.figure.canvas.draw()
    with pytest.raises(ValueError, match="not all 0"):
        viz.effective_receptive_field(np.zeros((4, 4)))


def cells(ax, color):
    """Upper left corners of the cells of one colour."""
    return sorted(
        (patch.get_x(), patch.get_y()) for patch in ax.patches if patch.get_facecolor() == color
    )


def test_kernel_marks_the_taps_of_a_convolution():
    ax = viz.kernel(3, dilation=2, input_size=7, position=(1, 2))
    # rows 1, 3, 5 and columns 2, 4, 6; the vertical axis of a plot points upwards
    assert cells(ax, TAP) == sorted((x, 6 - y) for y in (1, 3, 5) for x in (2, 4, 6))
    assert len(cells(ax, UNIT)) == 1
    ax.figure.canvas.draw()


def test_kernel_shows_padding_as_zeros():
    ax = viz.kernel(3, padding=1, input_size=4)
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("0") == 6 * 6 - 4 * 4
    assert "4×4, padding 1 ｜ 4×4，填充 1" in texts  # the grid that is drawn has 6×6 cells


@pytest.mark.parametrize(("size", "stride", "dilation", "padding"), [(3, 2, 1, 0), (4, 3, 2, 2)])
def test_kernel_transposed_counts_the_inputs_that_reach_a_cell(size, stride, dilation, padding):
    ax = viz.kernel(
        size, stride=stride, dilation=dilation, padding=padding, input_size=3, transposed=True
    )
    output = 2 * stride - 2 * padding + (size - 1) * dilation + 1
    counts = np.zeros((output, output), int)
    for row, column, down, across in np.ndindex(3, 3, size, size):
        place = row * stride + down * dilation, column * stride + across * dilation
        place = tuple(index - padding for index in place)
        if all(0 <= index < output for index in place):
            counts[place] += 1
    drawn = [int(text.get_text()) for text in ax.texts if text.get_text().isdigit()]
    assert [count for count in drawn if count] == [count for count in counts.flat if count]


def test_kernel_transposed():
    ax = viz.kernel(3, stride=2, input_size=3, transposed=True, position=(1, 1))
    assert len(cells(ax, TAP)) == 9
    texts = [text.get_text() for text in ax.texts]
    assert {"input ｜ 输入", "3×3", "output ｜ 输出", "7×7"} <= set(texts)
    assert texts.count("4") == 4


@pytest.mark.parametrize(
    "settings", [{"size": 9}, {"stride": 0}, {"padding": -1}, {"position": (3, 0)}]
)
def test_kernel_refuses_what_does_not_fit(settings):
    with pytest.raises(ValueError, match="does not fit|position"):
        viz.kernel(**settings)
