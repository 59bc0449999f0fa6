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
# Numbers in the arrays of one step of the matching.
_CHUNK = 1 << 20


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
        crowd = torch.as_tensor(target.get("iscrowd", torch.zeros(count))).bool()
        crowd = crowd.to(target_labels.device)
        overlap = _mask_overlap if self.iou_type == "segm" else _box_overlap
        hit, areas, target_areas = overlap(pred[key], target[key], labels, target_labels)
        union = areas[:, None] + torch.where(crowd, 0, target_areas - hit)
        iou = torch.where(hit > 0, hit / torch.where(hit > 0, union, 1), 0)
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
        images = [_Image(*(t.cpu().numpy() for t in image)) for image in self._images]
        groups: dict[int, list[_Group]] = {}  # label -> its images, in order
        for image in images:
            for label in np.unique(np.concatenate([image.labels, image.target_labels])):
                groups.setdefault(int(label), []).append(_group(image, label))
        return _Table(dict(sorted(groups.items()))).summary()


class _Group(NamedTuple):
    """Detections, by falling score, and targets of one category in one image."""

    scores: np.ndarray  # (D,)
    outside: np.ndarray  # (A, D) detection is outside the range of sizes
    ignore: np.ndarray  # (A, G)
    crowd: np.ndarray  # (G,)
    iou: np.ndarray  # (D, G)


def _group(image: _Image, label: int) -> _Group:
    targets = image.target_labels == label
    chosen = np.flatnonzero(image.labels == label)
    chosen = chosen[np.argsort(-image.scores[chosen], kind="stable")][: MAX_DETECTIONS[-1]]
    crowd = image.crowd[targets]
    return _Group(
        image.scores[chosen],
        _out_of_range(image.areas[chosen]),
        _out_of_range(image.target_areas[targets]) | crowd,
        crowd,
        image.iou[chosen][:, targets],
    )


def _out_of_range(areas: np.ndarray) -> np.ndarray:
    """Whether each area (n,) is outside of each range: (A, n)."""
    return np.stack([(areas < low) | (areas > high) for low, high in AREAS.values()])


