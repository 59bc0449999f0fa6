"""How good a mask is after so many clicks, and how many clicks it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segedu.metrics.base import UNITS, Metric


class ClickIoU(Metric):
    """Mean IoU of objects after each of K clicks, and the number of clicks to an IoU.

    NoC is the mean number of clicks until an IoU is reached; an object that never does counts K
    (Sofiiuk et al. 2022, "Reviving iterative training with mask guidance", with K = 20 and the
    IoU 0.85 and 0.9). Read it beside the share of the failures, which that hides.

    Args:
        clicks: K, at least 1.
        targets: the IoU to reach, each in (0, 1].
    """

    def __init__(self, clicks: int, targets: Sequence[float] = ()) -> None:
        if clicks < 1:
            raise ValueError(f"clicks must be at least 1, got {clicks}")
        self.targets = tuple(dict.fromkeys(map(float, targets)))  # each once
        if not all(0 < target <= 1 for target in self.targets):
            raise ValueError(f"targets must be in (0, 1], got {self.targets}")
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
            for target in self.targets:
                before = (iou < target).cumprod(1).sum(1)  # (P,), clicks that were not enough
                failed = before == self.clicks
                number = (before + 1).clamp(max=self.clicks)
                self._add(**{f"noc {target}": number.sum(), f"failed {target}": failed.sum()})

    def compute(self) -> dict[str, Any]:
        """Read the numbers, in [0, 1], NaN without an object.

        Returns:
            ``iou_1``, ``iou_2``, ..., after so many clicks, and ``mean_iou``, the last of them; for
            each target, such as 0.85, ``noc_85``, the mean number of clicks, and ``failures_85``,
            the share of objects that need more than K. ``per_class`` is empty.
        """
        objects = self._sums["objects"].item() if self._sums else 0
        sums = self._sums["iou"].tolist() if objects else [math.nan] * self.clicks
        ious = [total / UNITS / max(objects, 1) for total in sums]
        scores = {f"iou_{number}": iou for number, iou in enumerate(ious, start=1)}
        for target in self.targets:
            name = f"{100 * target:g}"
            for key, total in (("noc", f"noc {target}"), ("failures", f"failed {target}")):
                scores[f"{key}_{name}"] = (
                    self._sums[total].item() / objects if objects else math.nan
                )
        return {"mean_iou": ious[-1], **scores, "per_class": {}}
