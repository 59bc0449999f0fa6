"""Cross entropy per pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segedu.losses._inputs import (
    as_weight,
    check_class_weight,
    check_multiclass,
    check_reduction,
)


class CrossEntropyLoss(nn.Module):
    r"""Softmax cross entropy that survives a batch without a single labelled pixel.

    With the target t of a pixel and w the class weights (all 1 by default), ``"mean"`` is the
    weighted mean :math:`\sum w_t (-\log p_t) / \sum w_t` over the pixels that are not ignored, as
    in :func:`torch.nn.functional.cross_entropy`, except that it is 0 with a gradient of 0 (and not
    NaN) when every pixel is ignored.

    Args:
        weight: one factor >= 0 for each class, see :func:`segedu.losses.class_weights`.
        ignore_index: label of the pixels left out.
        label_smoothing: ε in [0, 1): the target becomes (1 − ε)·one-hot + ε/C (Szegedy et al. 2016,
            §7).
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (the map of shape (N, *S), 0 where ignored).

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar, or (N, *S).
    """

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

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        logits, target = check_multiclass(logits, target, self.ignore_index)
        check_class_weight(self.weight, logits.shape[1])
        weight = None if self.weight is None else self.weight.to(logits.dtype)
        loss = F.cross_entropy(
            logits,
            target,
            weight,
            ignore_index=self.ignore_index,
            reduction="none" if self.reduction == "none" else "sum",
            label_smoothing=self.label_smoothing,
        )
        if self.reduction != "mean":
            return loss
        valid = target != self.ignore_index
        if weight is None:
            total = valid.sum()
        else:
            total = (weight[torch.where(valid, target, 0)] * valid).sum()
        # A sum of nothing is 0, and 0/1 keeps both the value and the gradient at 0.
        return loss / torch.where(total > 0, total, 1)
