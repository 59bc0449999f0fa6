"""Charts: learning curves, confusion matrices, bars per class, schedules, receptive fields.

Every function draws on the axes ``ax`` it is given, or on a new figure, and returns the axes.
Labels are bilingual, ``English ｜ 中文``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from segedu.viz.fonts import COLOR_CYCLE
from segedu.viz.overlays import to_array, to_image

BLUE, RED, GREEN = COLOR_CYCLE[:3]
GRAY = "#9A9A9A"

RECORD_NAMES = {
    "loss": "training loss ｜ 训练损失",
    "train_loss": "training loss ｜ 训练损失",
    "val_loss": "validation loss ｜ 验证损失",
    "mean_iou": "mean IoU ｜ 平均 IoU",
    "pixel_accuracy": "pixel accuracy ｜ 像素准确率",
    "mean_accuracy": "mean accuracy ｜ 平均准确率",
    "frequency_weighted_iou": "frequency-weighted IoU ｜ 频率加权 IoU",
    "dice": "Dice ｜ Dice 系数",
    "lr": "learning rate ｜ 学习率",
}
RATIO_NAMES = {
    "forward": "prediction ｜ 预测",
    "training_step": "training step ｜ 训练一步",
    "peak_memory": "peak memory ｜ 峰值内存",
}


def learning_curves(
    history: Any, keys: Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw quantities of the training records over the epochs.

    Args:
        history: records as ``segedu.engine.fit`` returns them: a list of dicts, or an object
            whose ``records`` is one. The horizontal axis is ``record["epoch"]``, else 1, 2, ….
        keys: which quantities; every key that ends in ``loss`` if not given.
        ax: where to draw.

    Raises:
        ValueError: if there are no records, or none of them has one of the ``keys``.
    """
    records = list(getattr(history, "records", history))
    if not records:
        raise ValueError("history holds no records")
    if keys is None:
        found = dict.fromkeys(key for record in records for key in record)
        keys = [key for key in found if key.endswith("loss")]
    ax = ax or plt.subplots(figsize=(5.0, 3.0))[1]
    for key in keys:
        points = [
            (record.get("epoch", number), float(record[key]))
            for number, record in enumerate(records, start=1)
            if record.get(key) is not None
        ]
        if not points:
            raise ValueError(f"no record has {key!r}; there are {sorted(records[0])}")
        label = RECORD_NAMES.get(key) or RECORD_NAMES.get(key.removeprefix("val_"), key)
        ax.plot(
            *zip(*points, strict=True), label=label, marker="o" if len(points) < 30 else "", ms=3
        )
    ax.set_xlabel("epoch ｜ 轮次")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y")
    ax.legend()
    return ax


def live_curves(keys: Sequence[str] | None = None) -> Callable[[Mapping[str, Any]], None]:
    """Learning curves in a notebook that grow while the training runs.

    Args:
        keys: which quantities, as for `learning_curves`.

    Returns:
        A function for ``on_epoch`` of a training: with the record of each epoch it draws the curves
        anew, in the place where it drew them first.

    Raises:
        ModuleNotFoundError: if IPython is not installed: there is no notebook.
    """
    from IPython.display import display

    records: list[Mapping[str, Any]] = []
    handle = None

    def draw(record: Mapping[str, Any]) -> None:
        nonlocal handle
        records.append(record)
        figure = learning_curves(records, keys).figure
        plt.close(figure)  # or the notebook shows it once more below the cell
        if handle is None:
            handle = display(figure, display_id=True)  # outside of a notebook it stays None
        else:
            handle.update(figure)

    return draw


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
        color = "white" if value > 0.6 * top else "black"
        if value > 0:
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    if normalize:
        unit = "row" if normalize == "true" else "column"
        ax.set_title(f"% of each {unit} ｜ 每{'行' if unit == 'row' else '列'}的百分比", fontsize=9)
    return ax


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


