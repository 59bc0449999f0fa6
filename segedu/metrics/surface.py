"""Distances between the surfaces of two masks, 2-D or 3-D."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segedu.metrics.base import Metric
from segedu.metrics.labels import NOT_A_NUMBER, label_maps
from segedu.ops import binary_masks
from segedu.ops.distance import check_spacing, distance_transform

HD95 = ("pooled", "max", "weighted")


class SurfaceDistances(NamedTuple):
    """Distance of every surface element of one mask to the other's surface, in units of spacing.

    ``pred_weight`` and ``target_weight`` are the lengths or areas of the elements, 1 for pixels;
    `average` and `dice` weigh by them, and so does the percentile called "weighted".
    """

    pred_to_target: np.ndarray  # (P,)
    target_to_pred: np.ndarray  # (T,)
    pred_weight: np.ndarray  # (P,)
    target_weight: np.ndarray  # (T,)

    def hausdorff(self) -> float:
        """Largest distance of any element of either surface to the other surface."""
        return float(max(self.pred_to_target.max(), self.target_to_pred.max()))

    def percentile(self, q: float, definition: str = "pooled") -> float:
        """Robust Hausdorff distance, q in percent; `SurfaceMetrics` has the definitions."""
        if definition == "pooled":
            return float(np.percentile(np.hstack([self.pred_to_target, self.target_to_pred]), q))
        directed = [
            (self.pred_to_target, self.pred_weight),
            (self.target_to_pred, self.target_weight),
        ]
        if definition == "max":
            return float(max(np.percentile(d, q) for d, _ in directed))
        return max(_weighted_percentile(d, w, q) for d, w in directed)

    def average(self) -> float:
        """Mean of all distances of both surfaces (ASSD; MedPy's and MONAI's symmetric form)."""
        distances, weights = self._both()
        return float(np.average(distances, weights=weights))

    def dice(self, tolerance: float) -> float:
        """Share of both surfaces within ``tolerance`` of the other: of their number of pixels
        (MONAI), or of their length or area where the distances are weighted (Nikolov et al. 2018).
        """
        _check_tolerance(tolerance)
        distances, weights = self._both()
        return float(weights[distances <= tolerance].sum() / weights.sum())

    def _both(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances (P + T,) and weights (P + T,) of the elements of both surfaces."""
        distances = np.hstack([self.pred_to_target, self.target_to_pred])
        return distances, np.hstack([self.pred_weight, self.target_weight])


def _check_tolerance(tolerance: float) -> None:
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be >= 0, got {tolerance}")


