"""Networks that run in the page: the reader changes a picture and watches the answer change.

`live` writes a still picture of a network's answer and, hidden beside it, all that the script
``live.js`` of the book needs when its button is pressed: exact pixels, the truth, the controls. The
network itself is a file beside the pages, which the build makes from the weights in the package.
Where the script is not, as in Jupyter or on paper, the still picture stands alone. The HTML has no
ids and no script, and the same arguments give the same bytes.
"""

import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from segedu.viz.explorers import LIVE
from segedu.viz.grids import bilingual, color_key, pictures
from segedu.viz.live_frame import (
    MAX_SIDE,
    LiveFigure,
    Range,
    button,
    canvas,
    check,
    choices,
    controls,
    data_uri,
    frame,
    help_text,
    panel,
    parts,
    picture_choices,
    slider,
)
from segedu.viz.overlays import BINARY_COLORS, binary_errors, overlay, to_image

Color = tuple[int, int, int]


class Layer(NamedTuple):
    """An object that can be moved, and what the picture is without it."""

    mask: NDArray[np.bool_]  #: where the object is seen, (H, W)
    image: Any
    truth: NDArray


class Hounsfield(NamedTuple):
    """What the grey values of a CT mean, and the window in which a network is to see them."""

    low: float  #: HU of the grey value 0
    high: float  #: HU of 255
    level: float  #: HU in the middle of the window
    width: float  #: HU from black to white

    def grey(self, hu: Any) -> NDArray[np.uint8]:
        """HU as grey values 0..255; what lies outside is cut off."""
        share = (np.asarray(hu, np.float64) - self.low) / (self.high - self.low)
        return np.rint(255 * share.clip(0, 1)).astype(np.uint8)

    def seen(self, grey: NDArray) -> NDArray[np.float64]:
        """Grey values as the window has them; what lies outside of 0..255 is not cut off."""
        hu = self.low + (self.high - self.low) / 255 * grey
        return 255 * ((hu - self.level) / self.width + 0.5)


SLIDERS = {
    "brightness": Range("light ｜ 亮度", 0.1, 1.9, 0.05, 1),
    "hue": Range("hue ｜ 色相", -180, 180, 5, 0),
    "noise": Range("noise everywhere ｜ 全图噪声", 0, 60, 2, 0),
    "blur": Range("blur everywhere ｜ 全图模糊", 0, 4, 0.25, 0),
    "scale": Range("picture size ｜ 图片大小", 0.5, 2, 0.05, 1),
    "threshold": Range("threshold ｜ 阈值", 0.02, 0.98, 0.02, 0.5),
}
OUTSIDE = (124, 116, 104)  # what a small picture lies on: the mean of the networks' training
BRUSH = Range("brush size ｜ 画笔大小", 4, 40, 1, 18)  # across, in percent of the height
#: Brushes that are no pattern: they change what is there.
TOOLS = {
    "blur": "blur ｜ 模糊",
    "noise": "noise ｜ 噪声",
    "erase": "take paint away ｜ 擦去涂抹",
    "move": "move the {} ｜ 移动{}",
}
_NOTHING_MOVES = "nothing in this picture can be moved ｜ 这幅图片里没有可以移动的物体"
GREY = {"grey ｜ 灰色": np.full((8, 8, 3), 128, np.uint8)}

_PAINT = {
    False: "Paint here. Painted pixels do not count in the numbers. ｜ "
    "在这里涂抹。涂过的像素不计入数字。",
    True: "Paint here. Painted pixels count, too: their truth stays as it was. ｜ "
    "在这里涂抹。涂过的像素同样计入数字：它们的真值不变。",
}
_FIRST = "Draw here with mouse or finger ｜ 用鼠标或手指在这里画"
_MOVE = (
    "Drag what has the white outline. Paint stays where it is. ｜ "
    "拖动有白色轮廓的物体。涂抹的颜色留在原处。"
)
_MARKS = "dashed line: where the class changed ｜ 虚线：类别改变之处"
_NUMBERS = {
    "iou": "mean IoU ｜ 平均 IoU",
    "precision": "precision ｜ 精确率",
    "recall": "recall ｜ 召回率",
    "class-iou": "IoU",
    "changed": "pixels that changed class ｜ 类别改变的像素数",
}


