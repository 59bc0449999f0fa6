"""Calibration: does a pixel predicted with probability p turn out right a share p of the time?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

UNITS = 2**30


class CalibrationMetrics:
    r"""Expected calibration error and reliability diagram, per pixel (Guo et al. 2017, §2).

    The confidence of a pixel is its largest probability. With the pixels sorted into bins
    (i/n, (i+1)/n] of confidence,

    .. math:: ECE = \sum_b \frac{n_b}{\sum n} |accuracy_b - confidence_b|

    and MCE is the largest of these gaps over the bins that are not empty.

    Args:
        num_bins: n.
        ignore_index: label of the pixels left out.

    The state is three sums for each bin on the device of the first input; ``update`` reads nothing
    back from a GPU.
    """

    def __init__(self, num_bins: int = 15, ignore_index: int = 255) -> None:
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, got {num_bins}")
        self.num_bins = num_bins
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        # Rows: number of pixels, sum of confidences, number of right pixels.
        self._sums: Tensor | None = None

    def update(self, logits: Tensor, target: Tensor, *, probabilities: bool = False) -> None:
        """Add a batch.

        Args:
            logits: (N, C, *S).
            target: labels (N, *S).
            probabilities: ``logits`` hold probabilities already (after temperature scaling, say).

        Raises:
            ValueError: the shapes do not fit.
        """
        if not logits.is_floating_point() or target.shape != logits.shape[:1] + logits.shape[2:]:
            raise ValueError(
                "logits must be floating point (N, C, ...) and target (N, ...), "
                f"got {logits.dtype} {tuple(logits.shape)} and {tuple(target.shape)}"
            )
        # float64, because a float32 softmax differs in the last bits with the shape of the batch
        p = logits if probabilities else logits.detach().double().softmax(1)
        confidence, pred = p.max(1)
        valid = (target != self.ignore_index).flatten()
        confidence = confidence.flatten().double()
        edges = torch.arange(1, self.num_bins, device=p.device) / self.num_bins
        place = torch.bucketize(confidence, edges.double())
        right = (pred == target).flatten()
        # Confidences are summed as whole multiples of 2^-30: such a sum is the same in any order.
        units = (confidence * UNITS).round().long()
        rows = torch.stack([valid.long(), units * valid, (right & valid).long()])
        sums = torch.zeros(3, self.num_bins, dtype=torch.int64, device=p.device)
        sums.scatter_add_(1, place.expand(3, -1), rows)
        self._sums = sums if self._sums is None else self._sums + sums

    def merge(self, other: CalibrationMetrics) -> CalibrationMetrics:
        """Add what another instance saw, for example in another process; returns ``self``."""
        mine = self.num_bins, self.ignore_index
        theirs = other.num_bins, other.ignore_index
        if mine != theirs:
            raise ValueError(f"merge needs the same num_bins and ignore_index, got {theirs}")
        if other._sums is not None:
            sums = other._sums
            self._sums = sums.clone() if self._sums is None else self._sums + sums.to(self._sums)
        return self

    def compute(self) -> dict[str, Any]:
        """Read the numbers.

        Returns:
            ``ece``, ``mce``: floats in [0, 1], NaN without a pixel; ``confidence``, ``accuracy``:
            float64 (num_bins,), NaN in empty bins; ``count``: int64 (num_bins,).
        """
        sums = torch.zeros(3, self.num_bins).double() if self._sums is None else self._sums.cpu()
        count, confidence, right = sums.double()
        confidence = confidence / UNITS
        gap = (right - confidence).abs()
        filled = count > 0
        total = count.sum()
        return {
            "ece": (gap.sum() / total).item(),
            "mce": (gap / count)[filled].max().item() if total else float("nan"),
            "confidence": confidence / count,
            "accuracy": right / count,
            "count": count.long(),
        }