def _match(groups: list[_Group]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each group, which detections took a target, and which count for nothing: (A, T, D)."""
    taken = [np.zeros((len(AREAS), len(IOU_THRESHOLDS), len(g.scores)), bool) for g in groups]
    ignored = [t.copy() for t in taken]
    # Groups of like size share arrays; each step of the loop treats one rank in all of them.
    order = sorted(range(len(groups)), key=lambda i: groups[i].iou.shape[::-1])
    order = [i for i in order if groups[i].iou.size]
    while order:
        targets = max(1, groups[order[0]].iou.shape[1])
        step = max(1, _CHUNK // (len(AREAS) * len(IOU_THRESHOLDS) * 2 * targets))
        part = [i for i in order[:step] if groups[i].iou.shape[1] <= 2 * targets]
        order = order[len(part) :]
        _match_together(
            [groups[i] for i in part], [taken[i] for i in part], [ignored[i] for i in part]
        )
    for group, t, i in zip(groups, taken, ignored, strict=True):
        i |= ~t & group.outside[:, None]
    return taken, ignored


def _match_together(groups: list[_Group], taken: list, ignored: list) -> None:
    """Greedy matching of several groups, rank by rank; writes into ``taken`` and ``ignored``."""
    by_size = sorted(range(len(groups)), key=lambda i: -len(groups[i].scores))
    groups, taken, ignored = ([x[i] for i in by_size] for x in (groups, taken, ignored))
    k, width = len(groups), max(g.iou.shape[1] for g in groups)
    ranks = [len(g.scores) for g in groups]
    iou = np.full((k, ranks[0], width), -1.0)
    ignore = np.ones((k, len(AREAS), 1, width), bool)
    crowd = np.zeros((k, 1, 1, width), bool)
    for i, g in enumerate(groups):
        d, n = g.iou.shape
        # Targets in reverse, so that argmax, which takes the first of equals, takes the last.
        iou[i, :d, :n] = g.iou[:, ::-1]
        ignore[i, :, 0, :n] = g.ignore[:, ::-1]
        crowd[i, 0, 0, :n] = g.crowd[::-1]
    threshold = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    free = np.ones((k, len(AREAS), len(IOU_THRESHOLDS), width), bool)
    for rank in range(ranks[0]):
        live = sum(r > rank for r in ranks)
        here = iou[:live, rank, None, None]  # (live, 1, 1, G)
        fits = (free[:live] | crowd[:live]) & (here >= threshold)
        proper = fits & ~ignore[:live]
        fits = np.where(proper.any(-1, keepdims=True), proper, fits)
        best = np.where(fits, here, -1.0).argmax(-1)[..., None]
        found = fits.any(-1)
        np.put_along_axis(
            free[:live], best, np.take_along_axis(free[:live], best, -1) & ~found[..., None], -1
        )
        skip = np.take_along_axis(np.broadcast_to(ignore[:live], fits.shape), best, -1)[..., 0]
        for i in range(live):
            taken[i][:, :, rank] = found[i]
            ignored[i][:, :, rank] = found[i] & skip[i]


class _Table:
    """Precision and recall of every category, size and number of detections."""

    # The combinations that the twelve numbers read.
    WANTED = (("all", 100), ("s", 100), ("m", 100), ("l", 100), ("all", 1), ("all", 10))

    def __init__(self, groups: dict[int, list[_Group]]) -> None:
        taken, ignored = _match([g for rows in groups.values() for g in rows])
        matches = iter(zip(taken, ignored, strict=True))
        shape = len(IOU_THRESHOLDS), len(RECALLS), len(groups)
        self.labels = list(groups)
        self.precision = {want: -np.ones(shape) for want in self.WANTED}
        self.recall = {want: -np.ones((shape[0], shape[2])) for want in self.WANTED}
        for k, rows in enumerate(groups.values()):
            matched = [(g, *next(matches)) for g in rows]
            for want in self.WANTED:
                self._category(k, matched, want)

    def _category(self, k: int, rows: list, want: tuple[str, int]) -> None:
        size, most = list(AREAS).index(want[0]), want[1]
        positives = sum(int((~g.ignore[size]).sum()) for g, _, _ in rows)
        if positives == 0:
            return
        scores = np.concatenate([g.scores[:most] for g, _, _ in rows])
        order = np.argsort(-scores, kind="stable")
        taken = np.concatenate([t[size, :, :most] for _, t, _ in rows], 1)[:, order]
        counts = ~np.concatenate([i[size, :, :most] for _, _, i in rows], 1)[:, order]
        tp = (taken & counts).cumsum(1, dtype=float)
        fp = (~taken & counts).cumsum(1, dtype=float)
        recall = tp / positives
        self.recall[want][:, k] = recall[:, -1] if len(order) else 0
        if most < MAX_DETECTIONS[-1]:
            return  # only its recall is asked for
        precision = tp / (fp + tp + np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        self.precision[want][:, :, k] = 0
        for t in range(len(IOU_THRESHOLDS)):
            places = np.searchsorted(recall[t], RECALLS, side="left")
            inside = places < len(order)
            self.precision[want][t, inside, k] = precision[t, places[inside]]

    def summary(self) -> dict[str, Any]:
        """The dict that ``MaskAP.compute`` returns."""
        every = self.precision["all", 100]
        result: dict[str, Any] = {
            "AP": _mean(every),
            "AP50": _mean(every[0]),
            "AP75": _mean(every[5]),
        }
        result |= {f"AP{size}": _mean(self.precision[size, 100]) for size in "sml"}
        result |= {f"AR{most}": _mean(self.recall["all", most]) for most in MAX_DETECTIONS}
        result |= {f"AR{size}": _mean(self.recall[size, 100]) for size in "sml"}
        result["per_class"] = {
            label: {
                "AP": _mean(every[:, :, k]),
                "AP50": _mean(every[0, :, k]),
                "AP75": _mean(every[5, :, k]),
                "AR100": _mean(self.recall["all", 100][:, k]),
            }
            for k, label in enumerate(self.labels)
        }
        return result | {"labels": np.array(self.labels, dtype=np.int64), "precision": every}


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
    pred, target = _dense(pred), _dense(target)
    if len(pred) and len(target) and pred.shape[1:] != target.shape[1:]:
        raise ValueError(
            "masks of prediction and target must have the same size, "
            f"got {tuple(pred.shape[1:])} and {tuple(target.shape[1:])}"
        )
    same = labels[:, None] == target_labels
    if pred.is_cuda:
        # 0 and 1 are exact in every float type and so are float32 sums below 2 ** 24
        p, t = (x.flatten(1).float() for x in (pred, target))
        hit = p @ t.T if len(p) and len(t) else p.new_zeros(len(p), len(t))
        return (hit * same).double(), p.sum(1).double(), t.sum(1).double()
    p, t = (_pack(x.numpy()) for x in (pred, target))
    hit = np.zeros((len(p), len(t)))
    for g in range(len(t)):
        words = np.flatnonzero(t[g])
        rows = np.flatnonzero(same[:, g].numpy())
        if len(words) and len(rows):
            inside = slice(words[0], words[-1] + 1)
            hit[rows, g] = np.bitwise_count(p[rows, inside] & t[g, inside]).sum(1)
    areas = (torch.from_numpy(np.bitwise_count(x).sum(1, dtype=np.float64)) for x in (p, t))
    return torch.from_numpy(hit), *areas


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
    packed = np.packbits(masks.reshape(len(masks), np.prod(masks.shape[1:])), axis=1)
    packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))
    return packed.view(np.uint64)