def live(
    networks: Mapping[str, nn.Module],
    images: Mapping[str, Sequence[Any]],
    colors: Mapping[str, Color],
    *,
    brushes: Mapping[str, Any] = GREY,
    tools: Sequence[str] = (),
    sliders: Sequence[str] = (),
    target: int | None = None,
    window: Hounsfield | None = None,
    count_paint: bool = False,
) -> Any:
    """Return networks that answer in the page while the reader changes a picture.

    With the environment variable ``SEGEDU_LIVE=1`` it is a row of ipywidgets sliders over the first
    picture instead, which needs a running kernel and must not be stored.

    Args:
        networks: one or two semantic networks with weights of the package, as
            ``get_model("unet", weights="scenes")``, and their names, ``English ｜ 中文``.
        images: names, and of each an image as `segedu.viz.overlay` takes it, its truth, labels
            (H, W) with 255 for what is ignored, and, if an object can be moved, a `Layer`. Sides
            are multiples of 16 up to 256.
        colors: the classes' names, ``English ｜ 中文``, and colours, in the order of the labels.
        brushes: names and patterns (h, w, 3) to paint with, which are repeated.
        tools: some of ``"blur"`` and ``"noise"``, to paint with as well.
        sliders: some of `SLIDERS`.
        target: a class whose hits, false alarms and misses are drawn, where its probability
            reaches the ``"threshold"``; all classes if not given.
        window: of a CT: its images and brushes are ``window.grey(hu)``, and two more sliders move
            the window through which all is seen.
        count_paint: whether painted pixels count in the numbers, with the truth as it was: paint
            is then another look of the same thing. Else it hides the thing, and what is hidden
            has no truth.

    Raises:
        ValueError: if there is no network or more than two, they lack weights of the package or
            know other classes, images and truths do not fit, or a tool or slider is unknown.
    """
    _check(networks, images, colors, tools, sliders, target, window)
    palette = [*colors.values()]
    ranges = {name: SLIDERS[name] for name in sliders} | _window_ranges(window)
    if os.environ.get(LIVE, "0") not in ("", "0"):
        return _widget(networks, images, palette, ranges, target, window)
    name, (image, truth, *_) = next(iter(images.items()))
    image, truth = changed(to_image(image), np.asarray(truth), window=window)
    drawn = [_drawn(model, image, truth, palette, target) for model in networks.values()]
    truths = [np.asarray(truth) for _, truth, *_ in images.values()]
    legend = _legend(colors, target, truths, sliders)
    still = pictures([image, *drawn], [name, *networks], columns=2, legend=legend).html
    key = f'<div class="segedu-live-legend">{color_key(legend)}</div>'
    about = {
        "colors": palette,
        "errors": [*BINARY_COLORS.values()],
        "target": target,
        "outside": OUTSIDE,
        "countPaint": count_paint,
    }
    if window:
        about["hounsfield"] = [window.low, window.high]
    stage = "".join(
        (
            _panels(
                _picture(truth.shape, count_paint, [*images]),
                picture_choices(images)
                + _brushes(brushes, tools, _movable(images, [*colors]))
                + slider("size", BRUSH),
                _answers(networks, target, truth.shape, "" if target is None else key),
            ),
            controls(
                *(slider(name, about) for name, about in ranges.items()),
                check("marks", _MARKS) if target is None else "",
                button("reset", "as it was ｜ 恢复原样"),
            ),
            key if target is None else "",
            *(_parts(*picture) for picture in images.values()),
        )
    )
    return LiveFigure(frame("brush", about, still, stage), tuple(networks))


