"""How good a mask is after so many clicks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segedu.metrics.base import UNITS, Metric


class ClickIoU(Metric):
    """Mean IoU of objects after each of K clicks.

    Args:
        clicks: K, at least 1.
    """

    def __init__(self, clicks: int) -> None:
        if clicks < 1:
            raise ValueError(f"clicks must be at least 1, got {clicks}")
        self.clicks = clicks
        super().__init__()

    def update(
        self, predictions: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]]
    ) -> None:
        """Add images.

        Args:
            predictions: for each image ``masks`` bool (P, K, H, W), each object after each click.
            targets: for each image ``masks`` bool (P, H, W).

        Raises:
            ValueError: numbers, shapes or types do not fit.
        """
        if len(predictions) != len(targets):
            raise ValueError(f"got {len(predictions)} predictions for {len(targets)} targets")
        pairs = [
            (found["masks"], wanted["masks"])
            for found, wanted in zip(predictions, targets, strict=True)
        ]
        for found, wanted in pairs:
            shape = (len(wanted), self.clicks, *wanted.shape[1:])
            if tuple(found.shape) != shape or found.dtype != torch.bool:
                raise ValueError(
                    f"prediction must be bool {shape}, got {found.dtype} {tuple(found.shape)}"
                )
        for found, wanted in pairs:
            wanted = wanted.bool()[:, None]
            both = (found & wanted).sum((2, 3), dtype=torch.float64)  # (P, K)
            either = (found | wanted).sum((2, 3), dtype=torch.float64)
            iou = torch.where(either > 0, both / either, 1.0)
            objects = torch.full((), len(wanted), device=iou.device)
            self._add(iou=(iou * UNITS).round().long().sum(0), objects=objects)

    def compute(self) -> dict[str, Any]:
        """Read the numbers, in [0, 1], NaN without an object.

        Returns:
            ``iou_1``, ``iou_2``, ..., after so many clicks, and ``mean_iou``, the last of them.
            ``per_class`` is empty.
        """
        objects = self._sums["objects"].item() if self._sums else 0
        sums = self._sums["iou"].tolist() if objects else [math.nan] * self.clicks
        ious = [total / UNITS / max(objects, 1) for total in sums]
        scores = {f"iou_{number}": iou for number, iou in enumerate(ious, start=1)}
        return {"mean_iou": ious[-1], **scores, "per_class": {}}
