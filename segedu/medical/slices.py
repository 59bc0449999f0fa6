"""Slices of a scan for a report: contours of truth and prediction, and where they differ.

Every picture says which slice of how many it shows, which way the patient lies and how long 1 cm
is. As radiologists are used to, the patient's right is on the left.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segedu.medical.preprocess import WINDOWS, window
from segedu.medical.volume import PLANES, Volume
from segedu.viz import overlay

TITLES = {
    "axial": ("axial, slice {} of {} from the feet", "横断面，自足侧起第 {} 层，共 {} 层"),
    "coronal": ("coronal, slice {} of {} from the front", "冠状面，自前向后第 {} 层，共 {} 层"),
    "sagittal": ("sagittal, slice {} of {} from the right", "矢状面，自右向左第 {} 层，共 {} 层"),
}
PLANE_NAMES = {
    "axial": "axial ｜ 横断面",
    "coronal": "coronal ｜ 冠状面",
    "sagittal": "sagittal ｜ 矢状面",
}
#: What a voxel of the map of errors may be, and its colour.
ERRORS = {
    "truth only ｜ 仅真值": (86, 180, 233),
    "prediction only ｜ 仅预测": (230, 159, 0),
    "another class ｜ 类别不同": (204, 121, 167),
}
OPPOSITE = dict(zip("LRPASI", "RLAPIS", strict=True))
_BARS = (100, 50, 20, 10, 5, 2, 1)  # lengths of the scale in mm
_ON_ANYTHING = [patheffects.withStroke(linewidth=2.5, foreground="black")]


class Shown(NamedTuple):
    """A slice and where it lies."""

    grey: np.ndarray  #: (rows, columns) in 0..1
    truth: np.ndarray  #: (rows, columns) labels
    found: np.ndarray  #: (rows, columns) labels
    size: tuple[float, float]  #: height and width in mm
    letters: tuple[str, str, str, str]  #: what lies left, right, above, below
    title: str


def grey_values(image: Volume, intensity: str) -> Volume:
    """Grey values in 0..1: the window of a CT, else between the 1st and the 99th percentile."""
    if intensity in WINDOWS:
        return window(image, intensity)
    low, high = np.percentile(image.array, (1, 99))
    return image.with_array(np.clip((image.array - low) / max(high - low, 1e-6), 0, 1))


def most_telling(plane: str, truth: Volume, found: Volume, lesions: Sequence[int]) -> int:
    """The slice with most lesions, or else most that is labelled, in truth and prediction."""
    both = np.stack([v.reorient(PLANES[plane]).array for v in (truth, found)])  # (2, S, rows, cols)
    wanted = [np.isin(both, lesions).sum((0, 2, 3)), (both > 0).sum((0, 2, 3))]
    return max(range(both.shape[1]), key=lambda k: (wanted[0][k], wanted[1][k]))


def cut(plane: str, index: int, grey: Volume, truth: Volume, found: Volume) -> Shown:
    """One slice of a scan and of its two masks, all on one grid.

    Args:
        plane: a key of ``PLANES``.
        index: as `Volume.view` counts.
        grey: values in 0..1.
        truth, found: labels.
    """
    turned = grey.reorient(PLANES[plane])
    _, height, width = np.multiply(turned.shape, turned.spacing)
    slices = (volume.view(plane, index)[0] for volume in (grey, truth, found))
    title = slice_title(plane, index, turned.shape[0])
    return Shown(*slices, (height, width), sides(plane), title)


def slice_title(plane: str, index: int, count: int) -> str:
    """Which slice of how many this is, counted from 1, ``English ｜ 中文``."""
    return " ｜ ".join(text.format(index + 1, count) for text in TITLES[plane])


def sides(plane: str) -> tuple[str, str, str, str]:
    """The letters of what lies left, right, above and below in a slice."""
    _, down, right = PLANES[plane]
    return OPPOSITE[right], right, OPPOSITE[down], down


def contours(shown: Shown, colors: Sequence[tuple[int, int, int]]) -> Figure:
    """The outlines of the truth (lines) and of the prediction (dashes) on one image.

    Args:
        shown: the slice.
        colors: of each class, the background included.
    """
    figure, axes = _begin(shown, np.repeat(shown.grey[..., None], 3, axis=2))
    rows, columns = shown.grey.shape
    height, width = shown.size
    places = (
        (np.arange(columns) + 0.5) * width / columns,
        (np.arange(rows) + 0.5) * height / rows,
    )
    for c, color in enumerate(colors[1:], start=1):
        for labels, style in ((shown.truth, "solid"), (shown.found, "dashed")):
            if min(rows, columns) > 1 and (labels == c).any():
                line = {"colors": [np.divide(color, 255)], "linestyles": style, "linewidths": 1.4}
                axes.contour(*places, labels == c, levels=[0.5], **line)
    return figure


def errors(shown: Shown) -> Figure:
    """The slice with every voxel coloured that truth and prediction do not agree on."""
    truth, found = shown.truth, shown.found
    kinds = np.select([truth == found, found == 0, truth == 0], [0, 1, 2], default=3)
    colors = [(0, 0, 0), *ERRORS.values()]
    grey = np.rint(255 * shown.grey).astype(np.uint8)
    figure, _ = _begin(
        shown, overlay(grey, kinds.astype(np.uint8), colors, 0.9, boundaries=False, hide=[0])
    )
    return figure


def _begin(shown: Shown, picture: np.ndarray) -> tuple[Figure, Axes]:
    """A picture in millimetres with letters, scale and title."""
    height, width = shown.size
    shape = (4.4, 0.5 + 4.2 * min(max(height / width, 0.3), 1.6))
    figure, axes = plt.subplots(figsize=shape, layout="constrained")
    axes.imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
    axes.set_title("\n".join(part.strip() for part in shown.title.split("｜")), fontsize=9)
    axes.set_axis_off()
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
    sides = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    how = {"color": "white", "path_effects": _ON_ANYTHING, "fontsize": 10}
    for letter, place, (across, along) in zip(shown.letters, places, sides, strict=True):
        axes.text(*place, letter, ha=across, va=along, transform=axes.transAxes, **how)
    length = next((bar for bar in _BARS if bar <= width / 3), width / 3)
    start, level = 0.04 * width, 0.95 * height
    for color, thickness in (("black", 5), ("white", 2)):
        axes.plot([start, start + length], [level, level], color=color, lw=thickness)
    axes.text(start, level - 0.02 * height, f"{length:g} mm", va="bottom", **how | {"fontsize": 8})
    return figure, axes
