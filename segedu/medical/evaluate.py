"""Compare predicted labels with the truth: scan by scan, class by class, in millimetres and ml.

A class that a scan holds neither in truth nor in prediction says nothing and is left out. If it is
in one of them only, Dice and IoU are 0 and the distances infinite; the means of the distances are
taken over the finite ones, and ``missed`` counts the others.

Of the classes that the configuration calls lesions it also counts which were found: `detections`.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from segedu.files import read_json, write_json
from segedu.medical.config import PATIENT, SUBSETS
from segedu.medical.nifti import write_nifti
from segedu.medical.patients import patients_of
from segedu.medical.project import Predictor
from segedu.medical.scans import find_scans, read_pair
from segedu.medical.volume import Volume
from segedu.metrics import SurfaceMetrics
from segedu.report import Report

MEANS = ("dice", "iou", "hd95", "assd", "volume_error_ml")
DRAWS = 10_000  # of the bootstrap
LESION_RULE = (
    "Voxels that touch by faces, edges or corners are one lesion. A true lesion is hit if one of "
    "its voxels is predicted; a predicted lesion without a true voxel is a false positive."
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
    from scipy.ndimage import label

    if found.shape != truth.shape:
        raise ValueError(f"found and truth must have one shape, got {found.shape}, {truth.shape}")
    touching = np.ones((3,) * truth.ndim)
    true, count = label(truth, touching)  # 0 is background, then 1 .. count
    predicted, number = label(found, touching)
    both = found & truth
    sizes = np.bincount(true.ravel(), minlength=count + 1)[1:]
    hit = np.isin(np.arange(1, count + 1), true[both])
    return Detections(sizes, hit, number - len(np.unique(predicted[both])))


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
        ``false_positives``, and the volumes ``hit_ml`` and ``missed_ml`` of the true lesions.

    Raises:
        ValueError: if the two lie on different grids.
    """
    _check_grids(name, found, truth)
    rows = []
    for c in classes:
        seen = detections(found.array == c, truth.array == c)
        volumes = seen.sizes * truth.voxel_ml
        rows.append(
            {
                "image": name,
                "class": c,
                "lesions": len(volumes),
                "hits": int(seen.hit.sum()),
                "false_positives": seen.false_positives,
                "hit_ml": volumes[seen.hit].tolist(),
                "missed_ml": volumes[~seen.hit].tolist(),
            }
        )
    return rows


