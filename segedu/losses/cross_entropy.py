"""Cross entropy per pixel, over all pixels or over the hard ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segedu.losses._inputs import (
    as_weight,
    check_binary,
    check_class_weight,
    check_multiclass,
    check_reduction,
    mean_of,
    weigh,
)
from segedu.losses.fused import ClassSumLoss, ClassSums, log_prob


class CrossEntropyLoss(ClassSumLoss):
    r"""Softmax cross entropy that survives a batch without a single labelled pixel.

    With the target t of a pixel and w the class weights (all 1 by default), ``"mean"`` is the
    weighted mean :math:`\sum w_t (-\log p_t) / \sum w_t` over the pixels that are not ignored, as
    in `torch.nn.functional.cross_entropy`, except that it is 0 with a gradient of 0 (and not
    NaN) when every pixel is ignored.

    Args:
        weight: one factor >= 0 for each class, see `segedu.losses.class_weights`.
        ignore_index: label of the pixels left out.
        label_smoothing: ε in [0, 1): the target becomes (1 − ε)·one-hot + ε/C (Szegedy et al. 2016,
            §7).
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (the map of shape (N, *S), 0 where ignored).

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar, or (N, *S).
    """

    tables = ("nll",)

    def __init__(
        self,
        weight: Tensor | list[float] | None = None,
        ignore_index: int = 255,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.register_buffer("weight", as_weight(weight))
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduction = check_reduction(reduction)
        # The map and the smoothed loss need more than the sums.
        self.sums_suffice = label_smoothing == 0 and reduction != "none"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        logits, target = check_multiclass(logits, target, self.ignore_index)
        check_class_weight(self.weight, logits.shape[1])
        weight = pixel_weight(target, self.weight, self.ignore_index)
        if self.label_smoothing:
            loss = self._smoothed(logits, target)
        else:
            loss = weigh(-log_prob(logits, target, self.ignore_index), weight)
        if self.reduction == "none":
            return loss
        return loss.sum() if self.reduction == "sum" else mean_of(loss.sum(), weight.sum())

    def _smoothed(self, logits: Tensor, target: Tensor) -> Tensor:
        """The weighted map: here every class has a part in the loss of a pixel."""
        return F.cross_entropy(
            logits.masked_fill((target == self.ignore_index)[:, None], 0),
            target,
            None if self.weight is None else self.weight.to(logits.dtype),
            ignore_index=self.ignore_index,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )

    def from_sums(self, sums: ClassSums) -> Tensor:
        """Return the loss from the class sums (without label smoothing)."""
        check_class_weight(self.weight, sums.nll.shape[1])
        weight = torch.ones_like(sums.nll[0]) if self.weight is None else self.weight
        loss = weigh(sums.nll, weight).sum()
        return loss if self.reduction == "sum" else mean_of(loss, (weight * sums.count).sum())


class BinaryCrossEntropyLoss(nn.Module):
    r"""Sigmoid cross entropy of one logit per pixel.

    The mean of :math:`-w_1 t \log σ(z) - w_0 (1 - t) \log(1 - σ(z))` over the pixels that are not
    ignored, divided by the sum of the weights as in `CrossEntropyLoss`, to which it is equal
    on the two-class logits (0, z).

    Args:
        weight: (w_0, w_1), factors >= 0 of background and foreground.
        ignore_index: label of the pixels left out.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Shape:
        logits (N, 1, *S) or (N, *S) float, target (N, *S) of 0 and 1 -> scalar, or (N, *S).
    """

    def __init__(
        self,
        weight: Tensor | list[float] | None = None,
        ignore_index: int = 255,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.register_buffer("weight", as_weight(weight))
        check_class_weight(self.weight, 2)
        self.ignore_index = ignore_index
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, 1, *S)`` for ``target (N, *S)``."""
        logits, target = check_binary(logits, target, self.ignore_index)
        weight = pixel_weight(target, self.weight, self.ignore_index).to(logits.dtype)
        loss = weight * F.binary_cross_entropy_with_logits(
            logits, (target == 1).to(logits.dtype), reduction="none"
        )
        if self.reduction == "none":
            return loss
        return loss.sum() if self.reduction == "sum" else mean_of(loss.sum(), weight.sum())


