"""Calibration: does a pixel predicted with probability p turn out right a share p of the time?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segedu.metrics.base import Metric
from segedu.metrics.labels import NOT_A_NUMBER, check_logits

# Confidences are summed as whole multiples of 2^-30: room for 2^33 pixels.
UNITS = 2**30
TOLERANCE = 0.01  # by which half-precision probabilities may miss a sum of 1


class CalibrationMetrics(Metric):
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
        super().__init__()

    def update(self, logits: Tensor, target: Tensor, *, probabilities: bool = False) -> None:
        """Add a batch.

        Args:
            logits: (N, C, *S).
            target: labels (N, *S) in [0, C) or ``ignore_index``.
            probabilities: ``logits`` hold probabilities already (after temperature scaling, say).

        Raises:
            TypeError: logits are not floating point or the target is not of an integer type.
            ValueError: the shapes do not fit, or (on the CPU here, after a GPU in ``compute``) a
                label is out of range, a logit is NaN, or probabilities are no numbers in [0, 1]
                that sum to 1 over the classes.
        """
        if not logits.is_floating_point():
            raise TypeError(f"logits must be floating point, got {logits.dtype}")
        if target.is_floating_point():
            raise TypeError(f"target must hold integer labels, got {target.dtype}")
        num_classes = logits.shape[1] if logits.ndim > 1 else 0
        check_logits(logits, target, num_classes)
        p = logits.detach()
        if probabilities:
            total = p.sum(1, dtype=torch.float64)
            proper = ((p >= 0) & (p <= 1)).all(1) & ((total - 1).abs() <= TOLERANCE)
            self._refuse(~proper, "probabilities must be in [0, 1] and sum to 1 over the classes")
        else:
            # float64, because a float32 softmax differs in the last bits with the batch's shape
            p = p.double().softmax(1)
        confidence, pred = p.max(1)
        self._refuse(confidence.isnan(), NOT_A_NUMBER)
        valid = target != self.ignore_index
        allowed = (target >= 0) & (target < num_classes) | ~valid
        self._refuse(
            ~allowed,
            f"target must hold labels in 0..{num_classes - 1} or ignore_index={self.ignore_index}",
        )
        confidence, valid = confidence.flatten().double(), valid.flatten()
        edges = torch.arange(1, self.num_bins, device=p.device) / self.num_bins
        place = torch.bucketize(confidence, edges.double())
        right = (pred == target).flatten()
        units = (confidence * UNITS).round().long()
        rows = torch.stack([valid.long(), units * valid, (right & valid).long()])
        bins = torch.zeros(3, self.num_bins, dtype=torch.int64, device=p.device)
        self._add(bins=bins.scatter_add_(1, place.expand(3, -1), rows))

    def compute(self) -> dict[str, Any]:
        """Read the numbers.

        Returns:
            ``ece``, ``mce``: floats in [0, 1], NaN without a pixel; ``confidence``, ``accuracy``:
            float64 (num_bins,), NaN in empty bins; ``count``: int64 (num_bins,); ``per_class``:
            empty, as the bins hold pixels of all classes.

        Raises:
            ValueError: what ``update`` could not refuse on a GPU.
        """
        self._check()
        bins = self._sums.get("bins", torch.zeros(3, self.num_bins)).cpu()
        count, confidence, right = bins.double()
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
            "per_class": {},
        }
