"""Charts of many cases: distributions, boxes, cumulative shares, scatter plots.

Every function draws on the axes ``ax`` it is given, or on a new figure, and returns the axes.
Values that are not finite (a missed object has an infinite distance) are counted in the label.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from segedu.viz.fonts import COLOR_CYCLE, in_any_style

# Columns of the metrics' cases; other labels are drawn as they are given.
CASE_NAMES = {
    "hd": "Hausdorff distance ｜ 豪斯多夫距离",
    "hd95": "95 % Hausdorff distance ｜ 95% 豪斯多夫距离",
    "assd": "average symmetric surface distance ｜ 平均对称表面距离",
    "surface_dice": "surface Dice ｜ 表面 Dice",
}
LINE_STYLES = ("-", "--", ":")


@in_any_style
def distribution(
    values: ArrayLike, *, label: str = "", bins: int = 20, ax: Axes | None = None
) -> Axes:
    """Histogram of the values of all cases, with their median."""
    finite, label = _finite(values, _name(label))
    ax = ax or plt.subplots()[1]
    ax.hist(finite, bins=bins, color=COLOR_CYCLE[0])
    ax.axvline(np.median(finite), color=COLOR_CYCLE[1], label="median ｜ 中位数")
    ax.set(xlabel=label, ylabel="cases ｜ 例数")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    return ax


@in_any_style
def box_plot(groups: Mapping[str, ArrayLike], *, label: str = "", ax: Axes | None = None) -> Axes:
    """One box (quartiles, whiskers at 1.5 interquartile ranges) for each named group of values."""
    named = [_finite(values, name) for name, values in groups.items()]
    ax = ax or plt.subplots()[1]
    ax.boxplot(
        [v for v, _ in named],
        tick_labels=[n for _, n in named],
        orientation="horizontal",
        sym=".",
        medianprops={"color": COLOR_CYCLE[1], "linewidth": 2},
    )
    ax.invert_yaxis()
    ax.set_xlabel(_name(label))
    return ax


@in_any_style
def cumulative(groups: Mapping[str, ArrayLike], *, label: str = "", ax: Axes | None = None) -> Axes:
    """Share of the cases with at most each value; one line for each named group."""
    ax = ax or plt.subplots()[1]
    colors = len(COLOR_CYCLE)
    for i, (name, values) in enumerate(groups.items()):
        finite, name = _finite(values, name)
        share = np.arange(len(finite) + 1) / np.size(values)
        # More groups than colours go on with another line style.
        style = {"color": COLOR_CYCLE[i % colors], "ls": LINE_STYLES[i // colors % 3]}
        x = np.sort(finite)
        ax.step(np.append(x[0], x), share, where="post", label=name, **style)
    ax.set(xlabel=_name(label), ylabel="share of cases ｜ 例数占比", ylim=(0, 1.02))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


@in_any_style
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
    ax.set(xlabel=_name(labels[0]), ylabel=_name(labels[1]))
    return ax


def _name(label: str) -> str:
    return CASE_NAMES.get(label, label)


def _finite(values: ArrayLike, label: str) -> tuple[NDArray[np.float64], str]:
    """The finite values, and the label with the number of the others."""
    values = np.asarray(values, float).ravel()
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError(f"{label or 'values'} must hold a finite number, got {values.tolist()}")
    missing = values.size - finite.size
    return finite, f"{label} (+{missing} ∞)" if missing else label
