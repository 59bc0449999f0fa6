"""Label maps as metrics take them: labels, or logits whose argmax is meant."""

from __future__ import annotations

import torch
from torch import Tensor

NOT_A_NUMBER = "logits must not be NaN: the input or the weights of the network hold NaN"


def label_maps(pred: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Labels (N, *S) that fit the target, and where a logit is NaN: bool, (N, *S) or ().

    Args:
        pred: labels (N, *S) of any integer type or bool, or logits (N, num_classes, *S).
        target: labels (N, *S) of any integer type or bool.
        num_classes: C.

    Raises:
        TypeError: the target is not of an integer type.
        ValueError: shapes or devices differ.
    """
    if target.is_floating_point():
        raise TypeError(f"target must hold integer labels, got {target.dtype}")
    unknown = torch.zeros((), dtype=torch.bool, device=pred.device)
    if pred.is_floating_point():
        check_logits(pred, target, num_classes)
        largest, pred = pred.max(1)  # NaN is larger than any number
        unknown = largest.isnan()
    if pred.shape != target.shape:
        raise ValueError(
            "pred and target must have the same shape, "
            f"got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    if pred.device != target.device:
        raise ValueError(f"pred is on {pred.device} but target is on {target.device}")
    return pred, unknown


def check_logits(logits: Tensor, target: Tensor, num_classes: int) -> None:
    """Raise ``ValueError`` unless ``logits`` are (N, num_classes, *S) for a target (N, *S)."""
    shape = (*target.shape[:1], num_classes, *target.shape[1:])
    if logits.shape != shape:
        raise ValueError(
            f"logits must be (N, {num_classes}, ...) for a target of shape "
            f"{tuple(target.shape)}, got {tuple(logits.shape)}"
        )
