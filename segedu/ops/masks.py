"""Masks: from a detector's small square to the image, cut by boxes, filled from polygons.

Run-length encoding is in `segedu.ops.rle`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segedu.ops import rle
from segedu.ops.boxes import box_convert


def binary_masks(masks: Tensor, name: str = "masks") -> Tensor:
    """Masks of any shape as bool, if that is what they are.

    Raises:
        ValueError: a value is neither 0 nor 1: 0 and 255, ids of objects, probabilities, NaN.
    """
    if masks.dtype != torch.bool and not bool(((masks == 0) | (masks == 1)).all()):
        low, high = (x.item() for x in masks.aminmax())
        raise ValueError(
            f"{name} must be bool or hold 0 and 1 only, got values from {low} to {high}: take "
            "masks > 0 of 0 and 255, masks == id of ids"
        )
    return masks.bool()


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Put the masks of boxes into the image, as torchvision's Mask R-CNN does.

    A border of one zero is added to mask and box, the box is cut down to whole pixels, and the
    mask is resized to it bilinearly. He et al. (2017), section 3.1, then take values >= 0.5.

    Args:
        masks: float (N, M, M), probabilities.
        boxes: xyxy (N, 4) in pixels; what lies outside the image is cut off.
        size: (height, width) of the image.

    Returns:
        (N, height, width) in [0, 1], 0 outside the box.

    Raises:
        ValueError: shapes that do not fit, or a size below 1.
    """
    _check(masks, boxes)
    height, width = size
    if masks.shape[1] != masks.shape[2]:
        raise ValueError(f"masks must be (N, M, M), got {tuple(masks.shape)}")
    if min(height, width) < 1:
        raise ValueError(f"size must be (height, width) >= 1, got {tuple(size)}")
    padded = F.pad(masks, (1, 1, 1, 1))
    grown = box_convert(boxes, "xyxy", "cxcywh")
    grown[:, 2:] *= padded.shape[-1] / masks.shape[-1]
    corners = box_convert(grown, "cxcywh", "xyxy").long().tolist()  # towards zero, as torchvision
    image = masks.new_zeros(len(masks), height, width)
    for canvas, mask, (x0, y0, x1, y1) in zip(image, padded, corners, strict=True):
        # Both ends belong to the box here: x1 - x0 + 1 columns.
        shape = max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1)
        left, right = max(x0, 0), min(x1 + 1, width)
        top, bottom = max(y0, 0), min(y1 + 1, height)
        if left < right and top < bottom:
            resized = F.interpolate(mask[None, None], shape, mode="bilinear")[0, 0]
            canvas[top:bottom, left:right] = resized[top - y0 : bottom - y0, left - x0 : right - x0]
    return image


def crop_masks(masks: Tensor, boxes: Tensor, padding: float = 0.0) -> Tensor:
    """Set everything outside each mask's box to 0, YOLACT, Bolya et al. (2019), section 3.3.

    Args:
        masks: (N, H, W).
        boxes: xyxy (N, 4) in pixels of the masks. Pixel j stays if left <= j < right.
        padding: pixels that the box grows on each side; YOLACT takes 1.

    Returns:
        (N, H, W).

    Raises:
        ValueError: shapes that do not fit.
    """
    _check(masks, boxes)
    y, x = (torch.arange(n, device=masks.device) for n in masks.shape[1:])
    left, top, right, bottom = boxes[:, :, None].unbind(1)  # (N, 1) each
    columns = (x >= left - padding) & (x < right + padding)  # (N, W)
    rows = (y >= top - padding) & (y < bottom + padding)  # (N, H)
    return masks * (rows[:, :, None] & columns[:, None, :])


