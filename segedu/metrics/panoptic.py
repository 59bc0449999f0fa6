"""Panoptic quality (Kirillov et al. 2019), with the rules of the official COCO code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segedu.metrics.base import UNITS, Metric
from segedu.metrics.counts import runs, scatter_counts

Segment = Mapping[str, Any]


class PanopticQuality(Metric):
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

    Two maps give one small table of counts, in which the segments are matched; all of it happens on
    the device of the maps.
    """

    def __init__(
        self, categories: Mapping[int, bool] | Sequence[Mapping[str, Any]], void: int = 0
    ) -> None:
        if not isinstance(categories, Mapping):
            ids = [c["id"] for c in categories]
            if len(set(ids)) < len(ids):
                raise ValueError(f"categories must have different ids, got {ids}")
            categories = {c["id"]: c["isthing"] for c in categories}
        if not categories:
            raise ValueError("categories must not be empty")
        self.categories = {int(c): bool(isthing) for c, isthing in categories.items()}
        self.void = void
        super().__init__()

    def update(
        self,
        preds: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        targets: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    ) -> None:
        """Add one image or a list of images.

        Args:
            preds: ``{"panoptic_seg": (H, W) integer ids, "segments_info": [{"id",
                "category_id"}]}``.
            targets: the same; a segment may have ``iscrowd``. ``panoptic_seg`` may be an array or
                a tensor. Areas are counted in it: those of ``segments_info`` may be those of
                another size of the image.

        Raises:
            ValueError: the maps differ in shape, device or number or do not hold integers, a
                category is unknown, an id is negative or occurs twice, or (on the CPU here, after a
                GPU in ``compute``) the ids of a map and of its ``segments_info`` are not the same.
        """
        if isinstance(preds, Mapping) and isinstance(targets, Mapping):
            preds, targets = [preds], [targets]
        if len(preds) != len(targets):
            raise ValueError(f"got {len(preds)} predictions for {len(targets)} targets")
        new = [self._image(p, t) for p, t in zip(preds, targets, strict=True)]
        if new:
            self._add(scores=torch.stack(new).sum(0))

    def _image(self, pred: Mapping[str, Any], target: Mapping[str, Any]) -> Tensor:
        """Sums of one image: int64 (K, 4), for each category IoU in UNITS, TP, FP and FN."""
        infos = [self._segments(*pair) for pair in (("pred", pred), ("target", target))]
        maps = [_map(*pair) for pair in (("pred", pred), ("target", target))]
        if maps[0].shape != maps[1].shape:
            raise ValueError(
                "panoptic_seg of pred and target must have the same shape, "
                f"got {tuple(maps[0].shape)} and {tuple(maps[1].shape)}"
            )
        if maps[0].device != maps[1].device:
            raise ValueError(
                "panoptic_seg of pred and target must be on one device, "
                f"got {maps[0].device} and {maps[1].device}"
            )
        counts = self._count(*maps, *infos)
        self._check_ids(counts, infos[0])
        return self._match(counts, *infos)

    def _segments(self, name: str, sample: Mapping[str, Any]) -> list[Segment]:
        segments = list(sample["segments_info"])
        ids = [s["id"] for s in segments]
        if not all(isinstance(i, Integral) and i >= 0 for i in ids):
            raise ValueError(f"{name} segments_info must have integer ids >= 0, got {ids}")
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

    def compute(self) -> dict[str, Any]:
        """Read the numbers, all in [0, 1].

        Returns:
            ``pq``, ``sq``, ``rq`` and the same with ``_things`` and ``_stuff`` (NaN if there is no
            such category with a segment), ``num_categories`` (of the first mean), and
            ``per_class``: category id -> ``pq, sq, rq, tp, fp, fn``, the first three NaN without a
            segment, and ``sq`` 0 without a match.

        Raises:
            ValueError: what ``update`` could not refuse on a GPU.
        """
        self._check()
        scores = self._sums.get("scores", torch.zeros(len(self.categories), 4)).tolist()
        per_class = {}
        for category, (units, tp, fp, fn) in zip(self.categories, scores, strict=True):
            iou, size = units / UNITS, tp + fp / 2 + fn / 2
            none = 0.0 if size else math.nan
            per_class[category] = {
                "pq": iou / size if size else none,
                "sq": iou / tp if tp else none,
                "rq": tp / size if size else none,
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
                result[key + suffix] = sum(values) / len(values) if values else math.nan
            if not suffix:
                result["num_categories"] = len(seen)
        return result | {"per_class": per_class}

    def _check_ids(self, counts: Tensor, p_info: list[Segment]) -> None:
        """The ids of a map and of its ``segments_info`` must be the same."""
        for name, pixels in (("pred", counts.sum(0)), ("target", counts.sum(1))):
            message = f"{name} panoptic_seg must hold no pixels whose id is not in segments_info"
            self._refuse(pixels[-1:] > 0, message, pixels[-1:])
        # a crop or a smaller map of the target may have lost a segment; a network lost none
        self._refuse(
            counts.sum(0)[:-2] == 0,
            "pred segments_info must not have ids without a pixel",
            [s["id"] for s in p_info],
        )

    def _match(self, counts: Tensor, p_info: list[Segment], t_info: list[Segment]) -> Tensor:
        """Sums (K, 4) of a table of counts (T + 2, P + 2)."""
        place = {category: k for k, category in enumerate(self.categories)}
        p_kind = [place[s["category_id"]] for s in p_info]
        t_kind = [place[s["category_id"]] for s in t_info]
        crowd = [bool(s.get("iscrowd", 0)) for s in t_info]
        # For each predicted segment the row of the last crowd of its category, or else of void.
        crowds = {kind: row for row, (kind, c) in enumerate(zip(t_kind, crowd, strict=True)) if c}
        excuse = [crowds.get(kind, len(t_info)) for kind in p_kind]
        p_kind, t_kind, excuse, crowd = (
            _on(counts.device, x) for x in (p_kind, t_kind, excuse, crowd)
        )
        is_crowd = crowd.bool()

        hit = counts[:-2, :-2]  # (T, P)
        on_void, void = counts[-2, :-2], len(t_info)  # (P,)
        t_area, p_area = counts[:-2].sum(1), counts.sum(0)[:-2]
        union = t_area[:, None] + p_area - hit - on_void
        iou = hit / union.clamp(min=1).double()
        match = (iou > 0.5) & (t_kind[:, None] == p_kind) & ~is_crowd[:, None]
        found, right = match.any(1), match.any(0)  # (T,), (P,)
        on_crowd = counts[:, :-2].gather(0, excuse[None])[0] * (excuse != void)
        false = ~right & ((on_void + on_crowd) / p_area.clamp(min=1).double() <= 0.5)

        units = (iou * match).sum(1).mul(UNITS).round().long()
        sums = counts.new_zeros(len(place), 4)
        of_targets = torch.stack([units, found.long(), 0 * units, (~found & ~is_crowd).long()], 1)
        sums.index_add_(0, t_kind, of_targets)
        sums[:, 2].index_add_(0, p_kind, false.long())
        return sums


def _map(name: str, sample: Mapping[str, Any]) -> Tensor:
    ids = torch.as_tensor(sample["panoptic_seg"])
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(f"{name} panoptic_seg must hold integer ids, got {ids.dtype}")
    return ids


def _on(device: torch.device, numbers: list[int]) -> Tensor:
    """The numbers as int64 on the device, without making the host wait."""
    tensor = torch.tensor(numbers, dtype=torch.int64)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _place(labels: Tensor, ids: list[int]) -> Tensor:
    """Position of each label in ``ids``, ``len(ids)`` for a label that is not there."""
    known, order = (_on(labels.device, x) for x in (sorted(ids), np.argsort(ids).tolist()))
    labels = labels.long()
    index = torch.searchsorted(known, labels).clamp(max=len(ids) - 1)
    return torch.where(known[index] == labels, order[index], len(ids))
