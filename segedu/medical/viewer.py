"""A viewer of slices: live in Jupyter; in the book and on paper a slider over chosen slices."""

import io
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segedu import viz
from segedu.medical.preprocess import WINDOWS, Window, named_window
from segedu.medical.slices import OPPOSITE, PLANE_NAMES, sides, slice_title
from segedu.medical.volume import PLANES, Volume
from segedu.viz.explorers import LIVE, Explorer
from segedu.viz.grids import color_key

if TYPE_CHECKING:
    import ipywidgets

_SESSIONS = ("JPY_SESSION_NAME", "COLAB_RELEASE_TAG")  # set where Jupyter or Colab shows a notebook
_CROSS = (240, 228, 66)
_OPACITY = 0.5  #: of the labels where it cannot be changed


def slice_viewer(
    volume: Volume,
    labels: Volume | None = None,
    *,
    window: str | Window = "soft_tissue",
    names: Sequence[str] = (),
    per_plane: int = 3,
    side: int = 240,
) -> "Explorer | ipywidgets.VBox":
    """Look through a scan in three planes, in true proportion, with its labels over it.

    In Jupyter and Colab, where ipywidgets is installed, it is live: a slider for each plane, lines
    where the other two planes lie, level and width of the window, and how strongly the labels are
    coloured. Elsewhere, and in a stored notebook, it is a slider (`segedu.viz.frames`) over a few
    slices of each plane. The environment variable ``SEGEDU_LIVE`` (0 or 1) overrules.

    Args:
        volume: the scan, in any orientation.
        labels: 0 for nothing, else whole numbers, on the grid of the scan.
        window: a name of `segedu.medical.preprocess.WINDOWS`, or level and width in the unit of the
            scan; both can be changed in the live viewer.
        names: of the labels 1, 2, ..., ``English ｜ 中文``, for the legend.
        per_plane: how many slices of each plane the slider holds that is not live, 1 to 4.
        side: width and height of a picture in pixels.

    Raises:
        ValueError: labels on another grid or not whole, names for other labels, a window that is
            not known or has no width, or a number out of its range.
    """
    if not 1 <= per_plane <= 4:
        raise ValueError(f"per_plane must be in 1..4, got {per_plane}")
    window = named_window(window)
    scene = _Scene(volume, labels, names, side)
    if _is_live():
        return _live(scene, window)
    pictures, captions = [], []
    for plane in PLANES:
        count = scene.count(plane)
        for k in range(per_plane):
            index = (k + 1) * count // (per_plane + 1)
            pictures.append(scene.draw(plane, index, window, _OPACITY))
            captions.append(slice_title(plane, index, count))
    middle = per_plane // 2
    return viz.frames(pictures, captions, "slice ｜ 切片", start=middle, legend=scene.legend)


def _is_live() -> bool:
    """Whether somebody looks: a notebook that is only executed, and stored, holds no widgets."""
    if LIVE in os.environ:
        return os.environ[LIVE] not in ("", "0")
    return any(name in os.environ for name in _SESSIONS) and bool(find_spec("ipywidgets"))


class _Scene:
    """A scan with labels, and how its slices are drawn."""

    def __init__(
        self, volume: Volume, labels: Volume | None, names: Sequence[str], side: int
    ) -> None:
        if labels is None:
            labels = volume.with_array(np.zeros(volume.shape, np.uint8))
        count = _count_labels(volume, labels)
        if len(names) not in (0, count):
            raise ValueError(f"names must name the labels 1 to {count}, got {len(names)} names")
        self.colors = [(0, 0, 0), *viz.instance_colors(count)]
        self.legend: Mapping[str, tuple[int, int, int]] = dict(
            zip(names, self.colors[1:], strict=False)
        )
        self.planes = {p: (volume.reorient(a), labels.reorient(a)) for p, a in PLANES.items()}
        self.low, self.high = float(volume.array.min()), float(volume.array.max())
        self.side = side
        # One scale for all planes.
        self.scale = side / max(np.multiply(volume.shape, volume.spacing))  # pixels per millimetre

    def count(self, plane: str) -> int:
        """Number of its slices."""
        return self.planes[plane][0].shape[0]

    def draw(
        self,
        plane: str,
        index: int,
        window: Window,
        opacity: float,
        others: Mapping[str, int] | None = None,
    ) -> np.ndarray:
        """A slice as uint8 (side, side, 3), seen as radiologists do.

        Args:
            plane, index: which slice.
            window: what becomes black and white.
            opacity: of the labels, 0 to 1.
            others: slices of other planes, where lines are drawn.
        """
        volume, labels = self.planes[plane]
        grey = Image.fromarray(np.uint8(np.rint(255 * window.scale(volume.array[index]))))
        mask = Image.fromarray(labels.array[index].astype(np.int32))
        height, width = np.multiply(volume.shape, volume.spacing)[1:] * self.scale
        size = max(1, round(width)), max(1, round(height))
        shown = np.asarray(grey.resize(size, Image.Resampling.BICUBIC))
        mask = np.asarray(mask.resize(size, Image.Resampling.NEAREST))
        shown = viz.overlay(
            shown, mask, self.colors, opacity, opacity > 0, hide=(0,), ignore_index=-1
        )
        picture = Image.new("RGB", (self.side, self.side))
        corner = (self.side - size[0]) // 2, (self.side - size[1]) // 2
        picture.paste(Image.fromarray(shown), corner)
        pen = ImageDraw.Draw(picture)
        for other, place in (others or {}).items():
            along, fraction = self._line(plane, other, place)
            at = corner[along] + fraction * size[along]
            ends = [(at, 0), (at, self.side)] if along == 0 else [(0, at), (self.side, at)]
            pen.line(ends, _CROSS)
        _letter(pen, sides(plane), self.side)
        return np.asarray(picture)

    def _line(self, plane: str, other: str, index: int) -> tuple[int, float]:
        """Where another plane lies: across (0) or down (1), and how far, 0 to 1."""
        _, down, right = PLANES[plane]
        normal = PLANES[other][0]
        fraction = (index + 0.5) / self.count(other)
        along = 0 if normal in (right, OPPOSITE[right]) else 1
        return along, fraction if normal in (down, right) else 1 - fraction


