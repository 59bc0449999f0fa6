"""Drawings of convolutions: what a unit sees, and what one position of a kernel does.

Every function draws on the axes ``ax`` it is given, or on a new figure, and returns the axes.
Labels are bilingual, ``English ｜ 中文``.
"""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from segedu.ops.receptive_field import Layer, effective_field, receptive_fields
from segedu.viz.fonts import COLOR_CYCLE, in_any_style
from segedu.viz.overlays import to_array, to_image

BLUE, GRAY = COLOR_CYCLE[0], "#9A9A9A"


@in_any_style
def receptive_field(layers: Sequence[Sequence[int]], *, ax: Axes | None = None) -> Axes:
    """Draw, seen from the side, which inputs reach one unit through a stack of layers.

    The bottom row is the input, each row above it a layer; the unit on top and all that it
    depends on are filled, lines are the taps of the kernels.

    Args:
        layers: ``(kernel, stride, dilation, padding)`` from the input on, as for
            `segedu.ops.receptive_fields`.
        ax: where to draw.
    """
    fields = receptive_fields(layers)
    total, depth = fields[-1].size, len(layers)
    ax = ax or plt.subplots(figsize=(min(7.0, 1.9 + 0.21 * total), 0.9 + 0.55 * depth))[1]
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
    for layer, field in zip(layers, fields, strict=True):
        kernel, stride, dilation, _ = Layer(*layer)
        text = f"k = {kernel}, s = {stride}"
        labels.append(text + (f", d = {dilation}" if dilation > 1 else "") + f"  →  {field.size}")
    ax.set_yticks(range(depth + 1), labels)
    ax.set_ylim(-0.5, depth + 0.4)
    ax.set_xlim(-half - 0.3, half + 0.3)
    ax.set_xlabel(f"receptive field: {total} pixels ｜ 感受野：{total} 像素")
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    ax.tick_params(left=False)
    return ax


@in_any_style
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
    strength = np.abs(to_array(gradient).astype(float))
    effective = effective_field(torch.from_numpy(strength))
    if strength.ndim == 3:
        strength = strength.sum(axis=0)  # (C, H, W) -> (H, W)
    ax = ax or plt.subplots(figsize=(3.6, 3.6))[1]
    heat = plt.get_cmap("viridis")(strength / strength.max())
    if image is not None:
        faint = to_image(image) / 255
        heat[..., 3] = np.sqrt(strength / strength.max())
        ax.imshow(0.6 * faint + 0.4)
    ax.imshow(heat)
    for side, style, color in ((size, "-", "#E69F00"), (effective.size, "--", "#D55E00")):
        if side:
            corner = (effective.column - side / 2, effective.row - side / 2)
            square = Rectangle(corner, side, side, fill=False, ec=color, ls=style, lw=1.6)
            ax.add_patch(square)
    ax.set_axis_off()
    english, chinese = (f"theoretical {size}, ", f"理论 {size}，") if size else ("", "")
    used = effective.size
    ax.set_title(f"{english}effective {used} pixels ｜ {chinese}有效 {used} 像素", fontsize=9)
    return ax


@in_any_style
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
    if transposed:  # how many input units reach each output cell
        geometry = {"stride": stride, "dilation": dilation, "padding": padding}
        ones = torch.ones(1, 1, input_size, input_size), torch.ones(1, 1, size, size)
        reached = F.conv_transpose2d(*ones, **geometry)[0, 0].int().tolist()
    for place in np.ndindex(output_size, output_size):
        if transposed:
            outputs[place] = (tap if place in taps else plain, str(reached[place[0]][place[1]]))
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
    rim_text = f", padding {rim} ｜ {input_size}×{input_size}，填充 {rim}" if rim else ""
    _label(ax, wide / 2, "input ｜ 输入", f"{input_size}×{input_size}{rim_text}", scale=scale)
    middle = wide + gap + output_size / 2
    _label(ax, middle, "output ｜ 输出", f"{output_size}×{output_size}", scale=scale)
    ax.set_xlim(-0.2, width + 0.2)
    ax.set_ylim(-0.4 - 0.32 / scale, tall + 0.2)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _label(ax: Axes, x: float, *lines: str, scale: float) -> None:
    """Write centred lines below a grid, each by itself: an edition shows a half of each."""
    for number, line in enumerate(lines):
        below = -0.3 - 0.15 * number / scale
        ax.text(x, below, line, ha="center", va="top", fontsize=8.5)


def _grid(ax: Axes, left: float, bottom: float, cells: NDArray[np.object_]) -> None:
    """Draw a square of coloured cells whose upper left corner is at (left, bottom + n)."""
    count = len(cells)
    for row in range(count):
        for column in range(count):
            color, text = cells[row][column]
            corner = (left + column, bottom + count - 1 - row)
            ax.add_patch(Rectangle(corner, 1, 1, fc=color, ec="#555555", lw=0.8))
            if text:
                # On a colour the text stays dark on any page; on the page's own ground it follows.
                ink = "black" if color == to_rgba("white") else "#111111"
                middle = (corner[0] + 0.5, corner[1] + 0.5)
                ax.text(*middle, text, ha="center", va="center", fontsize=8, color=ink)
