"""Average precision of instance masks and boxes, equal to COCO's evaluation to the last bit.

The rules that decide the last digits (Lin et al. 2014 and the code of pycocotools):

- detections by falling score, ties in the order given, at most 100 for each image *and category*;
- each takes, of the targets still free whose IoU reaches the threshold, the best one, the later of
  equals, and an ignored target only if no other will do;
- a target is ignored if it is a crowd or its ``area`` is outside the range of sizes asked for; a
  crowd can be taken again and again, and its IoU is intersection over the detection's own area;
- a detection that took an ignored target counts for nothing, nor does an unmatched one outside the
  range of sizes;
- precision is made non-increasing from the right and read at 101 recalls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segedu.ops import rle

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = (1, 10, 100)
AREAS = {
    "all": (0, 1e10),
    "s": (0, 32**2),
    "m": (32**2, 96**2),
    "l": (96**2, 1e10),
}
# Numbers in the arrays of one step of the matching, and groups that are matched together.
_CHUNK, _TOGETHER = 1 << 20, 1024


class _Image(NamedTuple):
    """What is kept of an image: labels, scores, areas and all IoUs (D, G)."""

    scores: Tensor
    labels: Tensor
    areas: Tensor
    target_labels: Tensor
    target_areas: Tensor
    crowd: Tensor
    iou: Tensor


class MaskAP:
    """COCO's average precision and recall for instance masks or boxes.

    Args:
        iou_type: ``"segm"`` compares masks, ``"bbox"`` boxes.

    Update with lists of dicts as torchvision's detection models take and give them. The IoUs are
    computed at once on the device of the inputs and are all that is kept; ``compute`` reads them.
    Scores that are equal in different images rank in the order in which the images came.
    """

    def __init__(self, iou_type: str = "segm") -> None:
        if iou_type not in ("segm", "bbox"):
            raise ValueError(f"iou_type must be 'segm' or 'bbox', got {iou_type!r}")
        self.iou_type = iou_type
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._images: list[_Image] = []

    def update(
        self, predictions: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add images.

        Args:
            predictions: one dict for each image: ``labels`` int (D,), ``scores`` float (D,), and
                ``masks`` or ``boxes``. Masks are bool or 0/1 (D, H, W), probabilities (D, 1, H, W)
                that are cut at 0.5 (torchvision), or a list of COCO RLE dicts; boxes are (D, 4),
                x1 y1 x2 y2 in pixels.
            targets: the same without ``scores``; optionally ``iscrowd`` (G,) and ``area`` (G,) in
                pixels, which decides small, medium and large (default: the mask's or box's own).

        Raises:
            ValueError: a key is missing, or lengths or sizes differ.
        """
        if len(predictions) != len(targets):
            raise ValueError(f"got {len(predictions)} predictions for {len(targets)} targets")
        new = [self._image(p, t) for p, t in zip(predictions, targets, strict=True)]
        self._images += new

    def _image(self, pred: Mapping[str, Any], target: Mapping[str, Any]) -> _Image:
        key = "masks" if self.iou_type == "segm" else "boxes"
        for name, sample, keys in (
            ("prediction", pred, ("labels", "scores", key)),
            ("target", target, ("labels", key)),
        ):
            missing = [k for k in keys if k not in sample]
            if missing:
                raise ValueError(f"{name} must have {', '.join(keys)}; {missing} missing")
            lengths = {k: len(sample[k]) for k in keys}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"{name} has entries of different length: {lengths}")
        labels, scores = torch.as_tensor(pred["labels"]), torch.as_tensor(pred["scores"])
        target_labels = torch.as_tensor(target["labels"])
        count = len(target_labels)
        none = torch.zeros(count, dtype=torch.bool, device=target_labels.device)
        crowd = torch.as_tensor(target.get("iscrowd", none)).to(none)
        overlap = _mask_overlap if self.iou_type == "segm" else _box_overlap
        hit, areas, target_areas = overlap(pred[key], target[key], labels, target_labels)
        union = areas[:, None] + torch.where(crowd, 0, target_areas - hit)
        iou = hit / torch.where(union > 0, union, 1)
        sizes = torch.as_tensor(target.get("area", target_areas)).double().to(iou.device)
        if not len(crowd) == len(sizes) == count:
            raise ValueError(
                f"iscrowd ({len(crowd)}) and area ({len(sizes)}) must have one entry for each of "
                f"the {count} targets"
            )
        return _Image(scores.double(), labels, areas, target_labels, sizes, crowd, iou)

    def merge(self, other: MaskAP) -> MaskAP:
        """Add the images of another instance, for example of another process; returns ``self``."""
        if self.iou_type != other.iou_type:
            raise ValueError(f"merge needs iou_type {self.iou_type!r}, got {other.iou_type!r}")
        self._images += other._images
        return self

    def __getstate__(self) -> dict[str, Any]:
        images = [_Image(*(t.cpu() for t in image)) for image in self._images]
        return self.__dict__ | {"_images": images}  # another process has another device

    def compute(self) -> dict[str, Any]:
        """Read the numbers, all in [0, 1], NaN where there is no target to find.

        Returns:
            ``AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl``: COCO's twelve;
            ``per_class``: label -> ``AP``, ``AP50``, ``AP75``, ``AR100``;
            ``labels`` (K,) and ``precision`` (10, 101, K): precision at IoU thresholds 0.5 ... 0.95
            and recalls 0 ... 1 (:data:`IOU_THRESHOLDS`, :data:`RECALLS`), the PR curves; −1 where a
            label has no target.
        """
        groups: dict[int, list[_Group]] = {}  # label -> its images, in order
        for image in self._images:
            for label, group in _groups(_Image(*(t.cpu().numpy() for t in image))):
                groups.setdefault(label, []).append(group)
        return _Table(dict(sorted(groups.items()))).summary()