def schedules(curves: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Draw learning-rate schedules, one line each.

    Args:
        curves: name of the schedule -> the learning rate at each step.
        ax: where to draw.

    Raises:
        ValueError: if there are no curves.
    """
    if not curves:
        raise ValueError("curves must hold at least one schedule, got none")
    ax = ax or plt.subplots(figsize=(5.0, 2.8))[1]
    for name, rates in curves.items():
        ax.plot(rates, label=name)
    ax.set_xlabel("step ｜ 步")
    ax.set_ylabel("learning rate ｜ 学习率")
    ax.set_ylim(bottom=0)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    ax.grid(axis="y")
    ax.legend()
    return ax


class Layer(NamedTuple):
    """What of a convolution or pooling matters for its receptive field."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: int = 0


class ReceptiveField(NamedTuple):
    """Receptive field of a unit after a stack of layers, in pixels of the input.

    ``size`` is its width, ``jump`` the distance between the fields of two neighbours, ``start``
    the centre of the first unit's field (pixel 0 has its centre at 0).
    """

    size: int
    jump: int
    start: float


def receptive_fields(layers: Sequence[Sequence[int]]) -> list[ReceptiveField]:
    """Compute the theoretical receptive field after each layer.

    With kernel k, stride s, dilation d and padding p, size r, jump j and start c become
    ``r + (k - 1) d j``, ``j s`` and ``c + ((k - 1) d / 2 - p) j`` (Araujo, Norris and Sim 2019,
    "Computing receptive fields of convolutional neural networks", equations 1 to 4).

    Args:
        layers: ``(kernel, stride, dilation, padding)`` from the input on; the last ones may be
            left out (stride 1, dilation 1, padding 0).

    Raises:
        ValueError: if there are no layers, or one has a number out of range.
    """
    if not layers:
        raise ValueError("layers must hold at least one layer, got none")
    fields = []
    size, jump, start = 1, 1, 0.0
    for number, values in enumerate(layers):
        kernel, stride, dilation, padding = Layer(*values)
        if min(kernel, stride, dilation) < 1 or padding < 0:
            raise ValueError(
                f"layer {number} must have kernel, stride, dilation >= 1 and padding >= 0, "
                f"got {tuple(values)}"
            )
        start += ((kernel - 1) * dilation / 2 - padding) * jump
        size += (kernel - 1) * dilation * jump
        jump *= stride
        fields.append(ReceptiveField(size, jump, start))
    return fields


def receptive_field(layers: Sequence[Sequence[int]], *, ax: Axes | None = None) -> Axes:
    """Draw, seen from the side, which inputs reach one unit through a stack of layers.

    The bottom row is the input, each row above it a layer; the unit on top and all that it
    depends on are filled, lines are the taps of the kernels.

    Args:
        layers: ``(kernel, stride, dilation, padding)`` from the input on, as for
            :func:`receptive_fields`.
        ax: where to draw.
    """
    fields = receptive_fields(layers)
    total, depth = fields[-1].size, len(layers)
    ax = ax or plt.subplots(figsize=(min(7.0, 1.8 + 0.36 * total), 0.9 + 0.72 * depth))[1]
    # Units are numbered relative to the chosen one: walk down from it through the taps.
    active = {0}
    step, centre = fields[-1].jump, 0.0
    half = total / 2
    for level in range(depth, -1, -1):
        leftmost = math.ceil((-half - centre) / step)
        for unit in range(leftmost, math.floor((half - centre) / step) + 1):
            edge, face = (BLUE, BLUE) if unit in active else (GRAY, "white")
            ax.plot(centre + unit * step, level, "o", ms=8, mec=edge, mfc=face)
        if level == 0:
            break
        kernel, stride, dilation, _ = Layer(*layers[level - 1])
        below = step // stride
        # The taps lie around the unit; an even kernel has its middle between two units below.
        offsets = [tap * dilation for tap in range(kernel)]
        lowest = centre - (kernel - 1) * dilation / 2 * below
        taps = {unit: [unit * stride + offset for offset in offsets] for unit in active}
        for unit, units in taps.items():
            for target in units:
                xs = (centre + unit * step, lowest + target * below)
                ax.plot(xs, (level, level - 1), color=BLUE, lw=0.7, alpha=0.5, zorder=0)
        active = {target for units in taps.values() for target in units}
        centre, step = lowest, below
    labels = ["input ｜ 输入"]
    for number, (layer, field) in enumerate(zip(layers, fields, strict=True), start=1):
        kernel, stride, dilation, _ = Layer(*layer)
        text = f"{number}: $k$={kernel}, $s$={stride}"
        labels.append(text + (f", $d$={dilation}" if dilation > 1 else "") + f"  →  {field.size}")
    ax.set_yticks(range(depth + 1), labels)
    ax.set_ylim(-0.5, depth + 0.4)
    ax.set_xlim(-half - 0.3, half + 0.3)
    ax.set_xlabel(f"receptive field: {total} pixels ｜ 感受野：{total} 像素")
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    ax.tick_params(left=False)
    return ax


def effective_receptive_field(
    gradient: Any, size: int | None = None, *, image: Any | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how much each input pixel really moves one output unit.

    Draws the magnitude of the gradient, the theoretical field as a solid square, and as a dashed
    square the smallest centred one that holds 95 % of the gradient's magnitude (Luo et al. 2016,
    "Understanding the effective receptive field", show that it is far smaller).

    Args:
        gradient: gradient of one output unit with respect to the input, (H, W) or (C, H, W).
        size: side of the theoretical field in pixels; square not drawn if not given.
        image: the input, shown faintly below the gradient.
        ax: where to draw.
    """
    strength = _strength(gradient)
    ax = ax or plt.subplots(figsize=(3.6, 3.6))[1]
    heat = plt.get_cmap("viridis")(strength / strength.max())
    if image is not None:
        faint = to_image(image) / 255
        heat[..., 3] = np.sqrt(strength / strength.max())
        ax.imshow(0.6 * faint + 0.4)
    ax.imshow(heat)
    effective, middle = effective_size(strength), _centre(strength)
    for side, style, color in ((size, "-", "#E69F00"), (effective, "--", "#D55E00")):
        if side:
            corner = (middle[1] - side / 2, middle[0] - side / 2)
            square = Rectangle(corner, side, side, fill=False, ec=color, ls=style, lw=1.6)
            ax.add_patch(square)
    ax.set_axis_off()
    lines = [f"theoretical ｜ 理论：{size}"] if size else []
    ax.set_title("\n".join([*lines, f"effective (95 %) ｜ 有效：{effective}"]), fontsize=9)
    return ax


def effective_size(gradient: Any, share: float = 0.95) -> int:
    """Return the side of the smallest square around the gradient's centre that holds ``share``.

    Args:
        gradient: gradient or its magnitude, (H, W) or (C, H, W).
        share: part of the total magnitude, 0..1.

    Raises:
        ValueError: if the gradient has another shape or is all 0, or ``share`` is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in 0..1 and not be 0, got {share}")
    strength = _strength(gradient)
    rows, columns = np.indices(strength.shape)
    middle = _centre(strength)
    distance = np.maximum(np.abs(rows - middle[0]), np.abs(columns - middle[1])).ravel()
    order = distance.argsort()
    radius = distance[order][np.searchsorted(strength.ravel()[order].cumsum(), share)]
    return int(2 * round(radius) + 1)


def _strength(gradient: Any) -> NDArray[np.float64]:
    """Share of each pixel (H, W) in the total magnitude of a gradient (H, W) or (C, H, W)."""
    strength = np.abs(to_array(gradient).astype(float))
    if strength.ndim == 3:
        strength = strength.sum(axis=0)  # (C, H, W) -> (H, W)
    if strength.ndim != 2 or not strength.any():
        raise ValueError("gradient must be (H, W) or (C, H, W) and not all 0")
    return strength / strength.sum()


def _centre(strength: NDArray[np.float64]) -> tuple[float, float]:
    rows, columns = np.indices(strength.shape)
    return float((rows * strength).sum()), float((columns * strength).sum())


def _grid(ax: Axes, left: float, bottom: float, cells: NDArray[np.object_]) -> None:
    """Draw a square of coloured cells whose upper left corner is at (left, bottom + n)."""
    count = len(cells)
    for row in range(count):
        for column in range(count):
            color, text = cells[row][column]
            corner = (left + column, bottom + count - 1 - row)
            ax.add_patch(Rectangle(corner, 1, 1, fc=color, ec="#555555", lw=0.8))
            if text:
                ax.text(
                    corner[0] + 0.5, corner[1] + 0.5, text, ha="center", va="center", fontsize=8
                )


def kernel(
    size: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: int = 0,
    input_size: int = 5,
    transposed: bool = False,
    position: tuple[int, int] = (0, 0),
    ax: Axes | None = None,
) -> Axes:
    """Draw one position of a (transposed, dilated) convolution: input left, output right.

    A convolution gathers: the taps of ``size`` x ``size`` at ``position`` of the output are marked
    in the input, whose white rim of zeros is the padding. A transposed convolution scatters: the
    unit at ``position`` of the input is spread over its square in the output, where each cell says
    how many input units reach it (uneven numbers are the cause of checkerboard patterns).

    Args:
        size: side of the kernel.
        stride: step in the input (convolution) or in the output (transposed).
        dilation: distance of the taps.
        padding: rim added to the input (convolution) or cut from the output (transposed).
        input_size: side of the input.
        transposed: whether the convolution is transposed.
        position: row and column of the marked unit: of the output, or if transposed of the input.
        ax: where to draw.

    Raises:
        ValueError: if the kernel does not fit or ``position`` lies outside.
    """
    reach = (size - 1) * dilation
    if transposed:
        output_size = (input_size - 1) * stride - 2 * padding + reach + 1
    else:
        output_size = (input_size + 2 * padding - reach - 1) // max(stride, 1) + 1
    if min(size, stride, dilation, input_size) < 1 or padding < 0 or output_size < 1:
        raise ValueError(
            f"a kernel of size {size}, dilation {dilation}, stride {stride} and padding {padding} "
            f"does not fit an input of size {input_size}"
        )
    units = input_size if transposed else output_size
    if not all(0 <= place < units for place in position):
        raise ValueError(f"position must lie in 0..{units - 1}, got {position}")

    # Cells touched at ``position``, on the side that has the kernel's square.
    taps = [
        (
            position[0] * stride + row * dilation - padding,
            position[1] * stride + column * dilation - padding,
        )
        for row in range(size)
        for column in range(size)
    ]
    plain, tap, unit = to_rgba("#F2F2F2"), to_rgba("#56B4E9"), to_rgba("#E69F00")
    rim = 0 if transposed else padding
    wide = input_size + 2 * rim
    inputs = np.empty((wide, wide), dtype=object)
    outputs = np.empty((output_size, output_size), dtype=object)
    for row, column in np.ndindex(wide, wide):
        place = (row - rim, column - rim)
        inside = all(0 <= index < input_size for index in place)
        color = plain if inside else to_rgba("white")
        if (place == tuple(position)) if transposed else (place in taps):
            color = unit if transposed else tap
        inputs[row, column] = (color, "" if inside else "0")
    reached = _reach_counts(size, stride, dilation, padding, input_size, output_size)
    for place in np.ndindex(output_size, output_size):
        if transposed:
            outputs[place] = (tap if place in taps else plain, str(reached[place]))
        else:
            outputs[place] = (unit if place == tuple(position) else plain, "")

    gap = 1.6
    width = wide + gap + output_size
    tall = max(wide, output_size)
    scale = min(0.34, 6.6 / width)
    ax = ax or plt.subplots(figsize=(width * scale + 0.3, tall * scale + 0.6))[1]
    _grid(ax, 0, (tall - wide) / 2, inputs)
    _grid(ax, wide + gap, (tall - output_size) / 2, outputs)
    arrow = {"arrowstyle": "->", "lw": 1.2}
    ax.annotate("", (wide + gap - 0.25, tall / 2), (wide + 0.25, tall / 2), arrowprops=arrow)
    ax.text(
        wide / 2,
        -0.3,
        f"input ｜ 输入\n{input_size}×{input_size}",
        ha="center",
        va="top",
        fontsize=8.5,
    )
    ax.text(
        wide + gap + output_size / 2,
        -0.3,
        f"output ｜ 输出\n{output_size}×{output_size}",
        ha="center",
        va="top",
        fontsize=8.5,
    )
    ax.set_xlim(-0.2, width + 0.2)
    ax.set_ylim(-0.4 - 0.32 / scale, tall + 0.2)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _reach_counts(
    size: int, stride: int, dilation: int, padding: int, input_size: int, output_size: int
) -> NDArray[np.int64]:
    """How many input units reach each output cell of a transposed convolution, (O, O)."""
    line = np.zeros(output_size, dtype=np.int64)
    for start in range(input_size):
        for step in range(size):
            place = start * stride + step * dilation - padding
            if 0 <= place < output_size:
                line[place] += 1
    return np.outer(line, line)
