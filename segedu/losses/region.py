"""Losses that compare regions: the overlap of the soft prediction with the target, class by class.

All are formulas of the sums of ``fused``: with P = Σ p_c (``prob``), G = number of target pixels
(``count``) and TP = Σ p_c over the target pixels (``hit``), FP = P − TP and FN = G − TP.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segedu.losses._inputs import (
    as_weight,
    check_binary,
    check_class_weight,
    check_non_negative,
    check_reduction,
    mean_of,
)
from segedu.losses.fused import ClassSumLoss, ClassSums

ABSENT = ("skip", "count")


class _OverlapLoss(ClassSumLoss):
    """Mean over classes of 1 − overlap; a subclass says what the overlap is."""

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
        self.register_buffer("weight", as_weight(weight))
        self.ignore_index = ignore_index
        self.per_image = per_image
        self.include_background = include_background
        self.absent = absent
        self.smooth = check_non_negative("smooth", smooth)
        self.reduction = check_reduction(reduction)

    def overlap(self, sums: ClassSums) -> Tensor:
        """Overlap in [0, 1] of each class, from the sums."""
        raise NotImplementedError

    def class_loss(self, overlap: Tensor) -> Tensor:
        """Loss of a class from its overlap."""
        return 1 - overlap

    def from_sums(self, sums: ClassSums) -> Tensor:
        """Return the loss from sums that are already known."""
        num_classes = sums.prob.shape[1]
        check_class_weight(self.weight, num_classes)
        if not self.per_image:
            sums = _over_batch(sums)
        loss = self.class_loss(self.overlap(sums))  # (N or 1, C)
        counted = self._counted(sums)
        weight = counted.to(loss.dtype)
        if self.weight is not None:
            weight = weight * self.weight
        loss = weight * torch.where(counted, loss, 0)
        if self.reduction == "none":
            return loss if self.per_image else loss[0]
        return loss.sum() if self.reduction == "sum" else mean_of(loss.sum(), weight.sum())

    def _counted(self, sums: ClassSums) -> Tensor:
        """Which overlaps (N or 1, C) enter the mean."""
        # An image without a labelled pixel says nothing, whatever the rule for absent classes.
        counted = (sums.pixels > 0).expand_as(sums.count)
        if self.absent == "skip":
            counted = counted & (sums.count > 0)
        if not self.include_background:
            not_first = torch.arange(sums.count.shape[1], device=sums.count.device) > 0
            counted = counted & not_first
        return counted


class DiceLoss(_OverlapLoss):
    r"""Soft Dice loss: 1 − (2 TP + s) / (P + G + s) for each class (Milletari et al. 2016, §3).

    Args:
        ignore_index: label of the pixels left out.
        per_image: ``False`` sums over the whole batch before the ratio, ``True`` takes the ratio in
            each image and averages the results.
        include_background: ``False`` leaves class 0 out of the mean.
        absent: a class without a pixel in the target is left out of the mean (``"skip"``) or counts
            with its overlap s / (P + s), so with ``smooth=0`` as a loss of 1 (``"count"``).
        smooth: s, added to numerator and denominator; 0 is the plain definition.
        weight: one factor >= 0 for each class; the mean becomes a weighted mean.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: (C,), or (N, C) per image, with 0 for what
            is left out.
        squared: V-Net's form with Σp² instead of P in the denominator.

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar. With all pixels ignored the loss
        and its gradient are 0.
    """

    def __init__(self, ignore_index: int = 255, *, squared: bool = False, **settings: Any) -> None:
        super().__init__(ignore_index, **settings)
        self.squared = squared
        if squared:
            self.tables = ("hit", "square", "prob")

    def overlap(self, sums: ClassSums) -> Tensor:
        """Dice coefficient from the sums."""
        size = (sums.square if self.squared else sums.prob) + sums.count
        return _ratio(2 * sums.hit + self.smooth, size + self.smooth)


class JaccardLoss(DiceLoss):
    """Soft Jaccard (IoU) loss: 1 − (TP + s) / (P + G − TP + s) for each class (Rahman & Wang 2016).

    Arguments and shapes are those of `DiceLoss`.
    """

    def overlap(self, sums: ClassSums) -> Tensor:
        """Jaccard index from the sums."""
        union = (sums.square if self.squared else sums.prob) + sums.count - sums.hit
        return _ratio(sums.hit + self.smooth, union + self.smooth)


class TverskyLoss(_OverlapLoss):
    """Tversky loss: 1 − (TP + s) / (TP + α FP + β FN + s) for each class (Salehi et al. 2017).

    α = β = 0.5 is Dice, α = β = 1 is Jaccard; β > α punishes missed pixels more than false ones.

    Args:
        alpha: weight >= 0 of false positives.
        beta: weight >= 0 of false negatives.

    The other arguments and the shapes are those of `DiceLoss`, without ``squared``.
    """

    def __init__(
        self, alpha: float = 0.3, beta: float = 0.7, ignore_index: int = 255, **settings: Any
    ) -> None:
        super().__init__(ignore_index, **settings)
        self.alpha, self.beta = check_non_negative("alpha", alpha), check_non_negative("beta", beta)

    def overlap(self, sums: ClassSums) -> Tensor:
        """Tversky index from the sums."""
        false_positive, false_negative = sums.prob - sums.hit, sums.count - sums.hit
        size = sums.hit + self.alpha * false_positive + self.beta * false_negative
        return _ratio(sums.hit + self.smooth, size + self.smooth)


class FocalTverskyLoss(TverskyLoss):
    """Focal Tversky loss: (1 − Tversky index) ** γ for each class (Abraham & Khan 2019).

    Args:
        gamma: exponent > 0. The paper writes it 1/γ with γ = 4/3, hence 0.75; below 1 the gradient
            is steeper near a perfect class, above 1 flatter.

    The other arguments are those of `TverskyLoss`.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        ignore_index: int = 255,
        **settings: Any,
    ) -> None:
        super().__init__(alpha, beta, ignore_index, **settings)
        if not gamma > 0:
            raise ValueError(f"gamma must be > 0, got {gamma}")
        self.gamma = check_non_negative("gamma", gamma)

    def class_loss(self, overlap: Tensor) -> Tensor:
        """Loss of a class from its Tversky index."""
        # Rounding can take 1 - overlap to 0 or below, where the power has no finite derivative.
        return (1 - overlap).clamp(min=torch.finfo(overlap.dtype).eps) ** self.gamma


