"""Sheets of samples: images beside their labels, for every kind of sample, with a legend."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segedu.viz.fonts import FONT_FILE
from segedu.viz.overlays import overlay, overlay_instances, overlay_panoptic

Color = Sequence[int]
Picture = NDArray[np.uint8]

_CELL = 224  # longest side of a picture, in pixels
_GAP, _LINE = 8, 22


def show_pixels(image: Any) -> Picture:
    """An image uint8 (C,H,W) of any number of channels as (H,W,3): its first three, or its grey.

    Raises:
        ValueError: if the image has another shape.
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or not pixels.size:
        raise ValueError(f"image must be (C, H, W), got {pixels.shape}")
    pixels = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, axis=0)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def show_labels(image: Picture, sample: Mapping[str, Any], colors: Sequence[Color]) -> Picture:
    """An image (H,W,3) under the labels of a sample.

    Args:
        image: uint8.
        sample: ``mask`` (H,W), or ``masks`` (N,H,W) and ``labels`` (N,), or ``panoptic_seg`` and
            ``segments_info``.
        colors: of the classes; of panoptic things each has its own.

    Raises:
        ValueError: if the sample has no labels.
    """
    _check(sample)
    if "mask" in sample:
        return overlay(image, sample["mask"], colors)
    if "panoptic_seg" in sample:
        return overlay_panoptic(image, sample["panoptic_seg"], sample["segments_info"], colors)
    chosen = [colors[label] for label in sample["labels"].tolist()]
    return overlay_instances(image, sample["masks"], chosen) if chosen else image


def _check(sample: Mapping[str, Any]) -> None:
    if not {"mask", "masks", "panoptic_seg"} & set(sample):
        raise ValueError(f"sample must have mask, masks or panoptic_seg, got {[*sample]}")


def shown_classes(samples: Iterable[Mapping[str, Any]]) -> list[int]:
    """Numbers of the classes that occur in samples, as `show_labels` takes them, ascending.

    Raises:
        ValueError: if a sample has no labels.
    """
    found: set[int] = set()
    for sample in samples:
        _check(sample)
        if "mask" in sample:
            found |= set(np.unique(np.asarray(sample["mask"])).tolist()) - {255}
        elif "panoptic_seg" in sample:
            found |= {segment["category_id"] for segment in sample["segments_info"]}
        else:
            found |= set(sample["labels"].tolist())
    return sorted(found)


def sheet(
    rows: Sequence[Sequence[Picture]],
    classes: Sequence[str],
    colors: Sequence[Color],
    *,
    columns: int = 1,
    titles: Sequence[str] = (),
    only: Sequence[int] | None = None,
) -> Image.Image:
    """Put rows of pictures on one sheet, with a legend of the classes below.

    Args:
        rows: for each sample its pictures, (H,W,3), of one size.
        classes: names.
        colors: of the classes.
        columns: how many samples stand side by side.
        titles: what the pictures of a sample are, said above them.
        only: the classes that the legend explains, such as `shown_classes`; by default all.

    Raises:
        ValueError: if there is no row, or names and colours, or titles and pictures, do not pair
            up.
    """
    if not rows:
        raise ValueError("rows is empty: there is nothing to show")
    if len(classes) != len(colors):
        raise ValueError(f"classes and colors must pair up, got {len(classes)} and {len(colors)}")
    if titles and len(titles) != len(rows[0]):
        raise ValueError(f"{len(titles)} titles do not fit {len(rows[0])} pictures of a sample")
    cells = [_cell(row) for row in rows]
    width = columns * (cells[0].width + _GAP) + _GAP
    lines = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in line) for line in lines]
    explained = range(len(classes)) if only is None else only
    legend = _legend([classes[c] for c in explained], [colors[c] for c in explained], width)
    top = _GAP + (_LINE if titles else 0)
    height = top + sum(heights) + _GAP * len(heights) + legend.height
    page = Image.new("RGB", (width, height), "white")
    font, draw = ImageFont.truetype(FONT_FILE, 14), ImageDraw.Draw(page)
    for place, title in enumerate([*titles] * columns):
        draw.text((_GAP + place * (_CELL + _GAP), 2), title, fill="black", font=font)
    for line, height in zip(lines, heights, strict=True):
        for column, cell in enumerate(line):
            page.paste(cell, (_GAP + column * (cell.width + _GAP), top))
        top += height + _GAP
    page.paste(legend, (0, top))
    return page


def _cell(pictures: Sequence[Picture]) -> Image.Image:
    """The pictures of one sample side by side, each in a square of its own width."""
    height, width = pictures[0].shape[:2]
    scale = _CELL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cell = Image.new("RGB", (len(pictures) * (_CELL + _GAP) - _GAP, size[1]), "white")
    for place, picture in enumerate(pictures):
        cell.paste(Image.fromarray(picture).resize(size), (place * (_CELL + _GAP), 0))
    return cell


def _legend(classes: Sequence[str], colors: Sequence[Color], width: int) -> Image.Image:
    """Names of the classes beside their colours, in as many lines as they need."""
    font = ImageFont.truetype(FONT_FILE, 14)
    places, x, line = [], _GAP, 0
    for name in classes:
        wide = 20 + round(font.getlength(name)) + 2 * _GAP
        if x + wide > width and x > _GAP:
            x, line = _GAP, line + 1
        places.append((x, line * _LINE))
        x += wide
    legend = Image.new("RGB", (width, (line + 1) * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(legend)
    for name, color, (x, y) in zip(classes, colors, places, strict=True):
        draw.rectangle((x, y + 3, x + 14, y + 17), fill=tuple(color), outline="gray")
        draw.text((x + 20, y + 2), name, fill="black", font=font)
    return legend