class _Group(NamedTuple):
    """Detections, by falling score, and targets of one category in one image."""

    scores: np.ndarray  # (D,)
    outside: np.ndarray  # (D, A) detection is outside the range of sizes
    ignore: np.ndarray  # (A, G)
    crowd: np.ndarray  # (G,)
    iou: np.ndarray  # (D, G)


def _groups(image: _Image) -> Iterator[tuple[int, _Group]]:
    """The categories of an image, each with at most 100 detections."""
    order = np.argsort(-image.scores, kind="stable")
    labels = image.labels[order]
    outside = _out_of_range(image.areas).T
    ignore = _out_of_range(image.target_areas) | image.crowd
    for label in {*labels.tolist(), *image.target_labels.tolist()}:
        chosen = order[labels == label][: MAX_DETECTIONS[-1]]
        targets = np.flatnonzero(image.target_labels == label)
        yield (
            label,
            _Group(
                image.scores[chosen],
                outside[chosen],
                ignore[:, targets],
                image.crowd[targets],
                image.iou[chosen[:, None], targets],
            ),
        )


def _out_of_range(areas: np.ndarray) -> np.ndarray:
    """Whether each area (n,) is outside of each range: (A, n)."""
    low, high = np.array(list(AREAS.values())).T[:, :, None]
    return (areas < low) | (areas > high)