def surface_distances(
    pred: Tensor,
    target: Tensor,
    spacing: Sequence[float] | None = None,
    *,
    weighted: bool = False,
) -> SurfaceDistances:
    """Exact distances between the surfaces of two masks that are not empty.

    A surface element is a pixel (voxel) of the mask with one of its 4 (6) neighbours outside of it;
    beyond the frame everything is outside.

    Args:
        pred: bool or 0/1 mask (H, W) or (D, H, W).
        target: mask of the same shape.
        spacing: distance between neighbours along each axis, for instance in mm; default 1.
        weighted: surface elements are the pieces of surface between four pixel (eight voxel)
            centres, placed at the corner they share and weighted by their length (area), as in
            DeepMind's surface-distance (Nikolov et al. 2018).

    Raises:
        ValueError: shapes differ, are not 2-D or 3-D, or a mask is empty or has other values.
    """
    if pred.shape != target.shape or pred.ndim not in (2, 3):
        raise ValueError(
            "pred and target must be masks of one shape, 2-D or 3-D, "
            f"got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    spacing = check_spacing(spacing, pred.ndim)
    pred, target = binary_masks(pred, "pred"), binary_masks(target, "target")
    box = _bounding_box(pred | target)
    masks = [_check_not_empty("pred", pred[box]), _check_not_empty("target", target[box])]
    if weighted:
        codes = [_cell_codes(m) for m in masks]
        surfaces = [(c > 0) & (c < 2**2**pred.ndim - 1) for c in codes]
        sizes = element_sizes(spacing)
        weights = [sizes[c[s].cpu().numpy()] for c, s in zip(codes, surfaces, strict=True)]
    else:
        surfaces = [surface(m) for m in masks]
        weights = []
    directed = _distances(*surfaces, spacing)
    return SurfaceDistances(*directed, *(weights or map(np.ones_like, directed)))


def surface(mask: Tensor) -> Tensor:
    """Elements of a bool mask (*S) with a direct neighbour outside of it."""
    # In a frame of False and laid out flat, every neighbour is one fixed step away.
    framed = torch.nn.functional.pad(mask, (1, 1) * mask.ndim)
    flat = framed.flatten()
    inside = flat.clone()
    for step in framed.stride():
        inside[step:] &= flat[:-step]
        inside[:-step] &= flat[step:]
    return (flat & ~inside).view(framed.shape)[(slice(1, -1),) * mask.ndim]


def _check_not_empty(name: str, mask: Tensor) -> Tensor:
    if not mask.any():
        raise ValueError(f"{name} is empty: a distance to it is not defined")
    return mask


def _bounding_box(mask: Tensor) -> tuple[slice, ...]:
    """Smallest box that holds the mask."""
    array = mask if mask.is_cuda else mask.numpy()  # whose ``any`` is several times as fast
    axes = range(mask.ndim)
    lines = [array.any(tuple(a for a in axes if a != axis)) for axis in axes]
    places = [torch.as_tensor(line).nonzero() for line in lines]
    return tuple(slice(int(x[0]), int(x[-1]) + 1) if len(x) else slice(0, 0) for x in places)


def _distances(
    first: Tensor, second: Tensor, spacing: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from each element of a surface to the nearest of the other, both ways."""
    pair = (first, second), (second, first)
    if first.is_cuda:
        return tuple(distance_transform(~to, spacing)[from_].cpu().numpy() for from_, to in pair)
    from scipy.spatial import cKDTree

    points = [
        np.stack(np.unravel_index(np.flatnonzero(s.numpy()), s.shape), 1) * spacing
        for s in (first, second)
    ]
    # Points on a grid need no balanced tree, and leaves larger than usual are searched faster.
    trees = [cKDTree(x, leafsize=24, balanced_tree=False) for x in points]
    return trees[1].query(points[0])[0], trees[0].query(points[1])[0]


def _cell_codes(mask: Tensor) -> Tensor:
    """Which of the pixels around each corner belong to the mask, as bits: int64 (*S + 1)."""
    framed = torch.nn.functional.pad(mask, (1, 1) * mask.ndim).long()
    codes = torch.zeros([n + 1 for n in mask.shape], dtype=torch.int64, device=mask.device)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        part = tuple(slice(i, i + n) for i, n in zip(corner, codes.shape, strict=True))
        codes |= framed[part] << bit
    return codes


def element_sizes(spacing: tuple[float, ...]) -> np.ndarray:
    """Length or area of the surface element of each code of ``_cell_codes``."""
    # A face grows with the spacing along all axes but the one it looks along.
    scale = np.prod(spacing) / np.array(spacing)
    return np.array([np.linalg.norm(n * scale, axis=1).sum() for n in _element_normals(len(scale))])


@functools.cache
def _element_normals(ndim: int) -> list[np.ndarray]:
    """Faces of the surface in a cell of 2^ndim pixel centres, by code: area vectors (F, ndim).

    Marching cubes (Lorensen & Cline 1987): the surface cuts the edges of the cell in their middle,
    and of two ways it cuts off the fewer corners. Corners joined by edges are cut off together, by
    the faces of their convex hull with the cuts; a bent path of four is one case apart.
    """
    from scipy.spatial import ConvexHull

    corners = np.array(list(itertools.product((0, 1), repeat=ndim)))
    linked = np.abs(corners[:, None] - corners).sum(-1) == 1
    table = []
    for code in range(2 ** len(corners)):
        on = (code >> np.arange(len(corners)) & 1).astype(bool)
        on = ~on if 2 * on.sum() > len(on) else on
        normals = [np.zeros(ndim)]
        while on.any():
            part = np.arange(len(on)) == on.argmax()
            for _ in corners:
                part |= on & linked[part].any(0)
            on = on & ~part
            degree = linked[part][:, part].sum(1)
            if sorted(degree) == [1, 1, 2, 2]:  # a path around the cell, whose cuts are no plane
                normals += _bent_path(corners[part][degree == 2])
                continue
            inner, outer = np.nonzero(linked & part[:, None] & ~part)
            points = np.concatenate([corners[part], (corners[inner] + corners[outer]) / 2])
            for face in points[ConvexHull(points).simplices]:
                if ((face == 0).all(0) | (face == 1).all(0)).any():
                    continue  # lies in the frame of the cell
                sides = face[1:] - face[0]
                minors = [np.linalg.det(np.delete(sides, axis, 1)) for axis in range(ndim)]
                normals.append(np.array(minors) / (ndim - 1))  # a triangle is half of its square
        table.append(np.array(normals))
    return table


def _bent_path(middle: np.ndarray) -> list[np.ndarray]:
    """Area vectors for four corners on a path along three axes, given its middle two (2, 3).

    Of the six cuts around it every other one spans a triangle, and the rest are the tips of three
    more. The first and one of these look along the diagonal, the others along it without one axis.
    """
    along = np.arange(3)
    (across,) = np.flatnonzero(middle[0] != middle[1])
    return [np.full(3, 0.5), *(0.25 * (along != axis) for axis in along if axis != across)]


def _weighted_percentile(distance: np.ndarray, weight: np.ndarray, q: float) -> float:
    """First distance at which the sorted weights reach q percent of their sum."""
    order = np.argsort(distance, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    place = np.searchsorted(share, q / 100)
    return float(distance[order][min(place, len(order) - 1)])


class SurfaceMetrics(Metric):
    """Hausdorff distance, HD95, ASSD and surface Dice of each class in each image, and their means.

    HD95 goes by three definitions, which differ by a factor of 3 on the same masks:

    - ``"pooled"`` (default, MedPy): 95th percentile of the distances of both surfaces together;
    - ``"max"`` (MONAI): the larger of the two directed 95th percentiles;
    - ``"weighted"`` (DeepMind's surface-distance): as ``"max"``, with elements of the surface
      between the pixel centres, weighted by their length or area. The surface Dice is then theirs,
      too: a share of length or area; otherwise it is a share of the pixels (MONAI).

    A class that is in neither mask of an image is left out. If it is in one only, the distances are
    ``missing`` and the surface Dice is 0.

    Args:
        num_classes: C.
        spacing: distance between neighbours along each axis; default 1.
        tolerance: give ``surface_dice`` at this distance as well.
        hd95: one of the three definitions.
        include_background: class 0 takes part.
        ignore_index: label of the pixels left out of both masks.
        missing: the distance for a class that one mask lacks, infinity or for instance the
            diagonal.

    Finding the surfaces needs their sizes, so unlike the other metrics this one waits for a GPU.
    """

    def __init__(
        self,
        num_classes: int,
        spacing: Sequence[float] | None = None,
        *,
        tolerance: float | None = None,
        hd95: str = "pooled",
        include_background: bool = False,
        ignore_index: int = 255,
        missing: float = float("inf"),
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if hd95 not in HD95:
            raise ValueError(f"hd95 must be one of {HD95}, got {hd95!r}")
        if tolerance is not None:
            _check_tolerance(tolerance)
        if not missing >= 0:
            raise ValueError(f"missing must be a distance >= 0 or infinite, got {missing}")
        self.num_classes = num_classes
        self.spacing = None if spacing is None else check_spacing(spacing, len(spacing))
        self.tolerance = tolerance
        self.hd95 = hd95
        self.include_background = include_background
        self.ignore_index = ignore_index
        self.missing = missing
        super().__init__()

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            pred: labels (N, *S) or logits (N, C, *S), 2-D or 3-D.
            target: labels (N, *S).

        Raises:
            TypeError: the target is not of an integer type.
            ValueError: shapes or devices differ, a label is out of range, or a logit NaN.
        """
        pred, unknown = label_maps(pred, target, self.num_classes)
        if unknown.any():
            raise ValueError(NOT_A_NUMBER)
        pred = torch.where(target == self.ignore_index, self.ignore_index, pred.long())
        for name, labels in (("pred", pred), ("target", target)):
            bad = (target != self.ignore_index) & ((labels < 0) | (labels >= self.num_classes))
            if bad.any():
                raise ValueError(
                    f"{name} holds labels {labels[bad].unique().tolist()} that are no class"
                )
        classes = range(0 if self.include_background else 1, self.num_classes)
        self._records += [
            {c: case for c in classes if (case := self._case(p == c, t == c))}
            for p, t in zip(pred, target, strict=True)
        ]

    def _case(self, pred: Tensor, target: Tensor) -> dict[str, float]:
        there = bool(pred.any()), bool(target.any())
        if not any(there):
            return {}
        if not all(there):
            case = dict.fromkeys(("hd", "hd95", "assd"), self.missing)
            return case if self.tolerance is None else case | {"surface_dice": 0.0}
        d = surface_distances(pred, target, self.spacing)
        case = {"hd": d.hausdorff(), "assd": d.average()}
        if self.hd95 == "weighted":
            d = surface_distances(pred, target, self.spacing, weighted=True)
        if self.tolerance is not None:
            case["surface_dice"] = d.dice(self.tolerance)
        return case | {"hd95": d.percentile(95, self.hd95)}

    def compute(self) -> dict[str, Any]:
        """Read the numbers.

        Returns:
            ``hd``, ``hd95``, ``assd`` (and ``surface_dice``): mean over classes of the mean over
            the images in which the class occurs, NaN if there is none; ``per_class``: class -> the
            same and ``images``; ``cases``: for each image and class in it a dict of ``image``,
            ``class`` and the same.
        """
        cases = [
            {"image": i, "class": c} | case
            for i, image in enumerate(self._records)
            for c, case in image.items()
        ]
        keys = ["hd", "hd95", "assd"] + ["surface_dice"] * (self.tolerance is not None)
        per_class = {}
        for c in sorted({case["class"] for case in cases}):
            mine = [case for case in cases if case["class"] == c]
            # A sorted sum does not depend on the order in which the images came.
            means = {key: sum(sorted(case[key] for case in mine)) / len(mine) for key in keys}
            per_class[c] = means | {"images": len(mine)}
        result: dict[str, Any] = {
            key: sum(row[key] for row in per_class.values()) / len(per_class)
            if per_class
            else float("nan")
            for key in keys
        }
        return result | {"per_class": per_class, "cases": cases}
