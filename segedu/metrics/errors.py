"""What keeps an average precision low: each error has one kind, and a price in AP50.

After TIDE, Bolya et al. (2020), "TIDE: A general toolbox for identifying object detection errors",
section 2. A detection is right if it takes an object of its class with an IoU of at least 0.5, as
in `AveragePrecision`. Of the others:

- ``location``: right class, IoU between 0.1 and 0.5;
- ``class``: IoU of at least 0.5 with an object of another class;
- ``duplicate``: right class, IoU of at least 0.5, but a better detection has the object;
- ``background``: IoU of at most 0.1 with every object;
- ``both``: the rest, an IoU between 0.1 and 0.5 with objects of other classes only.

Where two would do, the first of this list counts, as in the authors' code. An object is ``missed``
if no detection takes it and no error of location or class lies on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from segedu.metrics.instance import IOU_THRESHOLDS, InstanceMetric, Pool, match, precision_curves

KINDS = ("class", "location", "both", "duplicate", "background", "missed")
CLASS, LOCATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(KINDS))
RIGHT, IGNORED, MENDABLE = len(KINDS), len(KINDS) + 1, len(KINDS) + 2
_NAMES = np.array([*KINDS, "right", "ignored", "mendable"])
FOREGROUND, NEAR = IOU_THRESHOLDS[0], 0.1


class ErrorBudget(InstanceMetric):
    """Kinds of errors of instance masks or boxes, and what AP50 would gain without each kind.

    Update as `AveragePrecision`, with the same dicts. Mended alone,

    - an error of class or location becomes right, unless its object is taken or a detection of
      higher score and the same kind lies on it: then it goes;
    - the other wrong detections go;
    - missed objects count no longer.

    The gains do not add up to what is missing: one error can hide another. Crowds are no objects;
    what they excuse, and what is beyond the best 100 of an image and class, counts for nothing.

    Args:
        iou_type: ``"segm"`` compares masks, ``"bbox"`` boxes.

    Differs from the authors' code where errors of class and of location lie on one object: there
    only the one of higher score is ever mended, here each when its kind is.
    """

    @staticmethod
    def _compared(labels: Tensor, target_labels: Tensor) -> Tensor:
        return torch.ones_like(labels[:, None] == target_labels)

    def compute(self) -> dict[str, Any]:
        """Read the numbers.

        Returns:
            ``AP50``, as of `AveragePrecision`; ``gain_class``, ``gain_location``, ``gain_both``,
            ``gain_duplicate``, ``gain_background``, ``gain_missed``: what would be added to it; all
            in [0, 1], NaN where there is no object to find. ``counts``: how many detections are
            ``right`` and how many errors there are of each kind. ``per_class``: label -> its
            ``AP50`` and counts; an error belongs to the class that was said, a missed object to its
            own.

        Raises:
            ValueError: what ``update`` could not refuse on a GPU.
        """
        return _Budget(self._columns()).summary()

    def kinds(self) -> list[dict[str, list[str]]]:
        """Say of each detection and object what it is, image by image, in the order given.

        Returns:
            ``detections``: ``"right"``, a kind of error, or ``"ignored"``; ``targets``: ``"right"``
            if it is taken, ``"missed"``, ``"mendable"`` if an error of class or location lies on
            it, or ``"ignored"``.
        """
        budget = _Budget(self._columns())
        kind = np.empty_like(budget.kind)
        kind[budget.pool.order] = budget.kind
        images = zip(budget.split(kind, 0), budget.split(budget.target_kind, 1), strict=True)
        return [
            {"detections": _NAMES[d].tolist(), "targets": _NAMES[t].tolist()} for d, t in images
        ][1:]


class _Budget:
    """Kinds of all detections, by category and falling score, and of all targets."""

    def __init__(self, images: dict[str, list[np.ndarray]]) -> None:
        self.sizes = np.array([iou.shape for iou in images["iou"]])  # detections, targets
        pairs = zip(images["labels"], images["target_labels"], strict=True)
        same = [labels[:, None] == targets for labels, targets in pairs]
        ious = images["iou"]
        alike = [iou * s for iou, s in zip(ious, same, strict=True)]
        self.scores = np.concatenate(images["scores"])
        self.pool = Pool(images | {"iou": alike})
        hits, misses, taken = match(self.pool)
        self.hit, self.miss, self.taken = hits[:, 0, 0], misses[:, 0, 0], taken[:, 0, 0]
        self.scores = self.scores[self.pool.order]
        first = self.sizes[:, 1].cumsum() - self.sizes[:, 1]
        crowds = images["crowd"]
        other = [iou * ~s for iou, s in zip(ious, same, strict=True)]
        self.kind, self.goal = self._kinds(
            *(_nearest(part, crowds, first, self.pool.order) for part in (alike, other))
        )
        self.target_kind = self._target_kinds()

    def _kinds(self, alike: tuple, other: tuple) -> tuple[np.ndarray, np.ndarray]:
        """The kind of each detection and the target that it should have taken."""
        (iou, target), (other_iou, other_target) = alike, other
        rules = {
            RIGHT: self.hit,
            IGNORED: ~self.miss,
            LOCATION: (iou >= NEAR) & (iou < FOREGROUND),
            CLASS: other_iou >= FOREGROUND,
            DUPLICATE: iou >= FOREGROUND,
            BACKGROUND: np.maximum(iou, other_iou) <= NEAR,
        }
        kind = np.select(list(rules.values()), list(rules), BOTH)
        return kind, np.where(kind == CLASS, other_target, target)

    def _target_kinds(self) -> np.ndarray:
        mendable = np.isin(np.arange(len(self.taken)), self.goal[self.kind <= LOCATION])
        rules = {IGNORED: self.pool.crowd, RIGHT: self.taken, MENDABLE: mendable}
        return np.select(list(rules.values()), list(rules), MISSED)

    def split(self, values: np.ndarray, which: int) -> list[np.ndarray]:
        """Values of all detections (0) or targets (1), in the order given, image by image."""
        return np.split(values, self.sizes[:-1, which].cumsum())

    def ap50(self, mended: int | None = None) -> np.ndarray:
        """AP50 of each category, NaN without targets, as if there were no errors of this kind."""
        hit, miss, category = self.hit.copy(), self.miss.copy(), self.pool.category.copy()
        wanted = ~self.pool.crowd
        if mended == MISSED:
            wanted &= self.target_kind != MISSED
        elif mended is not None:
            miss &= self.kind != mended
            if mended in (CLASS, LOCATION):
                best = self._first_on_free(mended)
                hit[best] = True
                category[best] = self.pool.target_category[self.goal[best]]
        order = np.lexsort((self.pool.order, -self.scores))
        result = np.full(len(self.pool.labels), np.nan)
        for k in np.unique(self.pool.target_category[wanted]):
            rows = order[category[order] == k]
            count = np.array([(wanted & (self.pool.target_category == k)).sum()])
            columns = (values[rows][:, None, None] for values in (hit, miss))
            result[k] = precision_curves(*columns, count).mean()
        return result

    def _first_on_free(self, kind: int) -> np.ndarray:
        """Of the errors of this kind on each target that is not taken, the one of highest score."""
        rows = np.flatnonzero(self.kind == kind)
        rows = rows[~self.taken[self.goal[rows]]]
        rows = rows[np.lexsort((self.pool.order[rows], -self.scores[rows]))]
        return rows[np.unique(self.goal[rows], return_index=True)[1]]

    def summary(self) -> dict[str, Any]:
        """The dict that ``ErrorBudget.compute`` returns."""
        by_class = self.ap50()
        ap50 = _mean(by_class)
        gains = {f"gain_{name}": _mean(self.ap50(k)) - ap50 for k, name in enumerate(KINDS)}
        if np.isfinite(ap50) and np.isnan(gains["gain_missed"]):
            gains["gain_missed"] = 1 - ap50  # nothing is left to find
        per_class = {
            label: {"AP50": float(by_class[k])} | self._counts(k)
            for k, label in enumerate(self.pool.labels.tolist())
        }
        return {"AP50": ap50, **gains, "counts": self._counts(), "per_class": per_class}

    def _counts(self, category: int | None = None) -> dict[str, int]:
        kinds = (
            (self.kind, self.pool.category),
            (np.where(self.target_kind == MISSED, MISSED, IGNORED), self.pool.target_category),
        )
        chosen = np.concatenate(
            [kind if category is None else kind[of == category] for kind, of in kinds]
        )
        return {str(_NAMES[k]): int((chosen == k).sum()) for k in (RIGHT, *range(len(KINDS)))}


def _nearest(
    ious: list[np.ndarray], crowds: list[np.ndarray], first: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Largest IoU of each detection with a target that is no crowd, and which; as ``order`` says.

    Args:
        ious: of each image (D, G), 0 where the two must not be compared.
        crowds: of each image (G,).
        first: number of the first target of each image.
        order: of the detections.
    """
    largest, targets = [], []
    for iou, crowd, start in zip(ious, crowds, first, strict=True):
        iou = np.pad(iou * ~crowd, ((0, 0), (0, 1)))  # a column for images without targets
        largest.append(iou.max(1))
        targets.append(start + iou.argmax(1))
    return np.concatenate(largest)[order], np.concatenate(targets)[order]


def _mean(values: np.ndarray) -> float:
    """Mean of what is defined, NaN if nothing is."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")
