"""Chinese labels show in any style, not in the book's alone."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from segedu import viz

NAMES = ["sky ｜ 天空", "road ｜ 道路"]
IMAGE = np.zeros((8, 8, 3), dtype=np.uint8)
MASKS = np.ones((1, 8, 8), dtype=bool)
CHARTS = {
    "learning_curves": lambda: viz.learning_curves([{"loss": 1.0, "val_dice": 0.5}]),
    "schedules": lambda: viz.schedules({"余弦": [1.0, 0.5]}),
    "confusion_matrix": lambda: viz.confusion_matrix(np.eye(2), NAMES),
    "class_bars": lambda: viz.class_bars({"甲": [1, 2], "乙": [2, 1]}, NAMES, label="$x$ ｜ 数"),
    "benchmark_ratios": lambda: viz.benchmark_ratios({"a": {"ratios": {"forward": 1.0}}}),
    "distribution": lambda: viz.distribution([1.0, 2.0], label="hd"),
    "box_plot": lambda: viz.box_plot({"肝": [1.0, 2.0]}, label="hd"),
    "cumulative": lambda: viz.cumulative({"肝": [1.0, 2.0]}),
    "scatter": lambda: viz.scatter([1.0], [2.0], labels=("hd", "hd95")),
    "receptive_field": lambda: viz.receptive_field([(3,), (2, 2)]),
    "effective_receptive_field": lambda: viz.effective_receptive_field(np.eye(9), 5),
    "kernel": lambda: viz.kernel(3),
    "show_row": lambda: viz.show_row([IMAGE], ["image ｜ 图像 $x$"]),
    "show_instances": lambda: viz.show_instances(IMAGE, MASKS, [[0, 0, 8, 8]], ["汽车"]),
    "legend": lambda: viz.legend(NAMES, [(0, 0, 0), (255, 0, 0)]),
}


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
def test_chinese_labels_show_in_the_default_style(draw):
    matplotlib.rcdefaults()
    draw()
    plt.gcf().canvas.draw()


@pytest.mark.filterwarnings("error:Glyph")
def test_chinese_labels_show_on_axes_of_the_default_style():
    matplotlib.rcdefaults()
    ax = plt.subplots()[1]
    plt.gcf().canvas.draw()
    viz.class_bars({"甲": [1, 2]}, NAMES, ax=ax).figure.canvas.draw()


def test_the_style_of_the_reader_stays():
    matplotlib.rcdefaults()
    ax = viz.learning_curves([{"loss": 1.0}])
    assert ax.get_xaxis().label.get_fontfamily()[0] == "sans-serif"
    assert matplotlib.rcParams["font.family"] == ["sans-serif"]
