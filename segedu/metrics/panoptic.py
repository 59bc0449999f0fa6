"""Panoptic quality (Kirillov et al. 2019), with the rules of the official COCO code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segedu.metrics._counts import runs, scatter_counts

Segment = Mapping[str, Any]


class PanopticQuality:
    r"""PQ = SQ · RQ, summed over the data set for each category and averaged over categories.

    A target and a predicted segment of the same category match where their IoU is above 1/2 (there
    can be one such pair only). With the matches TP, and FP and FN segments without a match,

    .. math:: SQ = \sum_{TP} IoU / |TP|, \quad RQ = |TP| / (|TP| + |FP| / 2 + |FN| / 2).

    Rules on which implementations differ, here as in panopticapi: pixels that are void in the
    target are taken out of the union; crowd segments of the target match nothing and miss nothing;
    a predicted segment of which more than half lies on void and on the crowd of its own category is
    no false positive (of several crowds of a category in one image, the last one listed counts);
    categories without any segment are left out of the means.

    Args:
        categories: category id -> whether it is a thing. A list of ``{"id", "isthing"}`` dicts, as
            in COCO's json, does as well.
        void: id of the pixels that belong to no segment.

    The counts live on the device of the maps. Two maps give one small table of counts there; the
    tables are read by ``compute``.
    """

    def __init__(
        self, categories: Mapping[int, bool] | Sequence[Mapping[str, Any]], void: int = 0
    ) -> None:
        if not isinstance(categories, Mapping):
            categories = {c["id"]: c["isthing"] for c in categories}
        if not categories:
            raise ValueError("categories must not be empty")
        self.categories = {int(c): bool(isthing) for c, isthing in categories.items()}
        self.void = void
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        # category -> sum of IoU, TP, FP, FN
        self._sums = {c: np.zeros(4) for c in self.categories}
        self._pending: list[tuple[Tensor, list[Segment], list[Segment]]] = []

    def update(
        self,
        preds: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        targets: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    ) -> None:
        """Add one image or a list of images.

        Args:
            preds: ``{"panoptic_seg": (H, W) integer ids, "segments_info": [{"id",
                "category_id"}]}``.
            targets: the same; a segment may have ``iscrowd`` and, as in COCO's json, an ``area`` in
                pixels (counted if missing). ``panoptic_seg`` may be an array or a tensor.

        Raises:
            ValueError: the maps differ in shape or number, a category is unknown, an id occurs
                twice, or (on the CPU here, on a GPU in ``compute``) the ids of a map and of its
                ``segments_info`` are not the same.
        """
        if isinstance(preds, Mapping) and isinstance(targets, Mapping):
            preds, targets = [preds], [targets]
        if len(preds) != len(targets):
            raise ValueError(f"got {len(preds)} predictions for {len(targets)} targets")
        new = []
        for pred, target in zip(preds, targets, strict=True):
            infos = [self._segments(*pair) for pair in (("pred", pred), ("target", target))]
            maps = [torch.as_tensor(x["panoptic_seg"]) for x in (pred, target)]
            if maps[0].shape != maps[1].shape:
                raise ValueError(
                    "panoptic_seg of pred and target must have the same shape, "
                    f"got {tuple(maps[0].shape)} and {tuple(maps[1].shape)}"
                )
            if any(m.is_floating_point() for m in maps):
                raise ValueError("panoptic_seg must hold integer ids")
            counts = self._count(*maps, *infos)
            if not counts.is_cuda:
                _check_ids(counts, *infos)
            new.append((counts, *infos))
        self._pending += new

    def _segments(self, name: str, sample: Mapping[str, Any]) -> list[Segment]:
        segments = list(sample["segments_info"])
        ids = [s["id"] for s in segments]
        if len(set(ids)) < len(ids) or self.void in ids:
            raise ValueError(
                f"{name} segments_info must have unique ids other than void {self.void}, got {ids}"
            )
        unknown = sorted({s["category_id"] for s in segments} - self.categories.keys())
        if unknown:
            raise ValueError(f"{name} has unknown category ids {unknown}")
        return segments

    def _count(
        self, pred: Tensor, target: Tensor, p_info: list[Segment], t_info: list[Segment]
    ) -> Tensor:
        """Table (T + 2, P + 2) of pixel counts; the last two places are void and unknown ids."""
        ids = [[s["id"] for s in info] + [self.void] for info in (p_info, t_info)]
        shape = (len(ids[1]) + 1, len(ids[0]) + 1)
        if pred.is_cuda:
            places = [_place(m.flatten(), i) for m, i in zip((pred, target), ids, strict=True)]
            keys = places[1] * shape[1] + places[0]
            return scatter_counts(keys, shape[0] * shape[1]).view(shape)
        table = np.zeros(shape[0] * shape[1])
        for p, t, length in runs(pred.numpy().ravel(), target.numpy().ravel()):
            places = [_place(torch.from_numpy(x), i) for x, i in zip((p, t), ids, strict=True)]
            keys = (places[1] * shape[1] + places[0]).numpy()
            table += np.bincount(keys, weights=length, minlength=len(table))
        return torch.from_numpy(table.astype(np.int64)).view(shape)

    def merge(self, other: PanopticQuality) -> PanopticQuality:
        """Add what another instance saw, for example in another process; returns ``self``."""
        if (self.categories, self.void) != (other.categories, other.void):
            raise ValueError("merge needs the same categories and void")
        other._settle()
        for category, sums in other._sums.items():
            self._sums[category] = self._sums[category] + sums
        return self

    def __getstate__(self) -> dict[str, Any]:
        self._settle()  # what travels to another process is a few numbers for each category
        return self.__dict__

    def compute(self) -> dict[str, Any]:
        """Read the numbers, all in [0, 1].

        Returns:
            ``pq``, ``sq``, ``rq`` and the same with ``_things`` and ``_stuff`` (NaN if there is no
            such category with a segment), ``num_categories`` (of the first mean), and
            ``per_class``: category id -> ``pq, sq, rq, tp, fp, fn``.
        """
        self._settle()
        per_class = {}
        for category, (iou, tp, fp, fn) in self._sums.items():
            size = tp + fp / 2 + fn / 2
            per_class[category] = {
                "pq": float(iou / size) if size else 0.0,
                "sq": float(iou / tp) if tp else 0.0,
                "rq": float(tp / size) if size else 0.0,
                "tp": int(tp),
                "fp": int(fp),
                "fn": int(fn),
            }
        result: dict[str, Any] = {}
        for suffix, wanted in (("", (True, False)), ("_things", (True,)), ("_stuff", (False,))):
            seen = [
                row
                for category, row in per_class.items()
                if self.categories[category] in wanted and row["tp"] + row["fp"] + row["fn"]
            ]
            for key in ("pq", "sq", "rq"):
                values = [row[key] for row in seen]
                result[key + suffix] = sum(values) / len(values) if values else float("nan")
            if not suffix:
                result["num_categories"] = len(seen)
        return result | {"per_class": per_class}

    def _settle(self) -> None:
        """Turn the pending tables of counts into sums."""
        for counts, p_info, t_info in self._pending:
            counts = counts.cpu()
            _check_ids(counts, p_info, t_info)
            self._match(counts.numpy().astype(np.float64), p_info, t_info)
        self._pending = []

    def _match(self, counts: np.ndarray, p_info: list[Segment], t_info: list[Segment]) -> None:
        p_category = np.array([s["category_id"] for s in p_info], dtype=np.int64)
        t_category = np.array([s["category_id"] for s in t_info], dtype=np.int64)
        crowd = np.array([bool(s.get("iscrowd", 0)) for s in t_info], dtype=bool)
        t_counted = counts.sum(1)
        t_area = np.array([s.get("area", t_counted[i]) for i, s in enumerate(t_info)], dtype=float)
        p_area = counts.sum(0)[: len(p_info)]
        hit = counts[: len(t_info), : len(p_info)]  # (T, P)
        on_void = counts[len(t_info), : len(p_info)]

        union = t_area[:, None] + p_area - hit - on_void
        iou = hit / np.maximum(union, 1)
        match = (iou > 0.5) & (t_category[:, None] == p_category) & ~crowd[:, None]
        for t, p in np.argwhere(match):
            self._sums[t_category[t]] += (iou[t, p], 1, 0, 0)
        for t in np.flatnonzero(~match.any(1) & ~crowd):
            self._sums[t_category[t]] += (0, 0, 0, 1)
        last_crowd = {int(t_category[t]): t for t in np.flatnonzero(crowd)}
        for p in np.flatnonzero(~match.any(0)):
            excused = on_void[p]
            if int(p_category[p]) in last_crowd:
                excused = excused + hit[last_crowd[int(p_category[p])], p]
            if excused / p_area[p] <= 0.5:
                self._sums[p_category[p]] += (0, 0, 1, 0)


def _place(labels: Tensor, ids: list[int]) -> Tensor:
    """Position of each label in ``ids``, ``len(ids)`` for a label that is not there."""
    known, order = torch.tensor(ids).sort()
    if labels.is_cuda:  # from pinned memory, so that the host need not wait
        known, order = (x.pin_memory().to(labels.device, non_blocking=True) for x in (known, order))
    labels = labels.long()
    index = torch.searchsorted(known, labels).clamp(max=len(ids) - 1)
    return torch.where(known[index] == labels, order[index], len(ids))


def _check_ids(counts: Tensor, p_info: list[Segment], t_info: list[Segment]) -> None:
    """The ids of a map and of its ``segments_info`` must be the same."""
    for name, info, pixels in (("pred", p_info, counts.sum(0)), ("target", t_info, counts.sum(1))):
        if pixels[-1] > 0:
            raise ValueError(
                f"{name} panoptic_seg has {int(pixels[-1])} pixels whose id is not in segments_info"
            )
        empty = [s["id"] for s, n in zip(info, pixels.tolist(), strict=False) if n == 0]
        if empty and name == "pred":
            raise ValueError(f"{name} segments_info has ids without a pixel: {empty}")