def _check(
    networks: Mapping[str, nn.Module],
    images: Mapping[str, Sequence[Any]],
    colors: Mapping[str, Color],
    tools: Sequence[str],
    sliders: Sequence[str],
    target: int | None,
    window: Hounsfield | None,
) -> None:
    if not 1 <= len(networks) <= 2:
        raise ValueError(f"networks must be one or two, got {len(networks)}")
    for name, model in networks.items():
        trained = getattr(model, "trained", None)
        if trained is None or not trained.mean:
            raise ValueError(
                f"networks: {name} has no weights of the package; "
                'use get_model("unet", weights="scenes")'
            )
        if trained.num_classes != len(colors):
            raise ValueError(
                f"colors must have one colour for each of the {trained.num_classes} classes of "
                f"{name}, got {len(colors)}"
            )
    if not images:
        raise ValueError("images is empty: there is nothing to show")
    for name, (image, truth, *_) in images.items():
        height, width = to_image(image).shape[:2]
        if np.shape(truth) != (height, width):
            raise ValueError(
                f"the truth of {name} must be {(height, width)}, got {np.shape(truth)}"
            )
        if height % 16 or width % 16 or max(height, width) > MAX_SIDE:
            raise ValueError(
                f"the sides of {name} must be multiples of 16 up to {MAX_SIDE}, got {height} and "
                f"{width}"
            )
    for what, given, known in (
        ("tools", tools, ("blur", "noise")),
        ("sliders", sliders, tuple(SLIDERS)),
    ):
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"{what} must be some of {', '.join(known)}; got {unknown[0]!r}")
    if window and not (window.low < window.high and window.width > 0):
        raise ValueError(f"window must have low < high and a width above 0, got {window}")
    if target is not None and not 0 <= target < len(colors):
        raise ValueError(f"target must be a class, 0..{len(colors) - 1}; got {target}")


# --- the network's answer -----------------------------------------------------------------------


@torch.no_grad()
def _probabilities(model: nn.Module, image: Any) -> torch.Tensor:
    """(C, H, W) of an image, by the mean and deviation that the weights want."""
    pixels = torch.from_numpy(to_image(image).copy()).permute(2, 0, 1)[None] / 255
    norm = model.trained.mean, model.trained.std
    mean, std = (torch.tensor(values)[:, None, None] for values in norm)
    return model.eval()((pixels - mean) / std)[0].softmax(0)


def _drawn(
    model: nn.Module,
    image: Any,
    truth: NDArray,
    palette: Sequence[Color],
    target: int | None,
    threshold: float = 0.5,
) -> NDArray[np.uint8]:
    """The picture of an answer."""
    probabilities = _probabilities(model, image)
    if target is None:
        return overlay(image, probabilities.argmax(0), palette)
    found, wanted = probabilities[target] >= threshold, np.asarray(truth)
    wanted = np.where(wanted == 255, 255, wanted == target)
    return binary_errors(image, found.int(), wanted)


# --- HTML ---------------------------------------------------------------------------------------


def _panels(picture: str, tools: str, answers: Sequence[str]) -> str:
    """The picture, what changes it, and the answers, so that all can be seen at once on a phone."""
    pair = " is-pair" if len(answers) == 2 else ""
    return (
        f'<div class="segedu-live-panels{pair}">{picture}'
        f'<div class="segedu-live-tools">{tools}</div>{"".join(answers)}</div>'
    )


def _picture(size: tuple[int, int], count_paint: bool, names: Sequence[str]) -> str:
    keys = (
        "a picture to paint on: arrow keys move the brush, space paints ｜ "
        "可以涂抹的图片：方向键移动画笔，空格键涂抹"
    )
    painted = f'data-panel="picture" tabindex="0" role="application" aria-label="{escape(keys)}"'
    texts = {"paint": _PAINT[count_paint], "move": _MOVE}
    # of several pictures the choice shows the name
    name = f'<div class="segedu-live-name">{bilingual(names[0])}</div>' if len(names) == 1 else ""
    return panel(size, painted, _FIRST, name + help_text(texts, "paint"))