class GeneralizedDiceLoss(ClassSumLoss):
    r"""Generalised Dice loss: classes summed before the ratio (Sudre et al. 2017, Eq. 2).

    :math:`1 - 2 \sum_c w_c TP_c / \sum_c w_c (P_c + G_c)`. Averaging weighted ratios instead, as is
    often seen, is another function.

    Args:
        ignore_index: label of the pixels left out.
        weighting: :math:`w_c` is 1/G² (``"square"``, the paper's), 1/G (``"simple"``) or 1
            (``"uniform"``). A class without a target pixel would weigh infinitely and has weight 0
            (it still costs, through the probability that the others lose to it).
        per_image: ``True`` takes the ratio in each image and averages over the images.
        include_background: ``False`` leaves class 0 out of both sums.
        smooth: added to numerator and denominator.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one loss per image) over the images.

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        *,
        weighting: str = "square",
        per_image: bool = False,
        include_background: bool = True,
        smooth: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if weighting not in ("square", "simple", "uniform"):
            raise ValueError(f"weighting must be square, simple or uniform, got {weighting!r}")
        self.ignore_index = ignore_index
        self.weighting = weighting
        self.per_image = per_image
        self.include_background = include_background
        self.smooth = check_non_negative("smooth", smooth)
        self.reduction = check_reduction(reduction)

    def from_sums(self, sums: ClassSums) -> Tensor:
        """Return the loss from sums that are already known."""
        if not self.per_image:
            sums = _over_batch(sums)
        count = sums.count.double()  # 1/G² of a large class is far below the others
        power = {"square": 2, "simple": 1, "uniform": 0}[self.weighting]
        weight = torch.where(count > 0, count.clamp(min=1) ** -power, 0)
        if not self.include_background:
            weight[:, 0] = 0
        weight = weight / weight.amax(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
        weight = weight.to(sums.prob.dtype)
        hit = (weight * sums.hit).sum(1)
        size = (weight * (sums.prob + sums.count)).sum(1)
        usable = weight.sum(1) > 0  # an image with nothing to compare says nothing
        loss = torch.where(usable, 1 - _ratio(2 * hit + self.smooth, size + self.smooth), 0)
        if self.reduction == "none":
            return loss
        return loss.sum() if self.reduction == "sum" else mean_of(loss.sum(), usable.sum())


class _Binary:
    """One logit per pixel: the overlap of the foreground, from sums of sigmoid(logits).

    An image without foreground is the usual case here and must be able to cost something, hence
    other defaults: ``absent="count"`` and ``smooth=1``, so that empty and predicted empty is 0.
    """

    def __init__(
        self, *args: Any, absent: str = "count", smooth: float = 1.0, **settings: Any
    ) -> None:
        super().__init__(*args, absent=absent, smooth=smooth, **settings)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, 1, *S)`` or ``(N, *S)`` for ``target (N, *S)``."""
        logits, target = check_binary(logits, target, self.ignore_index)
        valid = (target != self.ignore_index).to(logits.dtype)
        p, t = logits.sigmoid() * valid, (target == 1).to(logits.dtype)
        each = {"prob": p, "hit": p * t, "count": t, "square": p * p, "pixels": valid}
        return self.from_sums(
            ClassSums(**{name: x.flatten(1).sum(1, keepdim=True) for name, x in each.items()})
        )


class BinaryDiceLoss(_Binary, DiceLoss):
    """`DiceLoss` of the foreground, from one logit per pixel.

    Args:
        absent: ``"count"`` here: an image (or batch) without foreground costs 1 − s / (P + s).
        smooth: 1 here, so that predicting nothing where nothing is costs 0.

    The other arguments are those of `DiceLoss`. Shape: logits (N, 1, *S) or (N, *S), target
    (N, *S) of 0, 1 and ``ignore_index`` -> scalar.
    """


class BinaryJaccardLoss(_Binary, JaccardLoss):
    """`JaccardLoss` of the foreground, from one logit per pixel; see `BinaryDiceLoss`."""


class BinaryTverskyLoss(_Binary, TverskyLoss):
    """`TverskyLoss` of the foreground, from one logit per pixel; see `BinaryDiceLoss`."""


class BinaryFocalTverskyLoss(_Binary, FocalTverskyLoss):
    """`FocalTverskyLoss` of the foreground, one logit per pixel; see `BinaryDiceLoss`."""


def _over_batch(sums: ClassSums) -> ClassSums:
    """Sums of the whole batch, (1, C)."""
    return ClassSums(*(None if table is None else table.sum(0, keepdim=True) for table in sums))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient that is 0, with a gradient of 0, where the denominator is 0; NaN stays NaN."""
    usable = denominator != 0
    return torch.where(usable, numerator, 0) / torch.where(usable, denominator, 1)
