"""Losses that weigh pixels by their distance from a boundary."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segedu.losses._inputs import check_multiclass, check_non_negative, check_reduction, mean_of
from segedu.ops.distance import distance_transform


class _DistanceLoss(nn.Module):
    """Mean over labelled pixels and classes of a per-pixel, per-class cost."""

    def __init__(
        self, ignore_index: int = 255, include_background: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.include_background = include_background
        self.reduction = check_reduction(reduction)

    def cost(self, p: Tensor, onehot: Tensor) -> Tensor:
        """Cost (N, K, *S) of probabilities and targets (N, K, *S)."""
        raise NotImplementedError

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        logits, target = check_multiclass(logits, target, self.ignore_index)
        first = 0 if self.include_background else 1
        if logits.shape[1] <= first:
            raise ValueError(
                f"logits must have more than {first} class(es) here, got {logits.shape[1]}"
            )
        classes = torch.arange(first, logits.shape[1], device=target.device)
        onehot = target[:, None] == classes.view(-1, *[1] * (target.ndim - 1))  # (N, K, *S)
        valid = (target != self.ignore_index)[:, None]  # (N, 1, *S)
        logits = logits.masked_fill(~valid, 0)
        p = logits.softmax(1)[:, first:] * valid  # an ignored pixel is outside of every class
        loss = self.cost(p, onehot) * valid
        if self.reduction == "none":
            return loss
        if self.reduction == "sum":
            return loss.sum()
        return mean_of(loss.sum(), valid.sum() * len(classes))


class BoundaryLoss(_DistanceLoss):
    """Boundary loss: mean of p_c φ_c, φ_c the signed distance to class c (Kervadec et al. 2019).

    φ_c is the distance to the nearest pixel of c outside of it, and inside of it minus (the
    distance to the nearest pixel that is not c, minus 1), so that boundary pixels themselves have
    φ = 0 (the authors' code). Where an image has no pixel of c, or only such, φ_c = 0. The loss can
    be negative, and is meant to be added to a region loss with a weight that grows (paper, §2.2).

    Args:
        ignore_index: label of the pixels left out; they are not of any class for φ either.
        include_background: class 0 takes part.
        reduction: ``"mean"`` over labelled pixels and classes, ``"sum"`` or ``"none"``: (N, K, *S).

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar. The distances of a CPU target are
        computed by SciPy.
    """

    def cost(self, p: Tensor, onehot: Tensor) -> Tensor:
        """Probability times signed distance."""
        return p * signed_distance(onehot).to(p.dtype)


class HausdorffDTLoss(_DistanceLoss):
    r"""Distance-transform surrogate of the Hausdorff distance (Karimi & Salcudean 2019, Eq. 8).

    Mean of :math:`(p_c - [t = c])^2 (d_{p}^α + d_{t}^α)`, where d is the distance of a pixel to the
    boundary of the prediction (p_c > 0.5) and of the target. The distances carry no gradient; a
    class that is nowhere or everywhere in an image has distance 0 there.

    Args:
        alpha: exponent α > 0, 2 in the paper.
        ignore_index: label of the pixels left out; they count as outside of every class.
        include_background: class 0 takes part.
        reduction: ``"mean"`` over labelled pixels and classes, ``"sum"`` or ``"none"``: (N, K, *S).

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        ignore_index: int = 255,
        include_background: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(ignore_index, include_background, reduction)
        if not alpha > 0:
            raise ValueError(f"alpha must be > 0, got {alpha}")
        self.alpha = check_non_negative("alpha", alpha)

    def cost(self, p: Tensor, onehot: Tensor) -> Tensor:
        """Squared error times distances."""
        distance = boundary_distance(p.detach() > 0.5) ** self.alpha
        distance = distance + boundary_distance(onehot) ** self.alpha
        return (p - onehot.to(p.dtype)) ** 2 * distance.to(p.dtype)


def signed_distance(masks: Tensor) -> Tensor:
    """φ of `BoundaryLoss` for masks (N, K, *S): float64, negative inside, 0 on the edge."""
    return _each(masks, lambda m: distance_transform(~m) - (distance_transform(m) - 1) * m)


def boundary_distance(masks: Tensor) -> Tensor:
    """Distance to the other side of the boundary for masks (N, K, *S): float64, > 0."""
    return _each(masks, lambda m: distance_transform(m) + distance_transform(~m))


def _each(masks: Tensor, field: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply ``field`` to each mask that has a boundary; the others get 0."""
    out = torch.zeros(masks.shape, dtype=torch.float64, device=masks.device)
    for place, mask in zip(out.flatten(0, 1), masks.flatten(0, 1), strict=True):
        if mask.any() and not mask.all():
            place.copy_(field(mask))
    return out
