"""Metrics of semantic segmentation, all read off one confusion matrix."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segedu.metrics.base import UNITS, Metric
from segedu.metrics.counts import runs, scatter_counts
from segedu.metrics.labels import NOT_A_NUMBER, label_maps

ABSENT = {"skip": float("nan"), "zero": 0.0, "one": 1.0}


class SemanticMetrics(Metric):
    r"""Streaming pixel accuracy, mean accuracy, IoU and Dice over a whole data set.

    One matrix of counts M is the state: M[i, j] pixels of class i were called class j. The numbers
    therefore do not depend on how the data set was cut into batches (Long et al. 2015, §5, for the
    definitions; Dice = 2 IoU / (1 + IoU)).

    Args:
        num_classes: C.
        ignore_index: label of the pixels left out.
        absent: what a class that occurs neither in the targets nor in the predictions scores:
            ``"skip"`` gives NaN and leaves it out of the means, ``"zero"`` 0, ``"one"`` 1. A class
            that is predicted but never there scores an IoU of 0 in every case. ``mean_accuracy`` is
            over the classes that occur in the targets, the others being governed by the same rule.
        per_image: also average over images: ``image_mean_iou`` and ``image_mean_dice`` are means
            over the images of the mean over the classes that occur in the image (absent classes
            are always skipped here). These depend on nothing but the images either.
        boundary: also give ``boundary_iou`` (C,) and ``mean_boundary_iou`` (Cheng et al. 2021,
            Eq. 2, counts summed over the data set): the IoU of the pixels of each region that are
            within d = max(1, round(boundary · image diagonal)) of its edge, 0.02 in the paper.
            Ignored pixels belong to no region; beyond the frame there is none.

    The state lives on the device of the first input; ``update`` reads nothing back from a GPU, so
    labels out of range raise at once on the CPU and in ``compute`` after a GPU.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        absent: str = "skip",
        per_image: bool = False,
        boundary: float | None = None,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if 0 <= ignore_index < num_classes:
            raise ValueError(
                f"ignore_index must not be a class (0..{num_classes - 1}), got {ignore_index}"
            )
        if absent not in ABSENT:
            raise ValueError(f"absent must be one of {tuple(ABSENT)}, got {absent!r}")
        if boundary is not None and not 0 < boundary < 1:
            raise ValueError(f"boundary must be a share of the diagonal in (0, 1), got {boundary}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.absent = absent
        self.per_image = per_image
        self.boundary = boundary
        super().__init__()

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            pred: labels (N, *S), any integer type, or logits (N, C, *S), whose argmax is taken.
            target: labels (N, *S) in [0, C) or ``ignore_index``, any integer type.

        Raises:
            TypeError: the target is not of an integer type.
            ValueError: shapes or devices differ, or (on the CPU here, after a GPU in ``compute``) a
                label is out of range or a logit NaN.
        """
        pred, unknown = label_maps(pred, target, self.num_classes)
        self._refuse(unknown, NOT_A_NUMBER)
        if len(target) == 0:
            return
        groups = zip(pred, target, strict=True) if self.per_image else [(pred, target)]
        # (C + 1, C + 1) for each group; the last row and column count labels out of range
        counts = torch.stack([self._count(p.flatten(), t.flatten()) for p, t in groups])
        if not counts.is_cuda:
            self._check_range(counts.sum(0))
        sums = {"counts": counts.sum(0)}
        if self.per_image:
            sums["images"] = _image_sums(counts[:, :-1, :-1])
        if self.boundary is not None:
            sums["boundary"] = self._boundary_counts(pred, target)
        self._add(**sums)

    def _count(self, pred: Tensor, target: Tensor) -> Tensor:
        """Counts (C + 1, C + 1) of two flat label maps.

        Nothing is ever compacted, which costs several times a count: ignored pixels go to one more
        row, which is dropped at the end.
        """
        c = self.num_classes
        size = (c + 2) * (c + 1)
        if pred.is_cuda:
            counts = scatter_counts(self._keys(pred, target, torch), size)
        else:
            total = np.zeros(size)
            for p, t, length in runs(pred.numpy(), target.numpy()):
                total += np.bincount(self._keys(p, t, np), weights=length, minlength=size)
            counts = torch.from_numpy(total.astype(np.int64))
        return counts.view(c + 2, c + 1)[: c + 1]

    def _keys(self, pred: Any, target: Any, xp: ModuleType) -> Any:
        """Cell of each pixel in the counts, for arrays of ``numpy`` or ``torch`` (``xp``)."""
        c = self.num_classes
        pred, target = (xp.asarray(x, dtype=xp.int64) for x in (pred, target))
        row = xp.where((target >= 0) & (target < c), target, c)
        row = xp.where(target == self.ignore_index, c + 1, row)
        return row * (c + 1) + xp.where((pred >= 0) & (pred < c), pred, c)

    def _check_range(self, counts: Tensor) -> None:
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

    def _boundary_counts(self, pred: Tensor, target: Tensor) -> Tensor:
        """Intersection and union (2, C) of the boundary pixels of each class."""
        diagonal = sum(side**2 for side in target.shape[1:]) ** 0.5
        distance = max(1, round(self.boundary * diagonal))
        pred = torch.where(target == self.ignore_index, self.ignore_index, pred.long())
        counts = []
        for c in range(self.num_classes):
            p, t = (boundary_region(x == c, distance) for x in (pred, target))
            counts.append(torch.stack([(p & t).sum(), (p | t).sum()]))
        return torch.stack(counts, 1)

    @property
    def confusion_matrix(self) -> Tensor:
        """Counts (C, C), int64: row = target, column = prediction."""
        c = self.num_classes
        if not self._sums:
            return torch.zeros(c, c, dtype=torch.int64)
        return self._sums["counts"][:c, :c]

    def compute(self) -> dict[str, Any]:
        """Read the numbers.

        Returns:
            ``pixel_accuracy``, ``mean_accuracy``, ``mean_iou``, ``frequency_weighted_iou``: floats
            in [0, 1] (NaN if nothing was counted); ``iou``, ``dice``: float64 (C,);
            ``confusion_matrix``: int64 (C, C), row = target. Tensors are on the CPU. Where they
            were asked for, ``image_mean_iou`` and ``image_mean_dice``, ``boundary_iou`` (C,) and
            ``mean_boundary_iou``. ``per_class``: class -> ``iou``, ``dice``, (``boundary_iou``,)
            ``accuracy`` (share of the target's pixels that were found, recall), ``precision``
            (share of the predicted pixels that were right) and ``pixels`` of the target.

        Raises:
            ValueError: a label met on a GPU was out of range, or a logit NaN.
        """
        self._check()
        sums = {name: value.cpu() for name, value in self._sums.items()}
        if sums:
            self._check_range(sums["counts"])
        matrix = self.confusion_matrix.cpu()
        hit, in_target, in_pred = _margins(matrix.double())
        pixels = in_target.sum()
        present = in_target > 0
        iou = self._score(hit, in_target + in_pred - hit)
        accuracy = self._score(hit, in_target)
        classes = {"iou": iou, "dice": self._score(2 * hit, in_target + in_pred)}
        result = {
            "pixel_accuracy": (hit.sum() / pixels).item(),
            "mean_accuracy": accuracy.nanmean().item(),
            "mean_iou": iou.nanmean().item(),
            "frequency_weighted_iou": ((in_target * iou)[present].sum() / pixels).item(),
        }
        if self.per_image:
            *means, images = sums.get("images", torch.zeros(3)).double()
            for name, mean in zip(("image_mean_iou", "image_mean_dice"), means, strict=True):
                result[name] = (mean / images / UNITS).item()
        if self.boundary is not None:
            both, union = sums.get("boundary", torch.zeros(2, self.num_classes)).double()
            classes["boundary_iou"] = self._score(both, union)
            result["mean_boundary_iou"] = classes["boundary_iou"].nanmean().item()
        rows = classes | {"accuracy": accuracy, "precision": self._score(hit, in_pred)}
        per_class = {
            c: {name: column[c].item() for name, column in rows.items()}
            | {"pixels": int(in_target[c])}
            for c in range(self.num_classes)
        }
        return result | classes | {"confusion_matrix": matrix, "per_class": per_class}

    def _score(self, part: Tensor, whole: Tensor) -> Tensor:
        """``part / whole`` with the absent-class rule where there is no whole."""
        return torch.where(whole > 0, part / whole, ABSENT[self.absent])


def _image_sums(matrices: Tensor) -> Tensor:
    """Sums over images (N, C, C) of their mean IoU and Dice in UNITS, and their number: (3,)."""
    hit, in_target, in_pred = _margins(matrices.double())
    both = in_target + in_pred
    union = both - hit
    classes = (union > 0).sum(1)

    def mean(part: Tensor, whole: Tensor) -> Tensor:
        return (part / whole.clamp(min=1)).sum(1) / classes.clamp(min=1)

    sums = torch.stack([mean(hit, union) * UNITS, mean(2 * hit, both) * UNITS, classes > 0])
    return sums.round().long().sum(1)


def score(
    pred: Tensor | np.ndarray,
    target: Tensor | np.ndarray,
    num_classes: int,
    ignore_index: int = 255,
    **settings: Any,
) -> dict[str, Any]:
    """Scores of label maps in one call; over many batches use `SemanticMetrics`.

    Args:
        pred: labels (H, W) of one image or (N, *S) of several, any integer type or bool, or logits
            (C, H, W) or (N, C, *S), whose argmax is taken.
        target: labels (H, W) or (N, *S) in [0, C) or ``ignore_index``.
        num_classes: C.
        ignore_index: label of the pixels left out.
        **settings: ``absent``, ``per_image`` or ``boundary`` of `SemanticMetrics`.

    Returns:
        What `SemanticMetrics.compute` returns.

    Raises:
        TypeError, ValueError: as `SemanticMetrics.update`.

    Example:
        >>> found = score(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 1]]), num_classes=2)
        >>> found["mean_iou"], found["iou"].tolist()
        (0.5, [0.5, 0.5])
    """
    pred, target = torch.as_tensor(pred), torch.as_tensor(target)
    if target.ndim == 2:
        pred, target = pred[None], target[None]
    metric = SemanticMetrics(num_classes, ignore_index, **settings)
    metric.update(pred, target)
    return metric.compute()


def region_areas(labels: Tensor) -> Tensor:
    """Area of the region that each pixel is in: its neighbours of the same label, and theirs.

    With it scores are told apart by the size of the objects. The ignored label keeps the other
    pixels out of the count, so the score is about the pixels of small objects, and not about what
    was drawn around them:

        >>> target = torch.tensor([[[1, 0, 0, 0], [0, 0, 1, 1]]])
        >>> areas = region_areas(target)
        >>> areas.tolist()
        [[[1, 5, 5, 5], [5, 5, 2, 2]]]
        >>> small = torch.where(areas < 2, target, 255)
        >>> score(torch.zeros_like(target), small, num_classes=2)["iou"].tolist()
        [0.0, 0.0]

    Args:
        labels: integers or bool (N, *S), on the CPU; pixels that share a side are neighbours.

    Returns:
        int64 (N, *S), in pixels.

    Raises:
        ValueError: labels are not (N, *S) of an integer type.
    """
    from scipy.ndimage import label

    if labels.ndim < 2 or labels.is_floating_point():
        raise ValueError(
            f"labels must be integer (N, ...), got {labels.dtype} {tuple(labels.shape)}"
        )
    areas = torch.zeros(labels.shape, dtype=torch.int64)
    for area, image in zip(areas.numpy(), labels.numpy(), strict=True):
        for value in np.unique(image):
            regions, _ = label(image == value)  # 0 outside, then 1, 2, ...
            inside = regions > 0
            area[inside] = np.bincount(regions.ravel())[regions[inside]]
    return areas


def boundary_region(mask: Tensor, distance: int) -> Tensor:
    """Pixels of bool masks (N, *S), 2-D or 3-D, at most ``distance`` steps inside their edge.

    A step goes to one of the 8 (26) neighbours; beyond the frame nothing belongs to the mask.
    """
    outside = F.pad(~mask, [distance] * (2 * (mask.ndim - 1)), value=True)
    for axis in range(1, mask.ndim):  # a box is reached one axis after the other
        outside = outside.unfold(axis, 2 * distance + 1, 1).any(-1)
    return mask & outside


def _margins(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Diagonal, row sums and column sums of matrices (..., C, C)."""
    return matrix.diagonal(dim1=-2, dim2=-1), matrix.sum(-1), matrix.sum(-2)
