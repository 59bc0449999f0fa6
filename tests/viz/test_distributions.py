import numpy as np
import pytest

from segedu.viz import box_plot, cumulative, distribution, scatter
from segedu.viz.distributions import CASE_NAMES, LINE_STYLES
from segedu.viz.fonts import COLOR_CYCLE

GROUPS = {"liver": [1.0, 2.0, 4.0, np.inf], "aorta": [3.0, 3.0]}


def test_distribution_shows_every_finite_case_and_counts_the_others():
    ax = distribution(GROUPS["liver"], label="hd", bins=4)
    assert sum(bar.get_height() for bar in ax.patches) == 3
    assert ax.lines[0].get_xdata()[0] == 2  # the median
    assert ax.get_xlabel() == CASE_NAMES["hd"] + " (+1 ∞)"


def test_box_plot_is_in_the_order_given_from_the_top():
    ax = box_plot(GROUPS, label="mm")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["liver (+1 ∞)", "aorta"]
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "mm"


def test_cumulative_rises_from_nothing_to_the_share_of_the_finite():
    ax = cumulative(GROUPS)
    liver, aorta = ax.lines
    assert liver.get_xdata().tolist() == [1, 1, 2, 4]
    assert liver.get_ydata().tolist() == [0, 0.25, 0.5, 0.75]
    assert aorta.get_ydata().tolist() == [0, 0.5, 1]


def test_cumulative_lines_all_look_different():
    count = len(COLOR_CYCLE) * len(LINE_STYLES)
    ax = cumulative({str(i): [float(i)] for i in range(count)})
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == count


def test_scatter_leaves_out_what_is_not_finite():
    ax = scatter([1, 2, np.inf], [3, np.nan, 4], labels=("hd", "volume"))
    assert ax.collections[0].get_offsets().tolist() == [[1, 3]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == (CASE_NAMES["hd"], "volume")


def test_bad_input():
    with pytest.raises(ValueError, match="same length"):
        scatter([1], [1, 2])
    with pytest.raises(ValueError, match="Hausdorff distance .* must hold a finite number"):
        distribution([np.inf], label="hd")
    with pytest.raises(ValueError, match="aorta must hold a finite number"):
        cumulative({"aorta": []})