def _count_labels(volume: Volume, labels: Volume) -> int:
    """The largest label."""
    if not volume.same_grid(labels):
        raise ValueError(
            "labels must lie on the grid of the scan; segedu.medical.io.put_on brings them there"
        )
    low, high = labels.array.min(), labels.array.max()
    if low < 0 or not np.array_equal(labels.array, np.rint(labels.array)):
        raise ValueError(
            f"labels must be whole numbers from 0, got values from {low:g} to {high:g}"
        )
    return int(high)


def _letter(pen: ImageDraw.ImageDraw, letters: Sequence[str], side: int) -> None:
    """Write what lies left, right, above and below at the edges of a square picture."""
    font = ImageFont.load_default(side // 14)
    near, middle, far = side // 20, side // 2, side - side // 20
    places = ((near, middle), (far, middle), (middle, near), (middle, far))
    for letter, place in zip(letters, places, strict=True):
        pen.text(place, letter, "#fafafa", font, "mm", stroke_width=2, stroke_fill="#050505")


def _live(scene: _Scene, window: Window) -> "ipywidgets.VBox":
    """Widgets: three pictures, below them their sliders, then the window and the labels."""
    import ipywidgets

    look = {"style": {"description_width": "8.5em"}, "layout": {"width": f"{scene.side}px"}}
    lowest, highest = min(scene.low, window.low), max(scene.high, window.high)
    step = (highest - lowest) / 500
    ranges = {"level ｜ 窗位": (window.level, lowest, highest)}
    ranges |= {"width ｜ 窗宽": (window.width, step, highest - lowest)}
    level, width = (
        ipywidgets.FloatSlider(value, min=low, max=high, step=step, description=name, **look)
        for name, (value, low, high) in ranges.items()
    )
    presets = {"as given ｜ 默认": window, **WINDOWS}
    preset = ipywidgets.Dropdown(options=presets, description="window ｜ 窗", **look)
    opacity = ipywidgets.FloatSlider(
        _OPACITY, min=0, max=1, step=0.05, description="labels ｜ 标签", **look
    )
    pictures = {plane: ipywidgets.Image(format="png", width=scene.side) for plane in PLANES}
    places = {}
    for plane in PLANES:
        last = scene.count(plane) - 1
        places[plane] = ipywidgets.IntSlider(
            last // 2, 0, last, description=PLANE_NAMES[plane], **look
        )

    def draw(_: object = None) -> None:
        at = {plane: slider.value for plane, slider in places.items()}
        shown = Window(level.value, width.value)
        for plane, picture in pictures.items():
            others = {other: place for other, place in at.items() if other != plane}
            drawn = scene.draw(plane, at[plane], shown, opacity.value, others)
            picture.value = _png(drawn)

    def choose(change: dict) -> None:
        level.value, width.value = change["new"]

    preset.observe(choose, "value")
    for slider in (*places.values(), level, width, opacity):
        slider.observe(draw, "value")
    draw()
    columns = [ipywidgets.VBox([pictures[plane], places[plane]]) for plane in PLANES]
    wrap = ipywidgets.Layout(flex_flow="row wrap")
    controls = [preset, level, width, opacity]
    parts = [ipywidgets.HBox(columns, layout=wrap), ipywidgets.HBox(controls, layout=wrap)]
    if scene.legend:
        parts.append(ipywidgets.HTML(color_key(scene.legend)))
    return ipywidgets.VBox(parts)


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
