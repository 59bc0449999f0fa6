"""Masks in video: region and contour accuracy as DAVIS has them, and what flickers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segedu.metrics.base import Metric
from segedu.metrics.semantic import SemanticMetrics
from segedu.ops import binary_masks
from segedu.ops.distance import distance_transform

VOID = 255


def region_similarity(pred: Tensor, target: Tensor) -> float:
    """J: the IoU of two masks (Perazzi et al. 2016, section 4), 1 if both are empty.

    Args:
        pred: bool or 0/1 mask (H, W).
        target: mask of the same shape.

    Raises:
        ValueError: shapes differ or are not 2-D, or a mask has other values.
    """
    pred, target = _pair(pred, target)
    union = (pred | target).sum().item()
    return (pred & target).sum().item() / union if union else 1.0


def contour_accuracy(pred: Tensor, target: Tensor, tolerance: float = 0.008) -> float:
    """F: how well two contours agree (Perazzi et al. 2016, section 4; Martin et al. 2004).

    Precision is the share of the predicted contour with a pixel of the true one near by, recall the
    reverse, F their harmonic mean. A contour is what differs from its right, lower or lower right
    neighbour. If one mask has no contour F is 0, if neither has, 1.

    Args:
        pred: bool or 0/1 mask (H, W).
        target: mask of the same shape.
        tolerance: what is near: a share of the image's diagonal, rounded up to whole pixels, as
            DAVIS does; or pixels, from 1 on.

    Raises:
        ValueError: as `region_similarity`, or the tolerance is not positive.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be > 0, got {tolerance}")
    pred, target = _pair(pred, target)
    radius = tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(*pred.shape))
    found, wanted = contour(pred), contour(target)
    if not (found.any() and wanted.any()):
        return float(found.any() == wanted.any())
    precision = (distance_transform(~wanted)[found] <= radius).double().mean().item()
    recall = (distance_transform(~found)[wanted] <= radius).double().mean().item()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask: Tensor) -> Tensor:
    """Pixels of a bool mask (H, W) that differ from the right, lower or lower right neighbour.

    Example:
        >>> contour(torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0]]).bool()).int()
        tensor([[1, 1, 0],
                [1, 1, 0],
                [0, 0, 0]], dtype=torch.int32)
    """
    edge = torch.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def _pair(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if pred.shape != target.shape or pred.ndim != 2:
        raise ValueError(
            "pred and target must be masks (H, W) of one shape, "
            f"got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    return binary_masks(pred, "pred"), binary_masks(target, "target")


class VideoObjects(Metric):
    """J and F of the objects of videos, their recall and decay, and J&F, as DAVIS has them.

    The first frame is given and the last one not judged (Pont-Tuset et al. 2017, semi-supervised).
    Of each object J and F are means over the other frames; recall is the share of the frames above
    0.5, decay the mean over the first quarter of the frames minus that over the last (Perazzi et
    al. 2016, section 5). Every object of every video counts once.

    Args:
        tolerance: of the contours, see `contour_accuracy`.
    """

    def __init__(self, tolerance: float = 0.008) -> None:
        if not tolerance > 0:
            raise ValueError(f"tolerance must be > 0, got {tolerance}")
        self.tolerance = tolerance
        super().__init__()

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add a video.

        Args:
            pred: integer (T, H, W), the number of the object in each pixel, 0 where there is none.
            target: the same; its first frame says which objects are judged. At least 3 frames.

        Raises:
            TypeError: not of an integer type.
            ValueError: shapes do not fit, too few frames, or no object in the first.
        """
        if pred.is_floating_point() or target.is_floating_point():
            raise TypeError(f"pred and target must be integer, got {pred.dtype}, {target.dtype}")
        if pred.shape != target.shape or target.ndim != 3 or len(target) < 3:
            raise ValueError(
                "pred and target must be (T, H, W) of one shape with T >= 3, "
                f"got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        numbers = [number for number in target[0].unique().tolist() if number]
        if not numbers:
            raise ValueError("target must hold an object in its first frame, got none")
        judged = list(zip(pred[1:-1], target[1:-1], strict=True))
        self._records += [
            {
                "object": number,
                "J": [region_similarity(p == number, t == number) for p, t in judged],
                "F": [
                    contour_accuracy(p == number, t == number, self.tolerance) for p, t in judged
                ],
            }
            for number in numbers
        ]

    def compute(self) -> dict[str, Any]:
        """Read the numbers, NaN without an object.

        Returns:
            ``J&F``, ``J``, ``F``, ``J_recall``, ``F_recall``, ``J_decay``, ``F_decay``: means over
            the objects; ``cases``: for each object its number and the same; ``per_class`` is empty.
        """
        cases = [
            {"object": record["object"]}
            | {
                name: value
                for letter in "JF"
                for name, value in _statistics(letter, record[letter]).items()
            }
            for record in self._records
        ]
        keys = [letter + end for end in ("", "_recall", "_decay") for letter in "JF"]
        # A sorted sum does not depend on the order in which the videos came.
        means = {
            key: sum(sorted(case[key] for case in cases)) / len(cases) if cases else math.nan
            for key in keys
        }
        return {"J&F": (means["J"] + means["F"]) / 2, **means, "cases": cases, "per_class": {}}


def _statistics(letter: str, values: list[float]) -> dict[str, float]:
    """Mean, recall and decay of the values of one object."""
    array = np.array(values)
    # the ends of four equal parts of the frames, each part with its last
    ends = (np.round(np.linspace(1, len(array), 5) + 1e-10) - 1).astype(int)
    first, last = array[: ends[1] + 1], array[ends[3] :]
    return {
        letter: float(array.mean()),
        f"{letter}_recall": float((array > 0.5).mean()),
        f"{letter}_decay": float(first.mean() - last.mean()),
    }


def temporal_consistency(labels: Tensor, flow: Tensor, num_classes: int) -> dict[str, float]:
    """How well the labels of each frame, moved along the flow, agree with those of the next.

    Nothing is said of whether the labels are right: a network that always says "sky" is perfectly
    consistent.

    Args:
        labels: int64 (T, H, W), T at least 2.
        flow: float (T - 1, H, W, 2), how far each pixel moves to the next frame, x and y in pixels;
            NaN where it is not seen there.
        num_classes: C.

    Returns:
        ``agreement``, the share of the pixels that can be followed whose label stays, and
        ``mean_iou`` of moved and next labels over the classes (Varghese et al. 2020; Liu et al.
        2020, section 4), both over all pairs of frames.

    Raises:
        ValueError: shapes or labels do not fit, or no pixel can be followed.
    """
    moved = follow(labels, flow)
    seen = moved != VOID
    if not seen.any():
        raise ValueError("flow must lead some pixel to the next frame, got none that does")
    metric = SemanticMetrics(num_classes)
    metric.update(moved, torch.where(seen, labels[:-1].long(), VOID))
    result = metric.compute()
    return {"agreement": result["pixel_accuracy"], "mean_iou": result["mean_iou"]}


def follow(labels: Tensor, flow: Tensor) -> Tensor:
    """The label that each pixel of each frame but the last has in the next one.

    Args:
        labels: integer (T, H, W), T at least 2.
        flow: float (T - 1, H, W, 2), x and y in pixels, NaN where it is not seen there.

    Returns:
        int64 (T - 1, H, W), 255 where the pixel is not seen.

    Raises:
        ValueError: shapes do not fit.
    """
    if labels.ndim != 3 or len(labels) < 2 or flow.shape != (len(labels) - 1, *labels.shape[1:], 2):
        raise ValueError(
            "labels must be (T, H, W) with T >= 2 and flow (T - 1, H, W, 2), got "
            f"{tuple(labels.shape)} and {tuple(flow.shape)}"
        )
    frames, height, width = labels.shape
    time, y, x = torch.meshgrid(
        torch.arange(1, frames), torch.arange(height), torch.arange(width), indexing="ij"
    )
    middle = torch.stack([x, y], -1) + 0.5 + flow.double()  # (T - 1, H, W, 2)
    seen = ~middle.isnan().any(-1)
    column, row = middle.nan_to_num(-1).floor().long().unbind(-1)
    seen &= (column >= 0) & (column < width) & (row >= 0) & (row < height)
    there = labels[time, row.clamp(0, height - 1), column.clamp(0, width - 1)].long()
    return torch.where(seen, there, VOID)
