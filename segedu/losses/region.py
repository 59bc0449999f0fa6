"""Losses that compare regions: overlap of the soft prediction with the target, class by class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segedu.losses._inputs import as_weight, check_class_weight, check_reduction
from segedu.losses.sums import ClassSums, class_sums

ABSENT = ("skip", "count")


class _OverlapLoss(nn.Module):
    """1 − overlap of each class, averaged; a subclass says what the overlap is."""

    def __init__(
        self,
        ignore_index: int = 255,
        *,
        per_image: bool = False,
        include_background: bool = True,
        absent: str = "skip",
        smooth: float = 0.0,
        weight: Tensor | list[float] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if absent not in ABSENT:
            raise ValueError(f"absent must be one of {ABSENT}, got {absent!r}")
        if smooth < 0:
            raise ValueError(f"smooth must be >= 0, got {smooth}")
        self.register_buffer("weight", as_weight(weight))
        self.ignore_index = ignore_index
        self.per_image = per_image
        self.include_background = include_background
        self.absent = absent
        self.smooth = smooth
        self.reduction = check_reduction(reduction)

    def overlap(self, sums: ClassSums) -> Tensor:
        """Overlap in [0, 1] from the sums."""
        raise NotImplementedError

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        sums = class_sums(logits, target, self.ignore_index)
        return self.from_sums(sums)

    def from_sums(self, sums: ClassSums) -> Tensor:
        """Return the loss from sums that are already known."""
        num_classes = sums.prob.shape[1]
        check_class_weight(self.weight, num_classes)
        if not self.per_image:
            sums = ClassSums(*(None if s is None else s.sum(0, keepdim=True) for s in sums))
        loss = 1 - self.overlap(sums)  # (N or 1, C)

        # An image without a labelled pixel says nothing; a class without one, as the user decides.
        counted = (sums.count.sum(1, keepdim=True) > 0).expand_as(loss)
        if self.absent == "skip":
            counted = counted & (sums.count > 0)
        if not self.include_background:
            counted = counted & (torch.arange(num_classes, device=loss.device) > 0)
        weight = counted.to(loss.dtype)
        if self.weight is not None:
            weight = weight * self.weight.to(loss.dtype)
        loss = loss * weight
        if self.reduction == "none":
            return loss if self.per_image else loss[0]
        if self.reduction == "sum":
            return loss.sum()
        total = weight.sum()
        return loss.sum() / torch.where(total > 0, total, 1)


class DiceLoss(_OverlapLoss):
    r"""Soft Dice loss (Milletari et al. 2016, V-Net, §3, with unsquared terms).

    For each class c the overlap is :math:`(2 \sum p_c [t = c] + s) / (\sum p_c + \sum [t = c] + s)`
    with p = softmax(logits), sums over the pixels that are not ignored and s = ``smooth``; the loss
    is the mean of 1 − overlap.

    Args:
        ignore_index: label of the pixels left out.
        per_image: ``False`` sums over the whole batch before the ratio, ``True`` takes the ratio in
            each image and averages the results.
        include_background: ``False`` leaves class 0 out of the mean.
        absent: a class without a pixel in the target is left out of the mean (``"skip"``) or counts
            with its overlap s / (Σp + s), so with ``smooth=0`` as a loss of 1 (``"count"``).
        smooth: added to numerator and denominator; 0 is the plain definition.
        weight: one factor >= 0 for each class; the mean becomes a weighted mean.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: (C,), or (N, C) per image, with 0 for what
            is left out.

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar. With all pixels ignored the loss
        and its gradient are 0.
    """

    def overlap(self, sums: ClassSums) -> Tensor:
        """Dice coefficient from the sums."""
        return _ratio(2 * sums.hit + self.smooth, sums.prob + sums.count + self.smooth)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient that is 0, with a gradient of 0, where the denominator is 0."""
    return numerator / torch.where(denominator > 0, denominator, 1)