def _answers(
    networks: Mapping[str, nn.Module], target: int | None, size: tuple[int, int], key: str
) -> list[str]:
    """A panel for each network; the few colours of a target are explained below it."""
    shown = ("iou", "changed") if target is None else ("precision", "recall", "class-iou")
    numbers = "".join(
        f'<span class="segedu-live-number"><span>{bilingual(_NUMBERS[key])}</span> '
        f'<b data-shows="{key}">–</b></span> '
        for key in shown
    )
    panels = []
    for name, model in networks.items():
        trained, drawn = model.trained, f'role="img" aria-label="{escape(name)}"'
        panels.append(
            f'<figure data-network="{trained.file}" data-sha256="{trained.sha256}" '
            f'data-norm="{escape(json.dumps([trained.mean, trained.std]))}">'
            f"{canvas(size, drawn)}<figcaption>{bilingual(name)} {numbers}{key}</figcaption>"
            "</figure>"
        )
    return panels


def _legend(
    colors: Mapping[str, Color],
    target: int | None,
    truths: Sequence[NDArray],
    sliders: Sequence[str],
) -> dict[str, Color]:
    """What the colours mean that can be seen."""
    if target is None:
        legend = dict(colors)
    else:
        *verdicts, ignored = BINARY_COLORS.items()
        legend = dict(zip(_verdicts([*colors][target]), dict(verdicts).values(), strict=True))
        if any((truth == 255).any() for truth in truths):
            legend |= [ignored]
    if "scale" in sliders:
        legend["outside the picture, not counted ｜ 图片之外，不计"] = OUTSIDE
    return legend


def _verdicts(name: str) -> list[str]:
    """Hit, false alarm and miss of a class in words."""
    english, chinese = _halves(name)
    return [
        f"hit: {english}, found ｜ 命中：找到的{chinese}",
        f"false alarm: called {english}, is not ｜ 误报：判为{chinese}，其实不是",
        f"miss: {english}, not found ｜ 漏报：没有找到的{chinese}",
    ]


def _halves(name: str) -> tuple[str, str]:
    """English and Chinese of a name, the same where there is only one."""
    english, *chinese = name.split(" ｜ ")
    return english, chinese[0] if chinese else english


def _movable(images: Mapping[str, Sequence[Any]], names: Sequence[str]) -> list[str]:
    """The classes of the objects that can be moved, each once, in the order of the images."""
    layers = [(truth, layer) for _, truth, *rest in images.values() for layer in rest]
    labels = [np.bincount(np.asarray(truth)[layer.mask]).argmax() for truth, layer in layers]
    return [names[label] for label in dict.fromkeys(labels)]


def _brushes(patterns: Mapping[str, Any], tools: Sequence[str], movable: Sequence[str]) -> str:
    """What one can paint with; the tools that are no pattern say so in their mark."""
    mark = '<img class="dark-light" alt="" data-pattern width="20" height="20" src="{}">'
    chips = {name: mark.format(data_uri(to_image(colors))) for name, colors in patterns.items()}
    for tool in (*tools, "erase"):
        chips[TOOLS[tool]] = f'<i data-tool="{tool}"></i>'
    if movable:
        english, chinese = ("/".join(names) for names in zip(*map(_halves, movable), strict=True))
        off = f'data-off="{escape(_NOTHING_MOVES)}"'
        chips[TOOLS["move"].format(english, chinese)] = f'<i data-tool="move" {off}></i>'
    return choices("brush", "brush ｜ 画笔", chips)


def _window_ranges(window: Hounsfield | None) -> dict[str, Range]:
    if window is None:
        return {}
    return {
        "level": Range("level, HU ｜ 窗位，HU", window.low, window.high, 10, window.level),
        "width": Range("width, HU ｜ 窗宽，HU", 50, window.high - window.low, 10, window.width),
    }


