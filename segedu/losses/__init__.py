"""Losses: ``loss(logits (N, C, *S), target (N, *S)) -> scalar``, 2-D and 3-D by the same code."""

from segedu.losses._inputs import check_labels
from segedu.losses.combine import AuxiliaryLoss, CombinedLoss
from segedu.losses.cross_entropy import CrossEntropyLoss
from segedu.losses.region import DiceLoss

__all__ = [
    "AuxiliaryLoss",
    "CombinedLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "check_labels",
]
