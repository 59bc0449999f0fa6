"""Metrics of semantic segmentation, all read off one confusion matrix."""

from __future__ import annotations

import torch
from torch import Tensor

ABSENT = ("skip", "zero", "one")


class SemanticMetrics:
    r"""Streaming pixel accuracy, mean accuracy, IoU and Dice over a whole data set.

    One matrix of counts M is all the state: M[i, j] pixels of class i were called class j. The
    numbers therefore do not depend on how the data set was cut into batches (Long et al. 2015, §5
    for the definitions; Dice = 2 IoU / (1 + IoU)).

    Args:
        num_classes: C.
        ignore_index: label of the pixels left out.
        absent: what a class that occurs neither in the targets nor in the predictions scores:
            ``"skip"`` gives NaN and leaves it out of the means, ``"zero"`` 0, ``"one"`` 1. A class
            that is predicted but never there scores an IoU of 0 in every case. ``mean_accuracy`` is
            over the classes that occur in the targets, the others being governed by the same rule.

    The state lives on the device of the first input; ``update`` reads nothing back from a GPU, so
    labels out of range raise at once on the CPU and in ``compute`` after a GPU.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, *, absent: str = "skip") -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if 0 <= ignore_index < num_classes:
            raise ValueError(
                f"ignore_index must not be a class (0..{num_classes - 1}), got {ignore_index}"
            )
        if absent not in ABSENT:
            raise ValueError(f"absent must be one of {ABSENT}, got {absent!r}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.absent = absent
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        # The last row and column count labels out of range; they must stay empty.
        self._counts: Tensor | None = None

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            pred: labels (N, *S), any integer type, or logits (N, C, *S), whose argmax is taken.
            target: labels (N, *S) in [0, C) or ``ignore_index``.

        Raises:
            TypeError: a label tensor is not of an integer type.
            ValueError: shapes or devices differ, or (on the CPU) a label is out of range.
        """
        if pred.is_floating_point():
            if pred.ndim != target.ndim + 1 or pred.shape[1] != self.num_classes:
                raise ValueError(
                    f"logits must be (N, {self.num_classes}, ...) for a target of shape "
                    f"{tuple(target.shape)}, got {tuple(pred.shape)}"
                )
            pred = pred.argmax(1)
        if target.is_floating_point():
            raise TypeError(f"target must hold integer labels, got {target.dtype}")
        if pred.shape != target.shape:
            raise ValueError(
                "pred and target must have the same shape, "
                f"got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        if pred.device != target.device:
            raise ValueError(f"pred is on {pred.device} but target is on {target.device}")
        counts = self._count(pred.flatten(), target.flatten())
        if not counts.is_cuda:
            self._check(counts)
        self._counts = counts if self._counts is None else self._counts + counts

    def _count(self, pred: Tensor, target: Tensor) -> Tensor:
        """Counts (C + 1, C + 1) of two flat label maps; row and column C hold invalid labels."""
        c = self.num_classes
        # Nothing is ever compacted: ignored pixels go to one more row, which is then dropped.
        valid_target = (target >= 0) & (target < c)
        row = torch.where(valid_target, target.long(), c)
        row = torch.where(target == self.ignore_index, c + 1, row)
        column = torch.where((pred >= 0) & (pred < c), pred.long(), c)
        keys = row * (c + 1) + column
        size = (c + 2) * (c + 1)
        counts = torch.zeros(size, dtype=torch.int64, device=keys.device)
        one = torch.ones((), dtype=torch.int64, device=keys.device)
        # scatter_add and not bincount, which reads the largest key back to the host
        counts.scatter_add_(0, keys, one.expand_as(keys))
        return counts.view(c + 2, c + 1)[: c + 1]

    def _check(self, counts: Tensor) -> None:
        bad_targets, bad_preds = int(counts[-1].sum()), int(counts[:-1, -1].sum())
        if bad_targets:
            raise ValueError(
                f"target has {bad_targets} pixels whose label is neither a class "
                f"(0..{self.num_classes - 1}) nor ignore_index={self.ignore_index}"
            )
        if bad_preds:
            raise ValueError(
                f"pred has {bad_preds} pixels whose label is no class (0..{self.num_classes - 1})"
            )

    def merge(self, other: SemanticMetrics) -> SemanticMetrics:
        """Add the counts of another instance, for example of another process; returns ``self``."""
        if (self.num_classes, self.ignore_index) != (other.num_classes, other.ignore_index):
            raise ValueError(
                "merge needs the same num_classes and ignore_index, got "
                f"{(other.num_classes, other.ignore_index)} for "
                f"{(self.num_classes, self.ignore_index)}"
            )
        if other._counts is not None:
            mine = self._counts
            self._counts = (
                other._counts.clone() if mine is None else mine + other._counts.to(mine.device)
            )
        return self

    @property
    def confusion_matrix(self) -> Tensor:
        """Counts (C, C), int64: row = target, column = prediction."""
        c = self.num_classes
        if self._counts is None:
            return torch.zeros(c, c, dtype=torch.int64)
        return self._counts[:c, :c]

    def compute(self) -> dict[str, float | Tensor]:
        """Read the numbers.

        Returns:
            ``pixel_accuracy``, ``mean_accuracy``, ``mean_iou``, ``frequency_weighted_iou``: floats
            in [0, 1] (NaN if nothing was counted); ``iou``, ``dice``: float64 (C,);
            ``confusion_matrix``: int64 (C, C), row = target. Tensors are on the CPU.

        Raises:
            ValueError: a label met on a GPU was out of range.
        """
        if self._counts is not None:
            self._check(self._counts)
        matrix = self.confusion_matrix.cpu()
        m = matrix.double()
        hit, in_target, in_pred = m.diag(), m.sum(1), m.sum(0)
        union = in_target + in_pred - hit
        iou = self._score(hit, union)
        dice = self._score(2 * hit, in_target + in_pred)
        accuracy = self._score(hit, in_target)
        present = in_target > 0
        return {
            "pixel_accuracy": (hit.sum() / m.sum()).item(),
            "mean_accuracy": accuracy.nanmean().item(),
            "mean_iou": iou.nanmean().item(),
            "frequency_weighted_iou": (((in_target * iou)[present].sum() / m.sum()).item()),
            "iou": iou,
            "dice": dice,
            "confusion_matrix": matrix,
        }

    def _score(self, part: Tensor, whole: Tensor) -> Tensor:
        """``part / whole`` with the absent-class rule where there is no whole."""
        empty = {"skip": float("nan"), "zero": 0.0, "one": 1.0}[self.absent]
        return torch.where(whole > 0, part / whole, empty)
