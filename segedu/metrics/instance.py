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

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from segedu.metrics.base import Metric
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
_NOTHING: dict[str, Any] = {"labels": [], "scores": [], "masks": [], "boxes": []}


class _Image(TypedDict):
    """What is kept of an image with D detections and G targets."""

    scores: Tensor  # float64 (D,)
    labels: Tensor
    areas: Tensor  # float64 (D,)
    target_labels: Tensor
    target_areas: Tensor  # float64 (G,)
    crowd: Tensor  # bool (G,)
    iou: Tensor  # float64 (D, G), 0 for pairs that are not compared


class InstanceMetric(Metric):
    """What metrics of instance masks or boxes share: how images come in, and what is kept of them.

    Args:
        iou_type: ``"segm"`` compares masks, ``"bbox"`` boxes.

    Update with lists of dicts as torchvision's detection models take and give them. The IoUs are
    computed at once on the device of the inputs and are all that is kept; ``compute`` reads them.
    """

    def __init__(self, iou_type: str = "segm") -> None:
        if iou_type not in ("segm", "bbox"):
            raise ValueError(f"iou_type must be 'segm' or 'bbox', got {iou_type!r}")
        self.iou_type = iou_type
        super().__init__()

    @staticmethod
    def _compared(labels: Tensor, target_labels: Tensor) -> Tensor:
        """Which pairs of detections (D,) and targets (G,) need their IoU: bool (D, G)."""
        return labels[:, None] == target_labels

    def update(
        self, predictions: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add images.

        Args:
            predictions: one dict for each image: ``labels`` int (D,), ``scores`` float (D,), and
                ``masks`` or ``boxes``. Masks are bool or 0 and 1 (D, H, W), probabilities
                (D, 1, H, W) that are cut at 0.5 (torchvision), or a list of COCO RLE dicts; boxes
                are (D, 4), x1 y1 x2 y2 in pixels.
            targets: the same without ``scores``; optionally ``iscrowd`` (G,) and ``area`` (G,) in
                pixels, which decides small, medium and large (default: the mask's or box's own).

        Raises:
            ValueError: a key is missing, lengths, sizes or devices differ, labels are no integers;
                or (on the CPU here, after a GPU in ``compute``) scores, boxes or areas are not
                finite, x2 < x1 or y2 < y1 in a box, or a mask has values outside of [0, 1].
        """
        if len(predictions) != len(targets):
            raise ValueError(f"got {len(predictions)} predictions for {len(targets)} targets")
        self._records += [self._image(p, t) for p, t in zip(predictions, targets, strict=True)]

    def _image(self, pred: Mapping[str, Any], target: Mapping[str, Any]) -> _Image:
        key = "masks" if self.iou_type == "segm" else "boxes"
        _check_entries("prediction", pred, ("labels", "scores", key))
        _check_entries("target", target, ("labels", key))
        labels, target_labels = (_integers("labels", x["labels"]).long() for x in (pred, target))
        scores = torch.as_tensor(pred["scores"])
        self._refuse(~scores.isfinite(), "scores must be finite", scores)
        crowd = _integers("iscrowd", target.get("iscrowd", torch.zeros_like(target_labels))).bool()
        first, second = self._shapes(pred[key], target[key])
        tensors = (labels, scores, target_labels, crowd, first, second)
        devices = sorted({str(x.device) for x in tensors if isinstance(x, Tensor)})
        if len(devices) > 1:
            raise ValueError(f"prediction and target must be on one device, got {devices}")
        pairs = self._compared(labels, target_labels)
        overlap = _mask_overlap if self.iou_type == "segm" else _box_overlap
        hit, areas, target_areas = overlap(first, second, pairs)
        sizes = torch.as_tensor(target.get("area", target_areas)).double().to(hit.device)
        count = len(target_labels)
        if not len(crowd) == len(sizes) == count:
            raise ValueError(
                f"iscrowd ({len(crowd)}) and area ({len(sizes)}) must have one entry for each of "
                f"the {count} targets"
            )
        self._refuse(~(sizes.isfinite() & (sizes >= 0)), "area must be finite and >= 0", sizes)
        union = areas[:, None] + (target_areas - hit).masked_fill(crowd, 0)
        return _Image(
            scores=scores.double(),
            labels=labels,
            areas=areas,
            target_labels=target_labels,
            target_areas=sizes,
            crowd=crowd,
            iou=(hit / union).nan_to_num(),  # 0 / 0 if both are empty
        )

    def _shapes(self, pred: Any, target: Any) -> tuple[Any, Any]:
        """What is compared: boxes (N, 4) float64, masks (N, H, W) bool, or lists of RLE dicts."""
        if self.iou_type == "bbox":
            return self._boxes("prediction", pred), self._boxes("target", target)
        if _is_rle(pred) and _is_rle(target):
            return pred, target
        masks = self._masks("prediction", pred), self._masks("target", target)
        sizes = [tuple(x.shape[1:]) for x in masks]
        if len(pred) and len(target) and sizes[0] != sizes[1]:
            raise ValueError(
                "masks of prediction and target must have the same size, "
                f"got {sizes[0]} and {sizes[1]}"
            )
        return masks

    def _boxes(self, name: str, boxes: Any) -> Tensor:
        """Boxes in float64 (N, 4)."""
        boxes = torch.as_tensor(boxes).double()
        if not len(boxes):
            return boxes.new_zeros(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"{name} boxes must be (N, 4), got {tuple(boxes.shape)}")
        self._refuse(~boxes.isfinite().all(1), f"{name} boxes must be finite", boxes)
        self._refuse(
            (boxes[:, 2:] < boxes[:, :2]).any(1),
            f"{name} boxes must be x1 y1 x2 y2 with x2 >= x1 and y2 >= y1 "
            "(segedu.ops.box_convert makes them of x y w h)",
            boxes,
        )
        return boxes

    def _masks(self, name: str, masks: Any) -> Tensor:
        """Masks as bool (N, H, W), from probabilities, 0 and 1, bool or a list of RLE dicts."""
        if not isinstance(masks, (Tensor, np.ndarray)):
            if len(masks) == 0:
                return torch.zeros(0, 1, 1, dtype=torch.bool)
            masks = np.stack([rle.decode(m) if isinstance(m, Mapping) else m for m in masks])
        masks = torch.as_tensor(masks)
        if masks.ndim == 4 and masks.shape[1] == 1:
            masks = masks[:, 0]
        if masks.ndim != 3:
            raise ValueError(
                f"{name} masks must be (N, H, W) or (N, 1, H, W), got {tuple(masks.shape)}"
            )
        if masks.dtype == torch.bool or masks.numel() == 0:
            return masks.bool()
        ends = torch.stack(masks.aminmax())
        self._refuse(
            ~((ends >= 0) & (ends <= 1)).all()[None],
            f"{name} masks must be bool, 0 and 1, or probabilities in [0, 1] "
            "(masks > 0 makes them of 0 and 255); the smallest and largest value are out of range",
            ends[None],
        )
        return masks > 0.5 if masks.is_floating_point() else masks.bool()

    def _columns(self) -> dict[str, list[np.ndarray]]:
        """What is kept of the images, key by key, after an image of nothing."""
        self._check()
        images = [self._image(_NOTHING, _NOTHING), *self._records]
        return {key: [image[key].cpu().numpy() for image in images] for key in images[0]}


class AveragePrecision(InstanceMetric):
    """COCO's average precision and recall for instance masks or boxes.

    Args:
        iou_type: ``"segm"`` compares masks, ``"bbox"`` boxes.

    Scores that are equal in different images rank in the order in which the images came.
    """

    def compute(self) -> dict[str, Any]:
        """Read the numbers, all in [0, 1], NaN where there is no target to find.

        Returns:
            ``AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl``: COCO's twelve;
            ``per_class``: label -> ``AP``, ``AP50``, ``AP75``, ``AR100``;
            ``precision`` (10, 101, K): precision at IoU thresholds 0.5 ... 0.95 and recalls
            0 ... 1 (`IOU_THRESHOLDS`, `RECALLS`), the PR curves; −1 where a
            label has no target, label by label as in ``per_class``.

        Raises:
            ValueError: what ``update`` could not refuse on a GPU.
        """
        return _Table(Pool(self._columns())).summary()


class Pool:
    """The detections (D), by category and falling score, and targets (G) of all images together.

    ``order`` says where each detection stood before.
    """

    def __init__(self, images: dict[str, list[np.ndarray]]) -> None:
        ious = images.pop("iou")
        columns = [np.concatenate(column) for column in images.values()]
        scores, labels, areas, target_labels, target_areas, self.crowd = columns
        self.labels, categories = np.unique(
            np.concatenate([labels, target_labels]), return_inverse=True
        )
        category, self.target_category = np.split(categories, [len(labels)])
        self.order = order = np.lexsort((-scores, category))
        self.category = category[order]
        # Rank by score among the detections of the same category in the same image.
        counts = np.array([iou.shape for iou in ious])  # detections and targets of each image
        image = np.arange(len(ious)).repeat(counts[:, 0])[order]
        self.rank = _rank(self.category * len(ious) + image)
        beyond = self.rank >= MAX_DETECTIONS[-1]  # these count for nothing
        self.outside = _out_of_range(areas[order]) | beyond[:, None]  # (D, A)
        self.ignore = _out_of_range(target_areas) | self.crowd[:, None]  # (G, A)
        # Detection, target and IoU of the pairs that can match at all: (P,) each.
        least, before = IOU_THRESHOLDS[0], counts.cumsum(0) - counts
        near = [np.argwhere(iou >= least) + n for iou, n in zip(ious, before, strict=True)]
        d, g = np.concatenate(near).T
        d = np.argsort(order)[d]
        iou = np.concatenate([iou[iou >= least] for iou in ious])
        keep = ~beyond[d]
        self.pairs = d[keep], g[keep], iou[keep]


def _rank(keys: np.ndarray) -> np.ndarray:
    """How many of the same key stand before each."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    rank = np.empty_like(order)
    rank[order] = np.arange(len(keys)) - np.searchsorted(ordered, ordered)
    return rank


def _out_of_range(areas: np.ndarray) -> np.ndarray:
    """Whether each area (n,) is outside of each range: (n, A)."""
    low, high = np.array(list(AREAS.values())).T
    return (areas[:, None] < low) | (areas[:, None] > high)


def match(pool: Pool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match detections and targets, for all sizes and thresholds.

    Returns:
        Which detections find a target and which are false, (D, A, T); which targets are taken,
        (G, A, T).
    """
    d, g, iou = pool.pairs
    # The first detections of all images and categories choose at once, then all the second ones.
    order = np.lexsort((g, iou, d, pool.rank[d]))
    d, g, iou = d[order], g[order], iou[order]
    rounds = np.split(np.arange(len(d)), np.flatnonzero(np.diff(pool.rank[d])) + 1)
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    hits = np.zeros((*pool.outside.shape, len(thresholds)), bool)
    misses = ~pool.outside[:, :, None].repeat(len(thresholds), 2)
    free = np.ones((*pool.ignore.shape, len(thresholds)), bool)
    for p in rounds:
        here = g[p]
        fits = (free[here] | pool.crowd[here, None, None]) & (iou[p, None, None] >= thresholds)
        proper = fits & ~pool.ignore[here, :, None]  # (P, A, T)
        # The pairs of a detection stand in order of IoU: it takes the last, proper ones first.
        choice = np.where(fits, p[:, None, None] + len(d) * proper, -1)
        start = np.flatnonzero(np.diff(d[p], prepend=-1))
        choice = np.maximum.reduceat(choice, start)
        hits[d[p[start]]] = choice >= len(d)
        misses[d[p[start]]] &= choice < 0
        i, a, t = np.nonzero(choice >= 0)
        free[g[choice[i, a, t] % len(d)], a, t] = False
    return hits, misses, ~free


class _Table:
    """Precision and recall of every category, size and number of detections."""

    def __init__(self, pool: Pool) -> None:
        hits, misses, _ = match(pool)
        self.labels = pool.labels.tolist()
        sizes, thresholds, classes = *hits.shape[1:], len(self.labels)
        self.precision = -np.ones((sizes, thresholds, len(RECALLS), classes))
        self.recall = -np.ones((len(MAX_DETECTIONS), sizes, thresholds, classes))
        ends = np.searchsorted(pool.category, np.arange(classes + 1))
        for k, rows in enumerate(map(slice, ends[:-1], ends[1:])):
            positives = (~pool.ignore[pool.target_category == k]).sum(0)  # (A,)
            some = positives > 0
            self.precision[some, ..., k] = precision_curves(hits[rows], misses[rows], positives)[
                some
            ]
            for recall, most in zip(self.recall, MAX_DETECTIONS, strict=True):
                found = hits[rows][pool.rank[rows] < most].sum(0)  # (A, T)
                recall[some, :, k] = found[some] / positives[some, None]

    def summary(self) -> dict[str, Any]:
        """The dict that ``AveragePrecision.compute`` returns."""
        every, *by_size = self.precision
        recall, *recall_by_size = self.recall[-1]
        result: dict[str, Any] = {
            "AP": _mean(every),
            "AP50": _mean(every[0]),
            "AP75": _mean(every[5]),
        }
        result |= {f"AP{size}": _mean(x) for size, x in zip("sml", by_size, strict=True)}
        result |= {
            f"AR{most}": _mean(x[0]) for most, x in zip(MAX_DETECTIONS, self.recall, strict=True)
        }
        result |= {f"AR{size}": _mean(x) for size, x in zip("sml", recall_by_size, strict=True)}
        result["per_class"] = {
            label: {
                "AP": _mean(every[:, :, k]),
                "AP50": _mean(every[0, :, k]),
                "AP75": _mean(every[5, :, k]),
                "AR100": _mean(recall[:, k]),
            }
            for k, label in enumerate(self.labels)
        }
        return result | {"precision": every}


def precision_curves(hits: np.ndarray, misses: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Precision at COCO's recalls, 0 beyond the last one reached, of one category: (A, T, R)."""
    d, a, t = np.nonzero(hits)
    tp, fp = (x.cumsum(0)[d, a, t] for x in (hits, misses))
    # Between hits precision only falls, so it is kept where the first, second, ... hit is; a
    # column of 0 comes last.
    at_hit = np.zeros((*hits.shape[1:], tp.max(initial=0) + 1))
    at_hit[a, t, tp - 1] = tp / (fp + tp + np.spacing(1))
    at_hit = np.maximum.accumulate(at_hit[..., ::-1], -1)[..., ::-1]
    result = []
    for precision, count in zip(at_hit, positives, strict=True):
        needed = np.searchsorted(np.arange(1, count + 1) / count, RECALLS)  # hits, less one
        result.append(precision[:, np.minimum(needed, at_hit.shape[-1] - 1)])
    return np.stack(result)


def _mean(values: np.ndarray) -> float:
    """Mean of the entries that are defined, NaN if none is."""
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else float("nan")


def _check_entries(name: str, sample: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    missing = [k for k in keys if k not in sample]
    if missing:
        raise ValueError(f"{name} must have {', '.join(keys)}; {missing} missing")
    lengths = {k: len(sample[k]) for k in keys}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name} has entries of different length: {lengths}")


def _integers(name: str, values: Any) -> Tensor:
    values = torch.as_tensor(values)
    if len(values) and values.is_floating_point():
        raise ValueError(f"{name} must be integers, got {values.dtype}")
    return values


def _box_overlap(pred: Tensor, target: Tensor, same: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Intersections (D, G), 0 for different labels, and areas of boxes x1 y1 x2 y2, in float64."""
    corners = []
    for boxes in (pred, target):
        start, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
        # COCO's boxes are x y w h: the same rounding of x + w decides the last bit
        corners.append((start, start + size, size.prod(1)))
    (p0, p1, p_area), (t0, t1, t_area) = corners
    sides = (torch.minimum(p1[:, None], t1) - torch.maximum(p0[:, None], t0)).clamp(min=0)
    return sides.prod(-1) * same, p_area, t_area


def _mask_overlap(pred: Any, target: Any, same: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Intersections (D, G), 0 for different labels, and areas of masks, in float64."""
    if not isinstance(pred, Tensor):
        found = rle.overlaps(pred, target, same.cpu().numpy())
        return tuple(torch.from_numpy(x).double().to(same.device) for x in found)
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


def _pack(masks: np.ndarray) -> np.ndarray:
    """Masks (N, H, W) as words of 64 pixels, (N, ceil(H W / 64))."""
    flat = masks.reshape(len(masks), np.prod(masks.shape[1:]))
    if flat.shape[1] % 64:
        flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 64)))
    return np.packbits(flat, axis=1).view(np.uint64)
