from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from segedu import viz

RECORDS = [
    {"epoch": 1, "loss": 2.0, "lr": 0.1, "seconds": 3.0},
    {"epoch": 2, "loss": 1.0, "lr": 0.1, "seconds": 3.0, "val_loss": 1.5, "val_mean_iou": 0.4},
]


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


def test_schedules():
    ax = viz.schedules({"poly": [0.3, 0.2, 0.1]})
    assert ax.lines[0].get_ydata().tolist() == [0.3, 0.2, 0.1]


def test_learning_curves_of_several_trainings_have_a_colour_each():
    ax = viz.learning_curves({"a": RECORDS, "b": RECORDS}, ["loss", "val_loss"])
    assert [line.get_label() for line in ax.lines] == [
        "a: training loss ｜ a：训练损失",
        "a: validation loss ｜ a：验证损失",
        "b: training loss ｜ b：训练损失",
        "b: validation loss ｜ b：验证损失",
    ]
    assert len({line.get_color() for line in ax.lines}) == 2
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_names_of_trainings_and_quantities_join_in_each_language():
    ax = viz.learning_curves({"one ｜ 甲": RECORDS, "two ｜ 乙": RECORDS}, ["loss", "lr"])
    labels = [line.get_label() for line in ax.lines]
    assert labels[0] == "one: training loss ｜ 甲：训练损失"
    assert labels[-1] == "two: learning rate ｜ 乙：学习率"


def test_learning_curves_of_seeds_are_a_mean_in_a_band():
    seeds = [[{"loss": 1.0}, {"loss": 0.5}], [{"loss": 3.0}], [{"loss": 2.0}, {"loss": 1.5}]]
    ax = viz.learning_curves({"a": [SimpleNamespace(records=seed) for seed in seeds], "b": RECORDS})
    mean, single = ax.lines  # of the loss, which both have
    assert mean.get_ydata().tolist() == [2.0, 1.0]
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.5, 3.0)
    assert single.get_ydata().tolist() == [2.0, 1.0]


def test_learning_curves_draw_into_given_axes():
    figure, (left, _) = plt.subplots(1, 2)
    assert viz.learning_curves(RECORDS, ax=left) is left
    assert plt.get_fignums() == [figure.number]
