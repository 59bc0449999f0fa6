"""Losses of single masks, and of all pairs of masks, as matching and set losses need them.

MaskFormer, Mask2Former and SAM are trained with them. Of K masks of P pixels or points each, or of
all pairs of Q predicted and M wanted ones; `segedu.losses` has the losses of label maps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - Dice of (K, P) logits and (K, P) masks -> (K,); one more pixel in both halves."""
    p = logits.sigmoid()
    return 1 - (2 * (p * masks).sum(1) + 1) / (p.sum(1) + masks.sum(1) + 1)


def pairwise_dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """`dice_loss` of each of (Q, P) logits with each of (M, P) masks -> (Q, M)."""
    p = logits.sigmoid()
    return 1 - (2 * p @ masks.T + 1) / (p.sum(1)[:, None] + masks.sum(1) + 1)


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy of (K, P) logits and (K, P) masks in [0, 1] -> (K,)."""
    return F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(1)


def pairwise_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """`cross_entropy` of each of (Q, P) logits with each of (M, P) masks -> (Q, M)."""
    total = F.softplus(-logits) @ masks.T + F.softplus(logits) @ (1 - masks).T
    return total / logits.shape[1]


def focal_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean over pixels of the focal loss (Lin et al., 2017, equation 5, alpha 1/4, gamma 2).

    (K, P) logits, (K, P) masks of 0 and 1 -> (K,). In terms of how wrong a logit is, minus itself
    inside the mask, both cases are one formula.
    """
    wrong = torch.where(masks > 0, -logits, logits)
    weight = 0.75 - 0.5 * masks
    return (weight * _focal(wrong)).mean(1)


def pairwise_focal_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """`focal_loss` of each of (Q, P) logits with each of (M, P) masks -> (Q, M)."""
    total = 0.25 * _focal(-logits) @ masks.T + 0.75 * _focal(logits) @ (1 - masks).T
    return total / logits.shape[1]


def _focal(wrong: Tensor) -> Tensor:
    return wrong.sigmoid().square() * F.softplus(wrong)
