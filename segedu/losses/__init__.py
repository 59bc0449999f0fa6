"""Losses: ``loss(logits (N, C, *S), target (N, *S)) -> scalar``, 2-D and 3-D by the same code."""

from segedu.losses._inputs import check_labels
from segedu.losses.boundary import BoundaryLoss, HausdorffDTLoss
from segedu.losses.combine import AuxiliaryLoss, CombinedLoss
from segedu.losses.cross_entropy import BinaryCrossEntropyLoss, CrossEntropyLoss, OHEMLoss
from segedu.losses.discriminative import DiscriminativeLoss
from segedu.losses.focal import AdaptiveFocalLoss, BinaryFocalLoss, FocalLoss, SigmoidFocalLoss
from segedu.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from segedu.losses.region import (
    BinaryDiceLoss,
    BinaryFocalTverskyLoss,
    BinaryJaccardLoss,
    BinaryTverskyLoss,
    DiceLoss,
    FocalTverskyLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    TverskyLoss,
)
from segedu.losses.weak import BoxTightnessLoss, NeighborLoss, SizeConstraintLoss
from segedu.losses.weights import class_weights

__all__ = [
    "AdaptiveFocalLoss",
    "AuxiliaryLoss",
    "BinaryCrossEntropyLoss",
    "BinaryDiceLoss",
    "BinaryFocalLoss",
    "BinaryFocalTverskyLoss",
    "BinaryJaccardLoss",
    "BinaryTverskyLoss",
    "BoundaryLoss",
    "BoxTightnessLoss",
    "CombinedLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "DiscriminativeLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "GeneralizedDiceLoss",
    "HausdorffDTLoss",
    "JaccardLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "NeighborLoss",
    "OHEMLoss",
    "SigmoidFocalLoss",
    "SizeConstraintLoss",
    "TverskyLoss",
    "check_labels",
    "class_weights",
]
