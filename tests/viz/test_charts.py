import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgba

from segedu import viz
from segedu.viz.charts import _reach_counts

TAP, UNIT = to_rgba("#56B4E9"), to_rgba("#E69F00")
RECORDS = [
    {"epoch": 1, "loss": 2.0, "lr": 0.1, "seconds": 3.0},
    {"epoch": 2, "loss": 1.0, "lr": 0.1, "seconds": 3.0, "val_loss": 1.5, "val_mean_iou": 0.4},
]
layers = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


def test_learning_curves_draw_the_losses():
    ax = viz.learning_curves(SimpleNamespace(records=RECORDS))
    train, validation = ax.lines
    assert train.get_xydata().tolist() == [[1, 2.0], [2, 1.0]]
    assert validation.get_xydata().tolist() == [[2, 1.5]]
    assert train.get_label() == "training loss ｜ 训练损失"
    ax.figure.canvas.draw()


def test_learning_curves_of_a_score():
    ax = viz.learning_curves(RECORDS, ["val_mean_iou"])
    assert ax.lines[0].get_label() == "mean IoU ｜ 平均 IoU"


def test_learning_curves_name_what_is_missing():
    with pytest.raises(ValueError, match="no record has 'dice'"):
        viz.learning_curves(RECORDS, ["dice"])
    with pytest.raises(ValueError, match="no records"):
        viz.learning_curves([])


def test_live_curves_grow_in_one_place(monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(figure)

    def display(figure, display_id):
        shown.append(figure)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    draw = viz.live_curves()
    for record in RECORDS:
        draw(record)
    assert [len(figure.axes[0].lines[0].get_xdata()) for figure in shown] == [1, 2]
    assert not plt.get_fignums()  # nothing is left to be shown again


def test_benchmark_ratios_stand_left_and_right_of_one():
    rows = {
        "a": {"peer": "torchvision: a", "ratios": {"forward": 0.5, "peak_memory": 1.25}},
        "b": {"peer": "torchvision: b", "ratios": {"forward": 1.0, "peak_memory": 2.0}},
    }
    ax = viz.benchmark_ratios(rows)
    forward, memory, one = ax.lines
    assert forward.get_xdata().tolist() == [0.5, 1.0]
    assert memory.get_xdata().tolist() == [1.25, 2.0]
    assert one.get_xdata() == [1, 1]
    assert forward.get_label() == "prediction ｜ 预测"
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "a\ntorchvision: a",
        "b\ntorchvision: b",
    ]
    ax.figure.canvas.draw()
    with pytest.raises(ValueError, match="'b' has the ratios"):
        viz.benchmark_ratios({**rows, "b": {"ratios": {"forward": 1.0}}})
    with pytest.raises(ValueError, match="at least one model"):
        viz.benchmark_ratios({})


def test_confusion_matrix_normalised_by_row():
    ax = viz.confusion_matrix(torch.tensor([[3, 1], [0, 0]]), ["sky ｜ 天空", "road ｜ 道路"])
    shown = ax.images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(shown, [[0.75, 0.25], [np.nan, np.nan]])
    assert [text.get_text() for text in ax.texts] == ["75", "25"]
    ax.figure.canvas.draw()


def test_confusion_matrix_by_column_and_counts():
    counts = [[30, 10], [10, 0]]
    shown = viz.confusion_matrix(counts, ["a", "b"], normalize="pred").images[0].get_array()
    np.testing.assert_allclose(shown, [[0.75, 1.0], [0.25, 0.0]])
    ax = viz.confusion_matrix(counts, ["a", "b"], normalize=None)
    assert [text.get_text() for text in ax.texts] == ["30", "10", "10"]


def test_confusion_matrix_refuses_bad_arguments():
    with pytest.raises(ValueError, match="2 x 2"):
        viz.confusion_matrix(np.eye(3), ["a", "b"])
    with pytest.raises(ValueError, match="normalize"):
        viz.confusion_matrix(np.eye(2), ["a", "b"], normalize="all")


def test_class_bars_mark_absent_classes():
    ax = viz.class_bars({"one": [0.5, math.nan], "two": [0.25, 1.0]}, ["a ｜ 甲", "b ｜ 乙"])
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0, 0.25, 1.0]
    assert [text.get_text().strip() for text in ax.texts] == ["–"]
    with pytest.raises(ValueError, match="'one' must hold 2"):
        viz.class_bars({"one": [0.5]}, ["a", "b"])


def test_schedules():
    ax = viz.schedules({"poly": [0.3, 0.2, 0.1]})
    assert ax.lines[0].get_ydata().tolist() == [0.3, 0.2, 0.1]