def _parts(image: Any, truth: NDArray, layer: Layer | None = None) -> str:
    """The exact pixels of a picture, hidden."""
    pixels = {"image": to_image(image), "truth": np.asarray(truth, np.uint8)}
    if layer is not None:
        pixels |= {
            "mask": np.asarray(layer.mask, np.uint8) * 255,
            "image-without": to_image(layer.image),
            "truth-without": np.asarray(layer.truth, np.uint8),
        }
    return parts(pixels)


# --- with a kernel ------------------------------------------------------------------------------


def _widget(
    networks: Mapping[str, nn.Module],
    images: Mapping[str, Sequence[Any]],
    palette: Sequence[Color],
    ranges: Mapping[str, Range],
    target: int | None,
    window: Hounsfield | None,
) -> Any:
    """Sliders over the first picture, drawn by PyTorch."""
    import ipywidgets
    from IPython.display import display

    name, (image, truth, *_) = next(iter(images.items()))

    def show(**values: Any) -> None:
        threshold = values.pop("threshold", 0.5)
        if window:
            values["window"] = window._replace(level=values.pop("level"), width=values.pop("width"))
        seen, wanted = changed(to_image(image), np.asarray(truth, np.uint8), **values)
        drawn = [
            _drawn(model, seen, wanted, palette, target, threshold) for model in networks.values()
        ]
        display(pictures([seen, *drawn], [name, *networks], columns=2))

    chosen = {
        key: ipywidgets.FloatSlider(
            value=about.start,
            min=about.low,
            max=about.high,
            step=about.step,
            description=about.name,
            continuous_update=False,
        )
        for key, about in ranges.items()
    }
    return ipywidgets.interactive(show, **chosen)


def changed(
    image: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    *,
    scale: float = 1,
    hue: float = 0,
    brightness: float = 1,
    blur: float = 0,
    noise: float = 0,
    window: Hounsfield | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image (H, W, 3) and its truth (H, W) as the sliders change them, in this order.

    Args:
        image: the image.
        truth: its labels.
        scale: enlarges about the centre; a small picture lies on `OUTSIDE`, whose label is 255.
        hue: degrees, added to the hue of every pixel.
        brightness: factor of all values.
        blur: standard deviation in pixels.
        noise: standard deviation in grey levels, drawn with one seed.
        window: through which a CT is seen, before all that but ``scale``.
    """
    rows, columns = (_places(side, scale) for side in truth.shape)
    outside = (rows < 0)[:, None] | (columns < 0)
    image = np.where(outside[..., None], np.uint8(OUTSIDE), image[np.ix_(rows, columns)])
    truth = np.where(outside, np.uint8(255), truth[np.ix_(rows, columns)])
    values = image.astype(np.float64)
    if window:
        values = window.seen(values).clip(0, 255)
    values = values @ _turn(hue).T * brightness
    if blur:
        from scipy import ndimage

        values = ndimage.gaussian_filter(values, (blur, blur, 0), mode="nearest")
    values += noise * np.random.default_rng(0).normal(size=values.shape)
    values[outside] = OUTSIDE
    return np.rint(values.clip(0, 255)).astype(np.uint8), truth


def _places(side: int, scale: float) -> NDArray[np.int64]:
    """Of each place along a side what is seen there, scaled about the middle; -1 for nothing."""
    place = np.floor((np.arange(side) + 0.5 - side / 2) / scale + side / 2).astype(int)
    return np.where((place < 0) | (place >= side), -1, place)


def _turn(degrees: float) -> NDArray[np.float64]:
    """The rotation (3, 3) about the axis of the greys."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    third = (1 - cosine) / 3
    return np.array(
        [
            [cosine + third, third - sine / 3**0.5, third + sine / 3**0.5],
            [third + sine / 3**0.5, cosine + third, third - sine / 3**0.5],
            [third - sine / 3**0.5, third + sine / 3**0.5, cosine + third],
        ]
    )
