"""Boxes as ``(..., 4)`` tensors: left, top, right and bottom edge (xyxy) in pixels.

An edge lies between two pixels: a box around the single pixel in column 3 reaches from x = 3 to
x = 4, so width = right - left, and the data of this package holds it so too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from segedu.ops.precision import full_precision

FORMATS = ("xyxy", "xywh", "cxcywh")


def box_convert(boxes: Tensor, in_format: str, out_format: str) -> Tensor:
    """Convert between two ways to write a box.

    Args:
        boxes: (..., 4) in pixels, or in any other unit of length.
        in_format: "xyxy" (left, top, right, bottom), "xywh" (left, top, width, height) or
            "cxcywh" (centre, width, height).
        out_format: likewise.

    Returns:
        A new tensor (..., 4).

    Raises:
        ValueError: unknown format, or the last axis of ``boxes`` is not 4.
    """
    check_boxes(boxes)
    for name, value in (("in_format", in_format), ("out_format", out_format)):
        if value not in FORMATS:
            raise ValueError(f"{name} must be one of {', '.join(FORMATS)}, got {value!r}")
    if in_format == out_format:
        return boxes.clone()
    a, b = boxes[..., :2], boxes[..., 2:]
    if in_format == "xywh":
        a, b = a, a + b
    elif in_format == "cxcywh":
        a, b = a - 0.5 * b, a + 0.5 * b
    if out_format == "xywh":
        a, b = a, b - a
    elif out_format == "cxcywh":
        a, b = (a + b) / 2, b - a
    return torch.cat((a, b), dim=-1)


def box_area(boxes: Tensor) -> Tensor:
    """Area (right - left) · (bottom - top) of xyxy boxes (..., 4) -> (...), in square pixels.

    Half precision is computed in float32 and integers in int64, where a product still fits.

    Raises:
        ValueError: the last axis of ``boxes`` is not 4.
    """
    check_boxes(boxes)
    boxes = _widen(boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut xyxy boxes (..., 4) at the borders of an image of ``size`` (height, width).

    A box outside the image becomes one of width or height 0 at its border.

    Raises:
        ValueError: the last axis of ``boxes`` is not 4, or a size is negative.
    """
    check_boxes(boxes)
    height, width = size
    if min(height, width) < 0:
        raise ValueError(f"size must be (height, width) >= 0, got {tuple(size)}")
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x, y), dim=-1).flatten(-2)  # (..., 2, 2) -> (..., 4)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of every pair of xyxy boxes.

    Args:
        boxes1: (..., N, 4).
        boxes2: (..., M, 4).

    Returns:
        (..., N, M) in [0, 1]; 0 for two boxes without area, whose union is empty.

    Raises:
        ValueError: not of these shapes.
    """
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        if boxes.ndim < 2 or boxes.shape[-1] != 4:
            raise ValueError(f"{name} must be (..., N, 4), got {tuple(boxes.shape)}")
    one, two = _widen(boxes1)[..., :, None, :], _widen(boxes2)[..., None, :, :]
    top_left = torch.maximum(one[..., :2], two[..., :2])  # (..., N, M, 2)
    bottom_right = torch.minimum(one[..., 2:], two[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(-1)
    union = box_area(one) + box_area(two) - intersection
    return intersection / union.where(union > 0, 1)


def masks_to_boxes(masks: Tensor) -> Tensor:
    """Smallest xyxy boxes around masks (N, H, W), float32 (N, 4); zeros for an empty mask.

    Right and bottom lie one past the last pixel (``torchvision.ops.masks_to_boxes`` gives the last
    pixel itself, and so a one-pixel object a box without area).

    Raises:
        ValueError: ``masks`` is not (N, H, W).
    """
    if masks.ndim != 3:
        raise ValueError(f"masks must be (N, H, W), got {tuple(masks.shape)}")
    masks = masks.bool()
    left, right = _extent(masks.any(1))
    top, bottom = _extent(masks.any(2))
    return torch.stack((left, top, right, bottom), dim=1).float()


@dataclass(frozen=True)
class BoxCoder:
    """Boxes as offsets from anchors, Ren et al. (2015), equation 2.

    ``(dx, dy)`` is the shift of the centre in widths and heights of the anchor, ``(dw, dh)`` the
    logarithm of the ratio of the sizes; each is multiplied by its weight to be of order 1.

    Args:
        weights: of dx, dy, dw and dh. Faster R-CNN's second stage takes (10, 10, 5, 5); YOLACT's
            "variances" (0.1, 0.2) mean the same.
        clamp: largest dw and dh that `decode` believes, so that ``exp`` stays finite; by
            default a 16-pixel anchor grows to 1000 pixels.

    Raises:
        ValueError: not four positive weights.
    """

    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    clamp: float = math.log(1000 / 16)

    def __post_init__(self) -> None:
        if len(self.weights) != 4 or min(self.weights) <= 0:
            raise ValueError(f"weights must be 4 positive numbers, got {self.weights}")

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Offsets (..., 4) that turn ``anchors`` into ``boxes``; the two broadcast.

        Boxes and anchors are xyxy and have an area; without one the result is not finite.
        """
        size, centre = _size_and_centre(boxes)
        anchor_size, anchor_centre = _size_and_centre(anchors)
        shift = (centre - anchor_centre) / anchor_size
        scale = torch.log(size / anchor_size)
        return torch.cat((shift, scale), dim=-1) * boxes.new_tensor(self.weights)

    def decode(self, offsets: Tensor, anchors: Tensor) -> Tensor:
        """Boxes xyxy (..., 4) from ``offsets`` (..., 4); the two broadcast.

        Offsets per class (N, C, 4) want their anchors as (N, 1, 4).
        """
        check_boxes(offsets, "offsets")
        size, centre = _size_and_centre(anchors.to(offsets.dtype))
        shift, scale = (offsets / offsets.new_tensor(self.weights)).split(2, dim=-1)
        centre = shift * size + centre
        half = 0.5 * (scale.clamp(max=self.clamp).exp() * size)
        return torch.cat((centre - half, centre + half), dim=-1)


def check_boxes(boxes: Tensor, name: str = "boxes") -> None:
    """Raise a ValueError unless the tensor is (..., 4)."""
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(f"{name} must be (..., 4), got {tuple(boxes.shape)}")


def _widen(boxes: Tensor) -> Tensor:
    return full_precision(boxes) if boxes.is_floating_point() else boxes.long()


def _size_and_centre(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height (..., 2), centre (..., 2)."""
    check_boxes(boxes)
    size = boxes[..., 2:] - boxes[..., :2]
    return size, boxes[..., :2] + 0.5 * size


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last True along the last axis: (N, L) -> (N,), (N,); 0, 0 if none."""
    place = torch.arange(1, occupied.shape[-1] + 1, device=occupied.device)
    length = occupied.shape[-1]
    # The sentinel column answers for a row, or an axis, without any True.
    end = torch.nn.functional.pad(place * occupied, (1, 0)).amax(-1)
    start = length - torch.nn.functional.pad(place.flip(0) * occupied, (1, 0)).amax(-1)
    return start.where(end > 0, 0), end
