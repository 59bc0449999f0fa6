"""Charts of many cases: distributions, boxes, cumulative shares, scatter plots.

Every function draws on the axes ``ax`` it is given, or on a new figure, and returns the axes.
Values that are not finite (a missed object has an infinite distance) are counted in the label.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from segedu.viz.fonts import COLOR_CYCLE


def distribution(values: ArrayLike, *, label: str = "", bins: int = 20, ax: Axes | None = None):
    """Histogram of the values of all cases, with their median."""
    finite, label = _finite(values, label)
    ax = ax or plt.subplots()[1]
    ax.hist(finite, bins=bins, color=COLOR_CYCLE[0])
    ax.axvline(np.median(finite), color=COLOR_CYCLE[1], label="median ｜ 中位数")
    ax.set(xlabel=label, ylabel="cases ｜ 例数")
    ax.legend()
    return ax


def boxes(groups: Mapping[str, ArrayLike], *, label: str = "", ax: Axes | None = None) -> Axes:
    """One box (quartiles, whiskers at 1.5 interquartile ranges) for each named group of values."""
    named = [_finite(values, name) for name, values in groups.items()]
    ax = ax or plt.subplots()[1]
    ax.boxplot([v for v, _ in named], tick_labels=[n for _, n in named], orientation="horizontal")
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return ax


def cumulative(groups: Mapping[str, ArrayLike], *, label: str = "", ax: Axes | None = None) -> Axes:
    """Share of the cases with at most each value; one line for each named group."""
    ax = ax or plt.subplots()[1]
    for name, values in groups.items():
        finite, name = _finite(values, name)
        share = np.arange(1, len(finite) + 1) / np.size(values)
        ax.step(np.sort(finite), share, where="post", label=name)
    ax.set(xlabel=label, ylabel="share of cases ｜ 例数占比", ylim=(0, 1.02))
    ax.legend()
    return ax


def scatter(
    x: ArrayLike, y: ArrayLike, *, labels: tuple[str, str] = ("", ""), ax: Axes | None = None
) -> Axes:
    """One point for each case: how two quantities go together."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape:
        raise ValueError(f"x and y must have the same length, got {x.shape} and {y.shape}")
    both = np.isfinite(x) & np.isfinite(y)
    ax = ax or plt.subplots()[1]
    ax.scatter(x[both], y[both], s=14, color=COLOR_CYCLE[0], alpha=0.7)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    return ax


def _finite(values: ArrayLike, label: str) -> tuple[NDArray[np.float64], str]:
    """The finite values, and the label with the number of the others."""
    values = np.asarray(values, float).ravel()
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError(f"{label or 'values'} must hold a finite number, got {values.tolist()}")
    missing = values.size - finite.size
    return finite, f"{label} (+{missing} ∞)" if missing else label