def mask_iou(masks1: Tensor, masks2: Tensor) -> Tensor:
    """IoU of every pair of masks (N, H, W) and (M, H, W), float32 (N, M); 0 if both are empty.

    Masks are bool or hold 0 and 1.

    Raises:
        ValueError: shapes that do not fit, or other values.
    """
    if masks1.ndim != 3 or masks2.ndim != 3 or masks1.shape[1:] != masks2.shape[1:]:
        raise ValueError(
            "masks1 must be (N, H, W) and masks2 (M, H, W), "
            f"got {tuple(masks1.shape)} and {tuple(masks2.shape)}"
        )
    masks1, masks2 = binary_masks(masks1, "masks1"), binary_masks(masks2, "masks2")
    one, two = masks1.flatten(1).float(), masks2.flatten(1).float()  # exact below 2^24 pixels
    intersection = one @ two.T
    union = one.sum(1)[:, None] + two.sum(1) - intersection
    return intersection / union.clamp(min=1)


def resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale a map of labels without mixing them: each new pixel shows the one under its centre.

    Pixel i of n shows pixel floor((i + 1/2) · old / n) of old, which is what PyTorch calls
    ``nearest-exact``. Its ``nearest`` takes floor(i · old / n) instead: shrunk by 8 that is the
    corner of each block, half a block away from where a filtered image has its pixel.

    Args:
        labels: (..., H, W) of any type.
        size: (height, width) of the result.

    Returns:
        (..., height, width) of the same type.

    Raises:
        ValueError: a size below 1, or ``labels`` with less than two dimensions.
    """
    if labels.ndim < 2 or min(size) < 1:
        raise ValueError(
            f"labels must be (..., H, W) and size >= 1, got {tuple(labels.shape)} and {size}"
        )
    rows, columns = (
        (2 * torch.arange(new, device=labels.device) + 1) * old // (2 * new)
        for old, new in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[..., rows[:, None], columns]


def polygon_to_mask(polygon: Sequence[float], height: int, width: int) -> np.ndarray:
    """Fill one polygon by the even-odd rule at pixel centres.

    Args:
        polygon: x0, y0, x1, y1, ... in pixels, the last vertex joined to the first. The centre of
            the pixel in row i and column j is (j + 0.5, i + 0.5).
        height: rows of the mask.
        width: columns of the mask.

    Returns:
        Mask, bool (height, width).

    Raises:
        ValueError: for fewer than three vertices or an odd number of coordinates.
    """
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"polygon must be x, y pairs of >= 3 vertices, got {len(polygon)} numbers")
    x0, y0 = np.asarray(polygon, dtype=np.float64).reshape(-1, 2).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # Each edge crosses the rows whose centre lies in [top, bottom); horizontal edges cross none.
    first = np.ceil(np.minimum(y0, y1) - 0.5).clip(0, height).astype(int)
    last = np.ceil(np.maximum(y0, y1) - 0.5).clip(0, height).astype(int)
    edge = np.repeat(np.arange(len(x0)), last - first)
    row = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    column = np.ceil(x - 0.5).clip(0, width).astype(int)
    top, bottom = first.min(), last.max()  # only these rows can be inside
    crossings = np.zeros((bottom - top, width + 1), dtype=np.int32)
    np.add.at(crossings, (row - top, column), 1)
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom] = crossings.cumsum(axis=1)[:, :width] % 2  # inside after an odd number
    return mask


def segmentation_to_mask(
    segmentation: Sequence[Sequence[float]] | rle.RLE, height: int, width: int
) -> np.ndarray:
    """Turn a COCO ``segmentation`` into a mask.

    Args:
        segmentation: a list of polygons, whose union is meant, or run lengths
            ``{"size": [height, width], "counts": ...}`` as `segedu.ops.rle` writes them.
        height: rows of the mask.
        width: columns of the mask.

    Returns:
        Mask, bool (height, width).

    Raises:
        ValueError: if the run lengths do not fill a mask of that size, or for a bad polygon.
    """
    if isinstance(segmentation, Mapping):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(
                f"segmentation must be of size {height} x {width}, got {segmentation['size']}"
            )
        return rle.decode(segmentation)
    mask = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        mask |= polygon_to_mask(polygon, height, width)
    return mask


def _check(masks: Tensor, boxes: Tensor) -> None:
    if masks.ndim != 3 or boxes.shape != (len(masks), 4):
        raise ValueError(
            f"masks must be (N, H, W) and boxes (N, 4), got {tuple(masks.shape)} and "
            f"{tuple(boxes.shape)}"
        )
