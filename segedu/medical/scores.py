"""Compare predicted labels with the truth: scan by scan, class by class, in millimetres and ml.

A class that a scan holds neither in truth nor in prediction says nothing and is left out. If it is
in one of them only, Dice and IoU are 0 and the distances infinite; the means of the distances are
taken over the finite ones, ``missed`` counts the scans whose class is in the truth only and
``spurious`` those whose class is in the prediction only.

Of the classes that the configuration calls lesions it also counts which were found: `detections`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from segedu.medical.config import PATIENT
from segedu.medical.patients import patients_of
from segedu.medical.volume import Volume
from segedu.metrics import SurfaceMetrics, surface_distances

MEANS = ("dice", "iou", "hd95", "assd", "volume_error_ml")
DRAWS = 10_000  # of the bootstrap
MIN_PATIENTS = 5  #: with fewer no interval is given: so few say little of others
HD95_RULE = (
    "HD95 is the 95th percentile of the distances of both surfaces, pooled, between the centres of "
    "their voxels; its mean leaves out scans in which truth or prediction lacks the class."
)
LESION_RULE = (
    "Voxels that touch by faces, edges or corners are one lesion. A true lesion is hit if one of "
    "its voxels is predicted; a predicted lesion without a true voxel is a false positive. The "
    "volume and HD95 of a hit are those of the predicted lesions that share a voxel with it. The "
    "interval of the sensitivity is the exact one of Clopper and Pearson (95 %), as if lesions of "
    "one patient were independent."
)


def compare(name: str, found: Volume, truth: Volume, num_classes: int) -> list[dict[str, Any]]:
    """Scores of one scan.

    Args:
        name: of the scan.
        found: predicted labels 0 .. num_classes - 1, 0 is background.
        truth: true labels on the same grid.
        num_classes: with the background.

    Returns:
        For each class in either: ``image``, ``class``, ``true_volume_ml``, ``volume_ml``,
        ``volume_error_ml``, ``dice``, ``iou``, ``hd95`` (pooled percentile) and ``assd`` in mm.

    Raises:
        ValueError: if the two lie on different grids, or labels are out of range.
    """
    _check_grids(name, found, truth)
    labels = [np.ascontiguousarray(v.array).astype(np.int64) for v in (found, truth)]
    for which, array in zip(("prediction", "truth"), labels, strict=True):
        if array.min() < 0 or array.max() >= num_classes:
            raise ValueError(
                f"{name}: the {which} holds labels {array.min()} to {array.max()}, allowed are "
                f"0 to {num_classes - 1}"
            )
    surface = SurfaceMetrics(num_classes, truth.spacing)
    surface.update(*(torch.from_numpy(array)[None] for array in labels))
    return [_scores(name, case, *labels, truth.voxel_ml) for case in surface.compute()["cases"]]


def _check_grids(name: str, found: Volume, truth: Volume) -> None:
    if not found.same_grid(truth):
        raise ValueError(f"{name}: prediction and truth lie on different grids")


def _scores(
    name: str, distances: dict[str, float], found: np.ndarray, truth: np.ndarray, voxel_ml: float
) -> dict[str, Any]:
    """One row: volumes and overlap of a class, beside its distances."""
    p, t = found == distances["class"], truth == distances["class"]
    both, predicted, true = int((p & t).sum()), int(p.sum()), int(t.sum())
    return {
        "image": name,
        "class": distances["class"],
        "true_volume_ml": true * voxel_ml,
        "volume_ml": predicted * voxel_ml,
        "volume_error_ml": (predicted - true) * voxel_ml,
        "dice": 2 * both / (predicted + true),
        "iou": both / (predicted + true - both),
        "hd95": distances["hd95"],
        "assd": distances["assd"],
    }


class Detections(NamedTuple):
    """The lesions of one scan."""

    sizes: np.ndarray  #: (L,) voxels of each true lesion
    hit: np.ndarray  #: (L,) bool
    false_positives: int


def detections(found: np.ndarray, truth: np.ndarray) -> Detections:
    """Count the lesions that were found, whatever their outline.

    Voxels that touch by faces, edges or corners are one lesion. A true lesion is hit if one of its
    voxels is predicted; a predicted lesion without a true voxel is a false positive. So one
    predicted lesion may hit several true ones.

    Args:
        found: predicted mask, bool (D, H, W).
        truth: true mask, bool (D, H, W).

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> detections(np.array([1, 0, 0, 0, 1], bool), np.array([1, 1, 0, 0, 0], bool))
        Detections(sizes=array([2]), hit=array([ True]), false_positives=1)
    """
    if found.shape != truth.shape:
        raise ValueError(f"found and truth must have one shape, got {found.shape}, {truth.shape}")
    true, count = _numbered(truth)
    predicted, number = _numbered(found)
    both = found & truth
    sizes = np.bincount(true.ravel(), minlength=count + 1)[1:]
    hit = np.isin(np.arange(1, count + 1), true[both])
    return Detections(sizes, hit, number - len(np.unique(predicted[both])))


def each_lesion(found: Volume, truth: Volume, label: int = 1) -> list[dict[str, float | None]]:
    """Every true lesion beside the predicted lesions that share a voxel with it.

    A predicted lesion that covers two true ones counts for each of them.

    Args:
        found: predicted labels.
        truth: true labels on the same grid.
        label: which stands for lesions.

    Returns:
        For each true lesion ``true_volume_ml``, ``volume_ml`` (0 if it was missed),
        ``volume_error_percent`` of the true volume, and ``hd95`` in mm, ``None`` if it was missed.
    """
    from scipy.ndimage import find_objects

    true, _ = _numbered(truth.array == label)
    predicted, _ = _numbered(found.array == label)
    boxes, rows = find_objects(predicted), []
    for number, box in enumerate(find_objects(true), start=1):
        touched = np.unique(predicted[box][true[box] == number])
        touched = touched[touched > 0]
        around = _around([box, *(boxes[k - 1] for k in touched)])
        lesion, part = true[around] == number, np.isin(predicted[around], touched)
        of_truth, of_part = (int(mask.sum()) * truth.voxel_ml for mask in (lesion, part))
        hd95 = None
        if len(touched):
            masks = (torch.from_numpy(mask) for mask in (part, lesion))
            hd95 = surface_distances(*masks, truth.spacing).percentile(95)
        rows.append(
            {
                "true_volume_ml": of_truth,
                "volume_ml": of_part,
                "volume_error_percent": 100 * (of_part / of_truth - 1),
                "hd95": hd95,
            }
        )
    return rows


def _numbered(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """The lesions of a mask, 1 .. count (0 is background), and the count."""
    from scipy.ndimage import label

    return label(mask, np.ones((3,) * mask.ndim))  # by faces, edges or corners


def _around(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box that holds all of them."""
    sides = zip(*boxes, strict=True)
    return tuple(slice(min(s.start for s in of), max(s.stop for s in of)) for of in sides)


