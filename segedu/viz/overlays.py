"""Label maps, instances and panoptic maps drawn in colour over their images.

Images come in as arrays (H, W, 3) or (H, W), or as tensors (3, H, W) or (H, W), with values
0..255 (integers) or 0..1 (floats). Colours are ``(red, green, blue)`` triples of 0..255, one per
class in the order of the class indices.
"""

import colorsys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike, NDArray

from segedu.languages import BAR
from segedu.viz.fonts import in_any_style

Image = NDArray[np.uint8]
IGNORE_INDEX = 255
IGNORE_COLOR = (128, 128, 128)
BINARY_COLORS = {
    "hit ｜ 命中": (0, 158, 115),
    "false alarm ｜ 误报": (255, 150, 0),
    "miss ｜ 漏报": (0, 60, 255),
    "ignored ｜ 忽略": IGNORE_COLOR,
}
ERROR_COLORS = {
    "right ｜ 正确": (206, 224, 240),
    "wrong ｜ 错误": (213, 94, 0),
    "ignored ｜ 忽略": IGNORE_COLOR,
}


def to_array(values: Any) -> NDArray:
    """Return ``values`` (array, nested lists, or tensor on any device) as a numpy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def to_image(image: Any) -> Image:
    """Return an image as an uint8 array (H, W, 3).

    Raises:
        ValueError: if the shape is not that of an image or floats lie outside 0..1.
    """
    array = to_array(image)
    if hasattr(image, "detach") and array.ndim == 3:
        array = array.transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise ValueError(
            "image must be an array (H, W), (H, W, 3) or a tensor (H, W), (1, H, W), (3, H, W); "
            f"got shape {tuple(to_array(image).shape)}"
        )
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        if array.size and not (array.min() >= -1e-3 and array.max() <= 1 + 1e-3):
            raise ValueError(
                f"a float image must lie in 0..1; got {array.min():.3g}..{array.max():.3g} "
                "(undo the normalisation first: segedu.data.transforms.denormalize)"
            )
        array = np.rint(array.clip(0, 1) * 255)
    return np.broadcast_to(array, (*array.shape[:2], 3)).astype(np.uint8)


def _palette(colors: ArrayLike) -> Image:
    palette = np.asarray(colors)
    if palette.ndim != 2 or palette.shape[1] != 3 or palette.min() < 0 or palette.max() > 255:
        raise ValueError("colors must be (red, green, blue) triples of 0..255, one per class")
    return palette.astype(np.uint8)


def _labels(mask: Any) -> NDArray:
    labels = to_array(mask)
    if labels.ndim != 2:
        raise ValueError(f"mask must have shape (H, W), got {labels.shape}")
    return labels.astype(np.int64)


def colorize(
    mask: Any,
    colors: ArrayLike,
    *,
    ignore_index: int = IGNORE_INDEX,
    ignore_color: tuple[int, int, int] = IGNORE_COLOR,
) -> Image:
    """Return a label map (H, W) as a colour image (H, W, 3), ignored pixels in neutral grey.

    Raises:
        ValueError: if a label has no colour.
    """
    labels, palette = _labels(mask), _palette(colors)
    ignored = labels == ignore_index
    bad = np.unique(labels[~ignored & ((labels < 0) | (labels >= len(palette)))])
    if bad.size:
        raise ValueError(
            f"mask holds the labels {bad[:8].tolist()}, but there are colors for "
            f"0..{len(palette) - 1} and {ignore_index} (ignored) alone"
        )
    image = palette[np.where(ignored, 0, labels)]  # (H, W) -> (H, W, 3)
    image[ignored] = ignore_color
    return image


def _outline(labels: NDArray) -> NDArray[np.bool_]:
    """Pixels (H, W) that have a neighbour right or below, left or above with another label."""
    edges = np.zeros(labels.shape, dtype=bool)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def _blend(
    image: Any, colored: Image, labels: NDArray, alpha: float, boundaries: bool, shown: NDArray
) -> Image:
    base = to_image(image)
    if base.shape != colored.shape:
        raise ValueError(
            f"image and mask must agree in size, got {base.shape[:2]} and {colored.shape[:2]}"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in 0..1, got {alpha}")
    weight = np.full(labels.shape, alpha)
    if boundaries:
        weight[_outline(labels)] = 1
    weight = (weight * shown)[..., None]  # (H, W, 1)
    return np.rint((1 - weight) * base + weight * colored).astype(np.uint8)


def overlay(
    image: Any,
    mask: Any,
    colors: ArrayLike,
    alpha: float = 0.5,
    boundaries: bool = True,
    *,
    hide: Collection[int] = (),
    ignore_index: int = IGNORE_INDEX,
) -> Image:
    """Return ``image`` with the label map ``mask`` (H, W) laid over it in the classes' colours.

    Args:
        image: the image, see the head of the module.
        mask: labels (H, W); ``ignore_index`` is drawn in neutral grey.
        colors: one colour per class.
        alpha: strength of the colours, 0 (image alone) .. 1 (colours alone).
        boundaries: whether the outlines of the regions are drawn at full strength.
        hide: labels to leave out, such as the background: ``hide=(0,)``.

    Returns:
        uint8 array (H, W, 3).
    """
    labels = _labels(mask)
    colored = colorize(labels, colors, ignore_index=ignore_index)
    return _blend(image, colored, labels, alpha, boundaries, ~np.isin(labels, list(hide)))


def instance_colors(count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` colours that differ, neighbours in the list most of all.

    The hue turns by the golden angle each time, so that any first n colours are well spread.
    """
    hues = ((0.58 + i * 0.618034) % 1 for i in range(count))
    triples = (colorsys.hsv_to_rgb(hue, 0.85, (0.95, 0.75)[i % 2]) for i, hue in enumerate(hues))
    return [tuple(round(255 * c) for c in triple) for triple in triples]