def pixel_weight(target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """Weight of each pixel: that of its class, 0 where it is ignored."""
    valid = target != ignore_index
    return valid if weight is None else weight[torch.where(valid, target, 0)] * valid


RULES = ("threshold", "quantile", "top_k")


class OHEMLoss(nn.Module):
    r"""Cross entropy over the hard pixels only (online hard example mining).

    Three different rules go by this name; p_t is the probability of the true class:

    - ``"threshold"``: pixels with p_t < ``threshold``, but at least the ``min_kept`` hardest of the
      batch (HRNet, Panoptic-DeepLab ports; Shrivastava et al. 2016 is the origin of the idea).
    - ``"quantile"``: pixels with p_t < ``threshold``, but at least the fraction ``min_fraction`` of
      the labelled pixels of the batch (BiSeNet ports use 1/16).
    - ``"top_k"``: the hardest ``fraction`` of the labelled pixels of **each image** (DeepLab's hard
      pixel mining, 0.2; the bootstrapped cross entropy of Wu et al. 2016 with a fixed share).

    The value is the weighted mean of the cross entropy over the pixels that were kept. The choice
    itself has no gradient. Pixels as hard as the last one kept are kept too, so the result does not
    depend on the order of pixels.

    Args:
        rule: one of the three above.
        threshold: probability in (0, 1] below which a pixel is hard.
        min_kept: least number of pixels kept by ``"threshold"``.
        min_fraction: least share of pixels kept by ``"quantile"``.
        fraction: share of pixels kept by ``"top_k"``.
        weight: one factor >= 0 for each class, applied after the choice.
        ignore_index: label of the pixels left out.

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar.
    """

    def __init__(
        self,
        rule: str = "threshold",
        *,
        threshold: float = 0.7,
        min_kept: int = 100_000,
        min_fraction: float = 1 / 16,
        fraction: float = 0.2,
        weight: Tensor | list[float] | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        if rule not in RULES:
            raise ValueError(f"rule must be one of {RULES}, got {rule!r}")
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {threshold}")
        if not min_kept >= 0:
            raise ValueError(f"min_kept must be >= 0, got {min_kept}")
        for name, share in (("min_fraction", min_fraction), ("fraction", fraction)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {share}")
        self.register_buffer("weight", as_weight(weight))
        self.rule, self.threshold, self.ignore_index = rule, threshold, ignore_index
        self.min_kept, self.min_fraction, self.fraction = min_kept, min_fraction, fraction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        loss = -log_prob(logits, target, self.ignore_index).flatten(1)  # (N, P)
        check_class_weight(self.weight, logits.shape[1])
        weight = pixel_weight(target.long().flatten(1), self.weight, self.ignore_index)
        keep = self._keep(loss.detach(), target.flatten(1) != self.ignore_index)
        weight = weight * keep
        return mean_of(weigh(loss, weight).sum(), weight.sum())

    def _keep(self, loss: Tensor, valid: Tensor) -> Tensor:
        """Mask (N, P) of the hard pixels."""
        hardness = torch.where(valid, loss, -1.0)  # ignored pixels are easier than any other
        if self.rule != "top_k":
            hardness, valid = hardness.view(1, -1), valid.view(1, -1)
        available = valid.sum(1, keepdim=True)
        if self.rule == "threshold":
            least = torch.clamp(available, max=self.min_kept)
        else:
            share = self.min_fraction if self.rule == "quantile" else self.fraction
            least = (available * share).ceil().long()
        # The loss of the last pixel that must be kept; kept on the device, so no synchronisation.
        ranked = hardness.sort(dim=1, descending=True).values
        limit = ranked.gather(1, (least - 1).clamp(min=0))
        limit = torch.where(least > 0, limit, torch.inf)
        if self.rule != "top_k":
            hard = torch.full_like(limit, -math.log(self.threshold))
            limit = torch.minimum(limit, torch.nextafter(hard, hard + 1))
        return ((hardness >= limit) & valid).view(loss.shape)
