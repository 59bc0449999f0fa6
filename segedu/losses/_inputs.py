"""What every loss does first: check its arguments and leave half precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from segedu.ops.precision import full_precision

REDUCTIONS = ("mean", "sum", "none")

_check_labels_on_cuda = os.environ.get("SEGEDU_CHECK_LABELS", "0") == "1"


@contextmanager
def check_labels(enabled: bool = True) -> Iterator[None]:
    """Switch the label range check on CUDA tensors on (or off) inside a ``with`` block.

    On the CPU labels are always checked. On CUDA reading the minimum and maximum back would stop
    the host once per loss, so by default a label outside ``[0, num_classes)`` only trips the
    device-side assertion of the gather that meets it. Inside ``with check_labels():``, or with the
    environment variable ``SEGEDU_CHECK_LABELS=1``, it is a ``ValueError`` that names the labels.
    """
    global _check_labels_on_cuda
    before, _check_labels_on_cuda = _check_labels_on_cuda, enabled
    try:
        yield
    finally:
        _check_labels_on_cuda = before


def check_non_negative(name: str, value: float) -> float:
    """Return ``value`` as a float if it is finite and >= 0, else raise ``ValueError``."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be >= 0 and finite, got {value}")
    return float(value)


def check_reduction(reduction: str) -> str:
    """Return ``reduction`` if it is a known one, else raise ``ValueError``."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    return reduction


def check_tensor(output: Tensor, name: str = "logits") -> None:
    """Raise ``TypeError`` unless a network's output is one tensor."""
    if not isinstance(output, Tensor):
        outputs = f" of {len(output)} outputs" if isinstance(output, tuple | list) else ""
        raise TypeError(
            f"{name} must be a tensor, got a {type(output).__name__}{outputs}; a network with "
            "several outputs in training needs AuxiliaryLoss(loss, weights)"
        )


def _check_types(logits: Tensor, target: Tensor) -> None:
    check_tensor(logits)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point, got {logits.dtype}")
    if target.is_floating_point() or target.dtype == torch.bool:
        raise TypeError(f"target must hold integer class indices, got {target.dtype}")
    if logits.device != target.device:
        raise ValueError(
            f"logits are on {logits.device} and target is on {target.device}: move one of them"
        )
    if logits.numel() == 0:
        raise ValueError(f"logits must hold at least one pixel, got {tuple(logits.shape)}")


def check_multiclass(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Check ``logits (N, C, *S)`` against ``target (N, *S)``.

    Returns:
        The logits in at least float32 and the target as int64.

    Raises:
        TypeError: logits are not floating point or the target is not an integer tensor.
        ValueError: the shapes do not fit, or a label is neither a class nor ``ignore_index``.
    """
    _check_types(logits, target)
    if logits.ndim < 2 or target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            "logits must be (N, C, ...) and target (N, ...) with the same N and spatial size, "
            f"got logits {tuple(logits.shape)} and target {tuple(target.shape)}"
        )
    target = target.long()
    check_label_range(target, logits.shape[1], ignore_index)
    return full_precision(logits), target


def check_binary(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Check ``logits (N, 1, *S)`` or ``(N, *S)`` against ``target (N, *S)`` of 0, 1 and ignored.

    Returns:
        Logits, 0 where ignored, and target, both (N, *S), in at least float32 and int64.

    Raises:
        TypeError, ValueError: as `check_multiclass`.
    """
    check_tensor(logits)
    if logits.ndim == target.ndim + 1 and logits.shape[1] == 1:
        logits = logits[:, 0]
    if logits.shape != target.shape:
        raise ValueError(
            "logits must be (N, 1, ...) or (N, ...) and target (N, ...) of the same size, "
            f"got logits {tuple(logits.shape)} and target {tuple(target.shape)}"
        )
    target = target.long() if target.dtype == torch.bool else target
    _check_types(logits, target)
    target = target.long()
    check_label_range(target, 2, ignore_index)
    # A product with a mask would leave NaN of an infinite logit.
    return full_precision(logits).masked_fill(target == ignore_index, 0), target


def check_label_range(target: Tensor, num_classes: int, ignore_index: int) -> None:
    """Raise ``ValueError`` naming the labels that are no class (see `check_labels`)."""
    if target.numel() == 0 or (target.is_cuda and not _check_labels_on_cuda):
        return
    smallest, largest = target.aminmax()
    if smallest >= 0 and largest < num_classes:
        return
    bad = ((target < 0) | (target >= num_classes)) & (target != ignore_index)
    if bad.any():
        values = target[bad].unique().tolist()
        shown = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
        raise ValueError(
            f"target holds labels that are no class: {shown}; "
            f"allowed are 0..{num_classes - 1} and ignore_index={ignore_index}"
        )


def weigh(loss: Tensor, weight: Tensor) -> Tensor:
    """``weight * loss``, and 0 where an infinite loss has the weight 0, which would give NaN."""
    return weight * loss.masked_fill((weight == 0) & loss.isinf(), 0)


def mean_of(total: Tensor, weight: Tensor) -> Tensor:
    """``total / weight``, but 0 with a gradient of 0 where there is no weight at all."""
    return total / torch.where(weight > 0, weight, 1)


def check_class_weight(weight: Tensor | None, num_classes: int) -> None:
    """Raise ``ValueError`` unless ``weight`` is ``None`` or has one entry for every class."""
    if weight is not None and weight.shape != (num_classes,):
        raise ValueError(
            f"weight must have one entry for each of the {num_classes} classes, "
            f"got shape {tuple(weight.shape)}"
        )


def as_weight(weight: Tensor | list[float] | None) -> Tensor | None:
    """A class-weight vector as a float32 tensor, fit for ``register_buffer``."""
    if weight is None:
        return None
    weight = torch.as_tensor(weight, dtype=torch.float32)
    if weight.ndim != 1 or not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()):
        raise ValueError(f"weight must be a vector of finite numbers >= 0, got {weight}")
    return weight