@settings(deadline=None, max_examples=60)
@given(st.lists(layers, min_size=1, max_size=4))
def test_receptive_field_equals_what_gradients_say(stack):
    """All-ones kernels: the inputs with a gradient are the receptive field, nothing else."""
    *_, field = viz.receptive_fields(stack)
    assume(field.size + field.jump < 400)
    signal = torch.zeros(1, 1, field.size + field.jump, requires_grad=True)
    out = signal
    for kernel, stride, dilation in stack:
        out = F.conv1d(out, torch.ones(1, 1, kernel), stride=stride, dilation=dilation)
    ends = []
    for unit in (0, 1):
        (gradient,) = torch.autograd.grad(out[0, 0, unit], signal, retain_graph=True)
        reached = gradient[0, 0].nonzero()
        ends.append((reached.min().item(), reached.max().item()))
    (first, last), (following, _) = ends
    assert last - first + 1 == field.size
    assert following - first == field.jump
    assert (first + last) / 2 == field.start


def test_receptive_field_of_vgg16_as_published():
    """212 pixels after pool5 (Araujo et al. 2019, table 1), 404 after fc6 of FCN."""
    vgg16 = [layer for n in (2, 2, 3, 3, 3) for layer in [*[(3, 1, 1, 1)] * n, (2, 2)]]
    fields = viz.receptive_fields([*vgg16, (7,)])
    assert (fields[-2].size, fields[-2].jump) == (212, 32)
    assert fields[-1].size == 404


def test_receptive_field_counts_padding_in_the_centre():
    assert viz.receptive_fields([(3, 1, 1, 1)])[0].start == 0
    assert viz.receptive_fields([(3, 1, 1, 0)])[0].start == 1


@pytest.mark.parametrize("layer", [(0,), (3, 0), (3, 1, 0), (3, 1, 1, -1)])
def test_receptive_field_refuses_impossible_layers(layer):
    with pytest.raises(ValueError, match="layer 0"):
        viz.receptive_fields([layer])


@pytest.mark.parametrize("stack", [[(3,), (2, 2), (3,)], [(3,), (3, 1, 2), (3, 1, 4)], [(5, 3)]])
def test_receptive_field_drawing_fills_the_whole_field(stack):
    ax = viz.receptive_field(stack)
    nodes = [line for line in ax.lines if line.get_marker() == "o"]
    filled = [line for line in nodes if line.get_markerfacecolor() != "white"]
    bottom = sorted(line.get_xdata()[0] for line in filled if line.get_ydata()[0] == 0)
    size = viz.receptive_fields(stack)[-1].size
    assert bottom == [offset - (size - 1) / 2 for offset in range(size)]
    assert sum(line.get_ydata()[0] == len(stack) for line in filled) == 1
    ends = {(line.get_xdata()[1], line.get_ydata()[1]) for line in ax.lines if line not in nodes}
    assert {x for x, level in ends if level == 0} == set(bottom)  # lines end in filled inputs


def test_effective_size():
    point = np.zeros((9, 9))
    point[4, 4] = -3
    assert viz.effective_size(point) == 1
    block = np.zeros((3, 21, 21))
    block[:, 5:14, 5:14] = 1
    assert viz.effective_size(block, 1.0) == 9
    assert viz.effective_size(block, 0.5) == 7  # 49 of 81 pixels; 5 x 5 are less than half


def test_effective_receptive_field_draws_both_squares():
    gradient = np.zeros((3, 21, 21))
    gradient[:, 5:14, 5:14] = 1
    image = np.zeros((21, 21, 3), dtype=np.uint8)
    ax = viz.effective_receptive_field(gradient, 15, image=image)
    assert [patch.get_width() for patch in ax.patches] == [15, 9]
    middles = [patch.get_x() + patch.get_width() / 2 for patch in ax.patches]
    assert middles == pytest.approx([9, 9])
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
    assert [text.get_text() for text in ax.texts].count("0") == 6 * 6 - 4 * 4


@settings(deadline=None, max_examples=60)
@given(layers, st.integers(0, 2), st.integers(1, 5))
def test_reach_counts_equal_a_transposed_convolution(layer, padding, input_size):
    size, stride, dilation = layer
    ones = torch.ones(1, 1, input_size, input_size)
    output = (input_size - 1) * stride - 2 * padding + (size - 1) * dilation + 1
    assume(output >= 1)
    weight = torch.ones(1, 1, size, size)
    wanted = F.conv_transpose2d(ones, weight, stride=stride, padding=padding, dilation=dilation)
    counts = _reach_counts(size, stride, dilation, padding, input_size, output)
    np.testing.assert_array_equal(counts, wanted[0, 0].numpy())


def test_kernel_transposed():
    ax = viz.kernel(3, stride=2, input_size=3, transposed=True, position=(1, 1))
    assert len(cells(ax, TAP)) == 9
    texts = [text.get_text() for text in ax.texts]
    assert "output ｜ 输出\n7×7" in texts
    assert texts.count("4") == 4


@pytest.mark.parametrize(
    "settings", [{"size": 9}, {"stride": 0}, {"padding": -1}, {"position": (3, 0)}]
)
def test_kernel_refuses_what_does_not_fit(settings):
    with pytest.raises(ValueError, match="does not fit|position"):
        viz.kernel(**settings)


def test_charts_draw_into_given_axes():
    figure, (left, right) = plt.subplots(1, 2)
    assert viz.learning_curves(RECORDS, ax=left) is left
    assert viz.confusion_matrix(np.eye(2), ["a", "b"], ax=right) is right
    assert plt.get_fignums() == [figure.number]