def _match(groups: list[_Group]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each group, which detections found a target and which are false: two (D, A, T)."""
    matches: list = [None] * len(groups)
    shape = len(AREAS), len(IOU_THRESHOLDS)
    # Groups of like size share arrays; each step of the loop treats one rank in all of them.
    order = sorted(
        range(len(groups)), key=lambda i: (groups[i].iou.size > 0, *groups[i].iou.shape[::-1])
    )
    while order and not groups[order[0]].iou.size:  # nothing to match
        i = order.pop(0)
        false = ~groups[i].outside[:, :, None]
        matches[i] = np.zeros((len(false), *shape), bool), false.repeat(shape[1], 2)
    while order:
        targets = groups[order[0]].iou.shape[1]
        step = max(1, _CHUNK // (shape[0] * shape[1] * 2 * targets))
        part = [i for i in order[: min(step, _TOGETHER)] if groups[i].iou.shape[1] <= 2 * targets]
        order = order[len(part) :]
        part.sort(key=lambda i: -len(groups[i].scores))
        for i, match in zip(part, _match_together([groups[i] for i in part]), strict=True):
            matches[i] = match
    return matches


def _match_together(groups: list[_Group]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Greedy matching, rank by rank, of groups with a falling number of detections."""
    k, width = len(groups), max(g.iou.shape[1] for g in groups)
    ranks = [len(g.scores) for g in groups]
    iou = np.full((ranks[0], k, 1, 1, width), -1.0)
    ignore = np.ones((k, len(AREAS), 1, width), bool)
    crowd = np.zeros((k, 1, 1, width), bool)
    outside = np.ones((ranks[0], k, len(AREAS), 1), bool)
    for i, g in enumerate(groups):
        d, n = g.iou.shape
        # Targets in reverse, so that argmax, which takes the first of equals, takes the last.
        iou[:d, i, 0, 0, :n] = g.iou[:, ::-1]
        ignore[i, :, 0, :n] = g.ignore[:, ::-1]
        crowd[i, 0, 0, :n] = g.crowd[::-1]
        outside[:d, i, :, 0] = g.outside
    threshold = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    free = np.ones((k, len(AREAS), len(IOU_THRESHOLDS), width), bool)
    taken, ignored = np.zeros((2, ranks[0], k, len(AREAS), len(IOU_THRESHOLDS)), bool)
    for rank in range(ranks[0]):
        live = sum(r > rank for r in ranks)
        here = iou[rank, :live]  # (live, 1, 1, G)
        fits = (free[:live] | crowd[:live]) & (here >= threshold)
        proper = fits & ~ignore[:live]
        fits = np.where(proper.any(-1, keepdims=True), proper, fits)
        best = np.where(fits, here, -1.0).argmax(-1)[..., None]
        found = fits.any(-1)
        np.put_along_axis(
            free[:live], best, np.take_along_axis(free[:live], best, -1) & ~found[..., None], -1
        )
        skip = np.take_along_axis(np.broadcast_to(ignore[:live], fits.shape), best, -1)[..., 0]
        taken[rank, :live], ignored[rank, :live] = found, found & skip
    hits, misses = taken & ~ignored, ~taken & ~outside
    return [(hits[:d, i], misses[:d, i]) for i, d in enumerate(ranks)]


class _Table:
    """Precision and recall of every category, size and number of detections."""

    def __init__(self, groups: dict[int, list[_Group]]) -> None:
        matches = iter(_match([g for rows in groups.values() for g in rows]))
        shape = len(IOU_THRESHOLDS), len(RECALLS), len(groups)
        self.labels = list(groups)
        self.precision = {size: -np.ones(shape) for size in AREAS}
        # of 100 detections for each size, and of fewer for all sizes together
        self.recall = {key: -np.ones(shape[::2]) for key in (*AREAS, *MAX_DETECTIONS)}
        for k, rows in enumerate(groups.values()):
            self._category(k, rows, [next(matches) for _ in rows])

    def _category(self, k: int, rows: list[_Group], matches: list) -> None:
        order = np.argsort(-np.concatenate([g.scores for g in rows]), kind="stable")
        rank = np.concatenate([np.arange(len(g.scores)) for g in rows])
        hits, misses = (np.concatenate(m) for m in zip(*matches, strict=True))  # (D, A, T)
        tp, fp = (m[order].cumsum(0, dtype=float) for m in (hits, misses))
        precision = tp / (fp + tp + np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        positives = (~np.concatenate([g.ignore for g in rows], 1)).sum(1)
        for a, size in enumerate(AREAS):
            if positives[a]:
                self.recall[size][:, k] = hits[:, a].sum(0) / positives[a]
                self.precision[size][:, :, k] = _read(precision[:, a], tp[:, a], positives[a])
        if positives[0]:
            for most in MAX_DETECTIONS:
                self.recall[most][:, k] = hits[rank < most, 0].sum(0) / positives[0]

    def summary(self) -> dict[str, Any]:
        """The dict that ``MaskAP.compute`` returns."""
        every = self.precision["all"]
        result: dict[str, Any] = {
            "AP": _mean(every),
            "AP50": _mean(every[0]),
            "AP75": _mean(every[5]),
        }
        result |= {f"AP{size}": _mean(self.precision[size]) for size in "sml"}
        result |= {f"AR{most}": _mean(self.recall[most]) for most in MAX_DETECTIONS}
        result |= {f"AR{size}": _mean(self.recall[size]) for size in "sml"}
        result["per_class"] = {
            label: {
                "AP": _mean(every[:, :, k]),
                "AP50": _mean(every[0, :, k]),
                "AP75": _mean(every[5, :, k]),
                "AR100": _mean(self.recall["all"][:, k]),
            }
            for k, label in enumerate(self.labels)
        }
        return result | {"labels": np.array(self.labels, dtype=np.int64), "precision": every}


def _read(precision: np.ndarray, tp: np.ndarray, positives: int) -> np.ndarray:
    """Precision (D, T) at the recalls of COCO's grid, 0 beyond the last one reached: (T, R)."""
    count, thresholds = tp.shape
    # Hits that each recall takes, then the place at which every threshold has that many. The
    # thresholds are laid end to end, each raised above the one before: one search serves all.
    needed = np.searchsorted(np.arange(positives + 1) / positives, RECALLS)
    raised = np.arange(thresholds) * (count + 1)
    places = np.searchsorted((tp + raised).T.ravel(), (needed + raised[:, None]).ravel())
    places = places.reshape(thresholds, -1) - np.arange(thresholds)[:, None] * count
    padded = np.concatenate([precision, np.zeros((1, thresholds))])
    return np.take_along_axis(padded.T, np.minimum(places, count), 1)


def _mean(values: np.ndarray) -> float:
    """Mean of the entries that are defined, NaN if none is."""
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else float("nan")


def _box_overlap(pred: Any, target: Any, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Intersections (D, G) and areas of boxes x1 y1 x2 y2, in float64."""
    corners = []
    for boxes in (pred, target):
        boxes = torch.as_tensor(boxes).double().reshape(-1, 4)
        start, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
        # COCO's boxes are x y w h: the same rounding of x + w decides the last bit
        corners.append((start, start + size, size.prod(1)))
    (p0, p1, p_area), (t0, t1, t_area) = corners
    sides = (torch.minimum(p1[:, None], t1) - torch.maximum(p0[:, None], t0)).clamp(min=0)
    return sides.prod(-1), p_area, t_area


def _mask_overlap(
    pred: Any, target: Any, labels: Tensor, target_labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Intersections (D, G), 0 for different labels, and areas of masks, in float64."""
    same = labels[:, None] == target_labels
    if _is_rle(pred) and _is_rle(target):
        found = rle.overlaps(pred, target, same.cpu().numpy())
        return tuple(torch.from_numpy(x).double().to(same.device) for x in found)
    pred, target = _dense(pred), _dense(target)
    if len(pred) and len(target) and pred.shape[1:] != target.shape[1:]:
        raise ValueError(
            "masks of prediction and target must have the same size, "
            f"got {tuple(pred.shape[1:])} and {tuple(target.shape[1:])}"
        )
    if pred.is_cuda:
        # 0 and 1 are exact in every float type and so are float32 sums below 2 ** 24
        p, t = (x.flatten(1).float() for x in (pred, target))
        hit = p @ t.T if len(p) and len(t) else p.new_zeros(len(p), len(t))
        return (hit * same).double(), p.sum(1).double(), t.sum(1).double()
    p, t = (_pack(x.numpy()) for x in (pred, target))
    hit = np.zeros((len(p), len(t)))
    for g, candidates in enumerate(same.numpy().T):
        words, rows = np.flatnonzero(t[g]), np.flatnonzero(candidates)
        if len(words) and len(rows):
            inside = slice(words[0], words[-1] + 1)
            hit[rows, g] = np.bitwise_count(p[rows, inside] & t[g, inside]).sum(1)
    areas = (torch.from_numpy(np.bitwise_count(x).sum(1, dtype=np.float64)) for x in (p, t))
    return torch.from_numpy(hit), *areas


def _is_rle(masks: Any) -> bool:
    """Whether these are run lengths (or nothing at all)."""
    return not isinstance(masks, (Tensor, np.ndarray)) and all(
        isinstance(m, Mapping) for m in masks
    )


def _dense(masks: Any) -> Tensor:
    """Masks as bool (N, H, W), from probabilities, 0/1, bool or a list of RLE dicts."""
    if not isinstance(masks, (Tensor, np.ndarray)):
        if len(masks) == 0:
            return torch.zeros(0, 1, 1, dtype=torch.bool)
        masks = np.stack([rle.decode(m) if isinstance(m, Mapping) else m for m in masks])
    masks = torch.as_tensor(masks)
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.ndim != 3:
        raise ValueError(f"masks must be (N, H, W) or (N, 1, H, W), got {tuple(masks.shape)}")
    return masks > 0.5 if masks.is_floating_point() else masks.bool()


def _pack(masks: np.ndarray) -> np.ndarray:
    """Masks (N, H, W) as words of 64 pixels, (N, ceil(H W / 64))."""
    flat = masks.reshape(len(masks), np.prod(masks.shape[1:]))
    if flat.shape[1] % 64:
        flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 64)))
    return np.packbits(flat, axis=1).view(np.uint64)
