import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from segedu import viz


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


def test_confusion_matrix_draws_into_given_axes():
    figure, (_, right) = plt.subplots(1, 2)
    assert viz.confusion_matrix(np.eye(2), ["a", "b"], ax=right) is right
    assert plt.get_fignums() == [figure.number]