def compare_lesions(
    name: str, found: Volume, truth: Volume, classes: Sequence[int]
) -> list[dict[str, Any]]:
    """Lesions of one scan.

    Args:
        name: of the scan.
        found: predicted labels.
        truth: true labels on the same grid.
        classes: labels that stand for lesions.

    Returns:
        For each of the classes: ``image``, ``class``, number of ``lesions``, of ``hits`` and of
        ``false_positives``, and ``each``, a row of `each_lesion` for each true one.

    Raises:
        ValueError: if the two lie on different grids.
    """
    _check_grids(name, found, truth)
    rows = []
    for c in classes:
        seen = detections(found.array == c, truth.array == c)
        rows.append(
            {
                "image": name,
                "class": c,
                "lesions": len(seen.hit),
                "hits": int(seen.hit.sum()),
                "false_positives": seen.false_positives,
                "each": each_lesion(found, truth, c),
            }
        )
    return rows


def summarize_lesions(rows: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Per class, over the rows of `compare_lesions` of all scans.

    Returns:
        Class -> ``scans``, ``lesions``, ``hits``, ``sensitivity`` (share of the true lesions that
        were hit), ``sensitivity_low`` and ``sensitivity_high`` (95 %, Clopper and Pearson 1934),
        all three ``None`` without any lesion, and ``false_positives_per_scan``.
    """
    from scipy.stats import binomtest

    result = {}
    for c in sorted({row["class"] for row in rows}):
        mine = [row for row in rows if row["class"] == c]
        lesions, hits, wrong = (
            sum(row[key] for row in mine) for key in ("lesions", "hits", "false_positives")
        )
        low = high = None
        if lesions:
            low, high = map(float, binomtest(hits, lesions).proportion_ci())
        result[c] = {
            "scans": len(mine),
            "lesions": lesions,
            "hits": hits,
            "sensitivity": hits / lesions if lesions else None,
            "sensitivity_low": low,
            "sensitivity_high": high,
            "false_positives_per_scan": wrong / len(mine),
        }
    return result


def summarize(
    cases: Sequence[dict[str, Any]], seed: int = 0, patient: str = PATIENT
) -> dict[str, Any]:
    """Means per class, and how sure they are.

    Args:
        cases: rows of `compare`, of all scans.
        seed: of the bootstrap.
        patient: whose a scan is, as ``ProjectConfig.patient``.

    Returns:
        As a metric's ``compute()``, for `segedu.report.Report`: ``mean_dice``; ``per_class`` with
        the numbers of ``scans`` and ``patients``, the means, ``dice_low`` and ``dice_high`` (the
        95 % interval of the mean Dice if patients, not scans, are drawn with replacement; NaN
        below five patients), and how many were ``missed`` and ``spurious``; ``cases``.

    Raises:
        ValueError: if there are no cases.
    """
    if not cases:
        raise ValueError("cases must hold at least one scan with something in it, got none")
    per_class = {}
    for c in sorted({case["class"] for case in cases}):
        mine = [case for case in cases if case["class"] == c]
        owners = patients_of([case["image"] for case in mine], patient)
        low, high = _interval(mine, owners, seed)
        row = {key: _mean([case[key] for case in mine]) for key in MEANS}
        per_class[c] = {
            "scans": len(mine),
            "patients": len(set(owners)),
            "dice": row.pop("dice"),
            "dice_low": low,
            "dice_high": high,
            **row,
            "missed": sum(case["volume_ml"] == 0 for case in mine),
            "spurious": sum(case["true_volume_ml"] == 0 for case in mine),
        }
    mean_dice = float(np.mean([row["dice"] for row in per_class.values()]))
    return {"mean_dice": mean_dice, "per_class": per_class, "cases": list(cases)}


def _mean(values: list[float]) -> float:
    """Of the finite values; NaN if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _interval(cases: list[dict[str, Any]], owners: Sequence[str], seed: int) -> tuple[float, float]:
    """Percentiles 2.5 and 97.5 of the mean Dice, patients drawn with replacement."""
    patients: dict[str, list[float]] = {}
    for owner, case in zip(owners, cases, strict=True):
        patients.setdefault(owner, []).append(case["dice"])
    if len(patients) < MIN_PATIENTS:
        return math.nan, math.nan
    sums = np.array([sum(scans) for scans in patients.values()])
    counts = np.array([len(scans) for scans in patients.values()])
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5)).tolist()
    return low, high
