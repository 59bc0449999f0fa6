"""Charts of scores: confusion matrices, bars per class, ratios of a benchmark.

Every function draws on the axes ``ax`` it is given, or on a new figure, and returns the axes.
Labels are bilingual, ``English ｜ 中文``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from segedu.viz.fonts import COLOR_CYCLE, in_any_style
from segedu.viz.overlays import to_array

GRAY = "#9A9A9A"
RATIO_NAMES = {
    "forward": "prediction ｜ 预测",
    "training_step": "training step ｜ 训练一步",
    "peak_memory": "peak memory ｜ 峰值内存",
}


@in_any_style
def confusion_matrix(
    matrix: Any,
    names: Sequence[str],
    *,
    normalize: str | None = "true",
    ax: Axes | None = None,
) -> Axes:
    """Draw a confusion matrix whose rows are the true classes and columns the predicted ones.

    Args:
        matrix: counts (C, C), rows true, columns predicted.
        names: one text per class.
        normalize: ``"true"`` divides each row by its sum (the diagonal is recall), ``"pred"`` each
            column (the diagonal is precision), ``None`` shows counts.
        ax: where to draw.
    """
    counts = to_array(matrix).astype(float)
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"matrix must be {len(names)} x {len(names)}, got {counts.shape}")
    if normalize not in ("true", "pred", None):
        raise ValueError(f"normalize must be 'true', 'pred' or None, got {normalize!r}")
    shown = counts
    if normalize:
        sums = counts.sum(axis=1 if normalize == "true" else 0, keepdims=True)
        # A class that does not occur has no shares: its cells stay empty, not 0.
        shown = np.divide(counts, sums, out=np.full_like(counts, np.nan), where=sums > 0)
    side = 1.9 + 0.4 * len(names)
    ax = ax or plt.subplots(figsize=(min(7.0, side + 0.6), min(6.4, side)))[1]
    top = 1.0 if normalize else max(1.0, np.nanmax(shown))
    ax.set_facecolor("#EEEEEE")
    ax.imshow(shown, cmap="Blues", vmin=0, vmax=top)
    ticks = np.arange(len(names))
    ax.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(ticks, names)
    ax.set_xlabel("predicted ｜ 预测")
    ax.set_ylabel("true ｜ 真实")
    ax.spines[:].set_visible(False)
    for row, column in np.argwhere(np.isfinite(shown)):
        value = shown[row, column]
        text = f"{100 * value:.0f}" if normalize else f"{value:.3g}"
        color = "white" if value > 0.6 * top else "#111111"  # dark on any page
        if value > 0:
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    if normalize:
        unit = "row" if normalize == "true" else "column"
        ax.set_title(f"% of each {unit} ｜ 每{'行' if unit == 'row' else '列'}的百分比", fontsize=9)
    return ax


@in_any_style
def class_bars(
    values: Mapping[str, ArrayLike],
    names: Sequence[str],
    *,
    label: str = "IoU",
    ax: Axes | None = None,
) -> Axes:
    """Draw bars per class, one group of bars for each class and one colour for each series.

    Args:
        values: name of the series -> one number per class; NaN (absent class) is marked "–"
            and infinity "∞".
        names: one text per class.
        label: what the numbers are.
        ax: where to draw.
    """
    series = {name: to_array(row).astype(float) for name, row in values.items()}
    for name, row in series.items():
        if row.shape != (len(names),):
            raise ValueError(f"{name!r} must hold {len(names)} numbers, got shape {row.shape}")
    ax = ax or plt.subplots(figsize=(6.0, 0.9 + len(names) * (0.12 + 0.14 * len(series))))[1]
    thickness = 0.8 / len(series)
    for number, (name, row) in enumerate(series.items()):
        at = np.arange(len(names)) + (number - (len(series) - 1) / 2) * thickness
        finite = np.where(np.isfinite(row), row, 0)
        ax.barh(at, finite, thickness * 0.9, label=name, color=COLOR_CYCLE[number])
        for place in np.flatnonzero(~np.isfinite(row)):
            mark = "  –" if np.isnan(row[place]) else "  ∞"
            ax.text(0, at[place], mark, va="center", color=COLOR_CYCLE[number])
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    if len(series) > 1:
        ax.figure.legend(loc="outside upper center", ncols=len(series))
    return ax


@in_any_style
def benchmark_ratios(
    rows: Mapping[str, Mapping[str, Any]], *, reference: str = "peer", ax: Axes | None = None
) -> Axes:
    """Draw what each model needs relative to another implementation of it: left of 1 is less.

    Args:
        rows: the ``"models"`` of ``book/results/models.json``: name -> ``{"ratios": {measure:
            ratio}, reference: text}``, the text naming what it is compared with.
        reference: the key of that text.
        ax: where to draw.

    Raises:
        ValueError: if there are no rows, or the rows differ in what was measured.
    """
    if not rows:
        raise ValueError("rows must hold at least one model, got none")
    measures = list(next(iter(rows.values()))["ratios"])
    for name, row in rows.items():
        if list(row["ratios"]) != measures:
            raise ValueError(f"{name!r} has the ratios {list(row['ratios'])}, the first {measures}")
    ax = ax or plt.subplots(figsize=(6.4, 1.3 + 0.42 * len(rows)))[1]
    places = np.arange(len(rows))
    for number, measure in enumerate(measures):
        values = [row["ratios"][measure] for row in rows.values()]
        shift = 0.18 * (number - (len(measures) - 1) / 2)
        label, marker = RATIO_NAMES.get(measure, measure), "osD^v"[number % 5]
        color = COLOR_CYCLE[number % len(COLOR_CYCLE)]
        ax.plot(values, places + shift, marker, label=label, ms=5, color=color)
    ax.axvline(1, color=GRAY, lw=1, zorder=0)
    ax.set_yticks(places, [f"{name}\n{row.get(reference, '')}" for name, row in rows.items()])
    ax.tick_params(axis="y", labelsize=7.5, left=False)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("ours / theirs ｜ 本书实现 / 对照实现")
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.figure.legend(loc="outside upper center", ncols=len(measures))
    return ax