def summarize_lesions(rows: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Per class, over the rows of `compare_lesions` of all scans.

    Returns:
        Class -> ``scans``, ``lesions``, ``hits``, ``sensitivity`` (share of the true lesions that
        were hit, ``None`` without any) and ``false_positives_per_scan``.
    """
    result = {}
    for c in sorted({row["class"] for row in rows}):
        mine = [row for row in rows if row["class"] == c]
        lesions, hits, wrong = (
            sum(row[key] for row in mine) for key in ("lesions", "hits", "false_positives")
        )
        result[c] = {
            "scans": len(mine),
            "lesions": lesions,
            "hits": hits,
            "sensitivity": hits / lesions if lesions else None,
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
        the number of ``scans``, the means, ``dice_low`` and ``dice_high`` (the 95 % interval of
        the mean Dice if patients, not scans, are drawn with replacement), and how many were
        ``missed``; ``cases``.

    Raises:
        ValueError: if there are no cases.
    """
    if not cases:
        raise ValueError("cases must hold at least one scan with something in it, got none")
    per_class = {}
    for c in sorted({case["class"] for case in cases}):
        mine = [case for case in cases if case["class"] == c]
        low, high = _interval(mine, seed, patient)
        row = {key: _mean([case[key] for case in mine]) for key in MEANS}
        per_class[c] = {
            "scans": len(mine),
            "dice": row.pop("dice"),
            "dice_low": low,
            "dice_high": high,
            **row,
            "missed": sum(not math.isfinite(case["hd95"]) for case in mine),
        }
    mean_dice = float(np.mean([row["dice"] for row in per_class.values()]))
    return {"mean_dice": mean_dice, "per_class": per_class, "cases": list(cases)}


def _mean(values: list[float]) -> float:
    """Of the finite values; NaN if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _interval(cases: list[dict[str, Any]], seed: int, rule: str) -> tuple[float, float]:
    """Percentiles 2.5 and 97.5 of the mean Dice, patients drawn with replacement."""
    patients: dict[str, list[float]] = {}
    names = patients_of([case["image"] for case in cases], rule)
    for name, case in zip(names, cases, strict=True):
        patients.setdefault(name, []).append(case["dice"])
    sums = np.array([sum(scans) for scans in patients.values()])
    counts = np.array([len(scans) for scans in patients.values()])
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5)).tolist()
    return low, high


def evaluate(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    subset: str = "test",
    device: str | None = None,
    on_scan: Callable[[str, list[dict[str, Any]]], None] | None = None,
) -> dict[str, Any]:
    """Predict the scans of one part of a run's split, and compare them with the truth.

    Leaves ``predictions/NAME.nii.gz``, ``scores.json``, ``classes.csv``, ``cases.csv`` and the
    run's ``config.json`` in ``out``, which is all that the report needs beside the scans.

    Args:
        run: folder that `segedu.medical.project.train` left.
        data: the scans it was trained on, in the layout of the Decathlon.
        out: folder of the evaluation, made if need be.
        subset: ``"train"``, ``"val"`` or ``"test"``.
        device: the GPU if there is one, else the CPU.
        on_scan: called with the name and the scores of each scan.

    Returns:
        What `summarize` returns, with ``lesions`` from `summarize_lesions`; ``scores.json`` also
        holds the lesions of each scan.

    Raises:
        FileNotFoundError: if the run or a scan of its split is missing.
        ValueError: for an unknown or empty subset, or labels that do not fit.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {SUBSETS}, got {subset!r}")
    predictor, out = Predictor(run, device), Path(out)
    names = read_json(Path(run, "split.json"))[subset]
    if not names:
        raise ValueError(f"subset: the run has no {subset} scans")
    scans = {name: (image, label) for name, image, label in find_scans(data)}
    if missing := sorted(set(names) - scans.keys()):
        raise FileNotFoundError(f"scans of the run that are not there: {', '.join(missing)}")
    (out / "predictions").mkdir(parents=True, exist_ok=True)
    config, cases, lesions = predictor.config, [], []
    numbers = [config.classes.index(lesion) for lesion in config.lesions]
    for name in names:
        image, truth = read_pair(*scans[name])
        found = predictor(image)
        write_nifti(found, out / "predictions" / f"{name}.nii.gz")
        rows = compare(name, found, truth, len(config.classes))
        cases += rows
        lesions += compare_lesions(name, found, truth, numbers)
        if on_scan:
            on_scan(name, rows)
    result = summarize(cases, patient=config.patient) | {"lesions": summarize_lesions(lesions)}
    report = Report(result, config.classes)
    scores = json.loads(report.to_json())
    if lesions:
        per_class = [{"class": config.classes[c]} | row for c, row in result["lesions"].items()]
        scores["lesions"] = {"rule": LESION_RULE, "classes": per_class, "scans": lesions}
    write_json(out / "scores.json", scores)
    report.to_csv(out / "classes.csv")
    report.to_csv(out / "cases.csv", what="cases")
    config.save(out / "config.json")
    return result


def read_cases(folder: str | Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of `compare` and of `compare_lesions` that `evaluate` left in ``scores.json``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no evaluation.
    """
    path = Path(folder, "scores.json")
    scores = read_json(path)
    try:
        cases = [{k: math.inf if v is None else v for k, v in c.items()} for c in scores["cases"]]
        return cases, scores.get("lesions", {"scans": []})["scans"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no scores of an evaluation: {error}") from error