def overlay_instances(
    image: Any, masks: Any, colors: ArrayLike | None = None, alpha: float = 0.5
) -> Image:
    """Return ``image`` with each instance mask laid over it in a colour of its own.

    Args:
        image: the image, see the head of the module.
        masks: bool (N, H, W); where two overlap, the later one is on top.
        colors: one colour per instance; well spread ones if not given.
        alpha: strength of the colours.
    """
    base, stack = to_image(image), to_array(masks).astype(bool)
    if stack.ndim != 3:
        raise ValueError(f"masks must have shape (N, H, W), got {stack.shape}")
    labels = np.zeros(base.shape[:2], dtype=np.int64)
    if stack.shape[1:] != labels.shape:
        raise ValueError(
            f"image and masks must agree in size, got {labels.shape} and {stack.shape[1:]}"
        )
    for number, instance in enumerate(stack, start=1):
        labels[instance] = number
    palette = _palette([(0, 0, 0), *(instance_colors(len(stack)) if colors is None else colors)])
    return _blend(base, palette[labels], labels, alpha, True, labels > 0)


@in_any_style
def show_instances(
    image: Any,
    masks: Any,
    boxes: Any | None = None,
    texts: Sequence[str] | None = None,
    *,
    colors: Sequence[tuple[int, int, int]] | None = None,
    alpha: float = 0.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw instances with their boxes and texts (class name, score …) on ``ax``.

    Args:
        image: the image, see the head of the module.
        masks: bool (N, H, W).
        boxes: (N, 4) as x1, y1, x2, y2 in pixels.
        texts: N short texts, set into the upper left corner of each box.
        colors: one colour per instance.
        alpha: strength of the colours.
        ax: where to draw; a new figure if not given.
    """
    ax = ax or plt.subplots()[1]
    colors = colors or instance_colors(len(masks))
    ax.imshow(overlay_instances(image, masks, colors, alpha))
    ax.set_axis_off()
    if boxes is None:
        return ax
    boxes = to_array(boxes).reshape(-1, 4)
    for number, (box, color) in enumerate(zip(boxes, colors, strict=True)):
        left, top, right, bottom = box - 0.5  # pixel 0 is drawn from -0.5 to 0.5
        edge = np.asarray(color) / 255
        size = (right - left, bottom - top)
        ax.add_patch(Rectangle((left, top), *size, fill=False, edgecolor=edge, linewidth=1.3))
        if texts is not None:
            style = {"facecolor": edge, "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
            bright = np.dot(color, (0.299, 0.587, 0.114)) > 150
            ax.text(
                *(left, top),
                texts[number],
                fontsize=7.5,
                color="black" if bright else "white",
                va="top",
                bbox=style,
            )
    return ax


# Shades of one class: towards white (positive) or black (negative), the first is the class itself.
_SHADES = (0.0, 0.45, -0.35, 0.7, -0.55, 0.25, -0.15)


def colorize_panoptic(
    panoptic_seg: Any, segments_info: Sequence[Mapping[str, Any]], colors: ArrayLike
) -> Image:
    """Return a panoptic map (H, W) of segment ids as a colour image (H, W, 3).

    Stuff has the colour of its class, the instances of a thing class have shades of it, and
    pixels of no segment (void) are grey.

    Args:
        panoptic_seg: segment ids (H, W).
        segments_info: a dict per segment with ``id``, ``category_id`` and ``isthing``.
        colors: one colour per category, in the order of ``category_id``.
    """
    ids, palette = _labels(panoptic_seg), _palette(colors)
    image = np.empty((*ids.shape, 3), dtype=np.uint8)
    image[:] = IGNORE_COLOR
    seen: dict[int, int] = {}
    for segment in segments_info:
        category = segment["category_id"]
        color = palette[category].astype(float)
        if segment["isthing"]:
            shade = _SHADES[seen.get(category, 0) % len(_SHADES)]
            seen[category] = seen.get(category, 0) + 1
            color += abs(shade) * ((255 if shade > 0 else 0) - color)
        image[ids == segment["id"]] = np.rint(color)
    return image


def overlay_panoptic(
    image: Any,
    panoptic_seg: Any,
    segments_info: Sequence[Mapping[str, Any]],
    colors: ArrayLike,
    alpha: float = 0.6,
) -> Image:
    """Return ``image`` with a panoptic map laid over it, see `colorize_panoptic`."""
    ids = _labels(panoptic_seg)
    colored = colorize_panoptic(ids, segments_info, colors)
    return _blend(image, colored, ids, alpha, True, np.ones(ids.shape, dtype=bool))


def _same_shape(predicted: NDArray, wanted: NDArray) -> None:
    if predicted.shape != wanted.shape:
        raise ValueError(
            "prediction and target must have the same shape, "
            f"got {predicted.shape} and {wanted.shape}"
        )


def error_map(prediction: Any, target: Any, *, ignore_index: int = IGNORE_INDEX) -> Image:
    """Return an image (H, W, 3) of the right, wrong and ignored pixels of ``prediction``.

    The colours and their names stand in `ERROR_COLORS`, ready for `legend`.
    """
    predicted, wanted = _labels(prediction), _labels(target)
    _same_shape(predicted, wanted)
    verdict = np.where(wanted == ignore_index, 2, predicted != wanted)
    return np.asarray(list(ERROR_COLORS.values()), dtype=np.uint8)[verdict]


def binary_errors(
    image: Any,
    prediction: Any,
    target: Any,
    label: int = 1,
    alpha: float = 0.7,
    *,
    ignore_index: int = IGNORE_INDEX,
) -> Image:
    """Return ``image`` with the hits, false alarms and misses of one class laid over it.

    The colours and their names stand in `BINARY_COLORS`, ready for `legend`; where prediction and
    target both say another class the image stays as it is.

    Args:
        image: the image, see the head of the module.
        prediction: labels (H, W), or a bool map of the class.
        target: labels or a bool map (H, W); pixels of ``ignore_index`` are grey.
        label: the class in question; 1 is that of bool maps.
        alpha: strength of the colours.
        ignore_index: label of the pixels that do not count.
    """
    predicted, wanted = _labels(prediction), _labels(target)
    _same_shape(predicted, wanted)
    found, there = predicted == label, wanted == label
    verdicts = [wanted == ignore_index, found & there, found, there]
    labels = np.select(verdicts, [4, 1, 2, 3], default=0)  # (H, W), 0: neither
    return overlay(image, labels, [(0, 0, 0), *BINARY_COLORS.values()], alpha, hide=(0,))


def two_lines(text: str) -> str:
    """Set a bilingual text ``English ｜ 中文`` on two lines, where space is narrow."""
    return "\n".join(part.strip() for part in text.split(BAR))


@in_any_style
def show_row(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    width: float = 7.0,
    cmap: str | None = None,
) -> NDArray[np.object_]:
    """Show images side by side in a new figure.

    Args:
        images: images as at the head of the module; with ``cmap`` plain maps (H, W) of numbers.
        titles: one text per image; ``English ｜ 中文`` is set on two lines.
        columns: images in a row, all of them if not given.
        width: width of the figure in inches.
        cmap: a matplotlib colour map to draw maps (H, W) with.

    Returns:
        The axes of the images, one-dimensional; the figure is ``axes[0].figure``.
    """
    if not len(images):
        raise ValueError("images is empty: there is nothing to show")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"titles must name every image, got {len(titles)} for {len(images)}")
    arrays = [to_array(image) if cmap else to_image(image) for image in images]
    columns = min(columns or len(arrays), len(arrays))
    rows = -(-len(arrays) // columns)
    ratio = max(array.shape[0] / array.shape[1] for array in arrays)
    lines = max((title.count(BAR) + 1 for title in titles), default=0) if titles else 0
    size = 12 if columns <= 2 else 10  # points; a phone shows half of them
    height = rows * (width / columns * ratio + 0.021 * size * lines + 0.04)
    grid = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)[1].ravel()
    for ax in grid:
        ax.set_axis_off()
    for number, array in enumerate(arrays):
        grid[number].imshow(array, cmap=cmap)
        if titles is not None:
            grid[number].set_title(two_lines(titles[number]), fontsize=size)
    return grid[: len(arrays)]


@in_any_style
def legend(
    names: Sequence[str], colors: ArrayLike, *, columns: int = 4, ax: Axes | None = None
) -> Legend:
    """Add the legend of class ``names`` and ``colors`` below the current figure.

    Args:
        names: one text per class.
        colors: one colour per class.
        columns: entries side by side.
        ax: the figure of these axes rather than the current one.
    """
    palette = _palette(colors)
    if len(names) != len(palette):
        raise ValueError(f"names and colors must pair up, got {len(names)} and {len(palette)}")
    handles = [
        Patch(facecolor=color / 255, edgecolor="#666666", linewidth=0.5, label=name)
        for name, color in zip(names, palette, strict=True)
    ]
    figure = ax.figure if ax is not None else plt.gcf()
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.22 * rows)
    return figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(columns, len(handles)),
        handlelength=1.2,
        handleheight=1.0,
        columnspacing=1.4,
    )
