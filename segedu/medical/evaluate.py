"""Judge predictions: those of a run on scans with labels, or two folders of masks.

An evaluation is a folder with ``scores.json``, ``classes.csv``, ``cases.csv``, ``config.json`` and
the masks ``truth/NAME.nii.gz`` and ``predictions/NAME.nii.gz``: all that a report needs, but for
the images.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from segedu import __version__
from segedu.files import read_json, write_json
from segedu.medical.config import PATIENT, SUBSETS, ProjectConfig
from segedu.medical.fingerprint import read_labelled
from segedu.medical.nifti import read_nifti, write_nifti
from segedu.medical.patients import patients_of
from segedu.medical.project import Predictor
from segedu.medical.scans import Scan, find_scans, list_niftis, read_classes
from segedu.medical.scores import (
    HD95_RULE,
    LESION_RULE,
    compare,
    compare_lesions,
    summarize,
    summarize_lesions,
)
from segedu.medical.volume import Volume
from segedu.report import Report

NEW = "new"  #: scans of the folder that took no part in the run
Pair = tuple[str, Volume, Volume]  # name, prediction, truth
OnScan = Callable[[str, list[dict[str, Any]]], None]


def evaluate(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    subset: str = "test",
    device: str | None = None,
    on_scan: OnScan | None = None,
) -> dict[str, Any]:
    """Predict scans with labels, and compare them with the truth.

    All scans are read and checked before the first is predicted; what was scored before a failure
    or an interruption is kept.

    Args:
        run: folder that `segedu.medical.project.train` left.
        data: the scans, in the layout of the Decathlon.
        out: folder of the evaluation, made if need be.
        subset: ``"train"``, ``"val"`` or ``"test"`` of the run's split; or ``"new"``, every scan of
            ``data`` that is in none of them, such as those of another hospital.
        device: the GPU if there is one, else the CPU.
        on_scan: called with the name and the scores of each scan.

    Returns:
        What `summarize` returns, with ``lesions`` from `summarize_lesions` and what it was judged
        ``about``; ``scores.json`` also holds the lesions of each scan.

    Raises:
        FileNotFoundError: if the run or a scan of its split is missing.
        ValueError: for an unknown or empty subset, or labels that do not fit.
    """
    if subset not in (*SUBSETS, NEW):
        raise ValueError(f"subset must be one of {(*SUBSETS, NEW)}, got {subset!r}")
    predictor, out = Predictor(run, device), Path(out)
    config, split = predictor.config, read_json(Path(run, "split.json"))
    scans = _chosen(split, find_scans(data), subset, config)
    unlike = {}
    for name, *files in scans:
        if strange := predictor.unlike(read_labelled(*files, len(config.classes))[0]):
            unlike[name] = strange

    def predicted() -> Iterable[Pair]:
        for name, *files in scans:
            scan, truth = read_labelled(*files, len(config.classes))
            yield name, predictor.segment(scan), truth

    about = {"subset": subset, **_about_run(Path(run), predictor, split), "unlike": unlike}
    return _judge(out, config, len(scans), predicted(), about, on_scan)


def score(
    truth: str | Path,
    prediction: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str] = (),
    lesions: Sequence[str] = (),
    patient: str = PATIENT,
    on_scan: OnScan | None = None,
) -> dict[str, Any]:
    """Compare masks with masks, whoever made them.

    Args:
        truth: a NIfTI file, or a folder of such.
        prediction: likewise; files of a folder go by the names of those in ``truth``. They may be
            stored in another direction, but must lie on the same grid.
        out: folder of the evaluation, made if need be.
        classes: names of the labels, background first; by default those of a ``dataset.json`` in
            or above ``truth``, or their numbers.
        lesions, patient: as in `ProjectConfig`.
        on_scan: called with the name and the scores of each scan.

    Returns:
        As `evaluate`.

    Raises:
        FileNotFoundError: if there is no mask, or a prediction is missing.
        ValueError: if masks do not fit together or hold other labels than ``classes``.
    """
    pairs = _paired(Path(truth), Path(prediction))
    labels = max(max(int(v.array.max()) for v in _masks(*files)) for _, *files in pairs) + 1
    names = tuple(classes) or _names_of(Path(truth), labels)
    if labels > len(names):
        raise ValueError(f"there are labels up to {labels - 1}, but names of {len(names)} classes")
    config = ProjectConfig(classes=names, lesions=tuple(lesions), patient=patient)
    patients_of([name for name, *_ in pairs], patient)
    about = {"subset": "masks"}
    both = ((name, *_masks(*files)[::-1]) for name, *files in pairs)
    return _judge(Path(out), config, len(pairs), both, about, on_scan)


def pool(folders: Sequence[str | Path], out: str | Path) -> dict[str, Any]:
    """One evaluation of what the folds of a cross-validation tested: every patient once.

    Args:
        folders: evaluations of the test scans of each fold's run.
        out: folder of the pooled evaluation, made if need be.

    Returns:
        As `evaluate`.

    Raises:
        FileNotFoundError: if one of them is no evaluation.
        ValueError: if they judge other classes, other subsets, or a scan twice.
    """
    pairs: dict[str, tuple[Path, Path]] = {}
    unlike, configs = {}, [ProjectConfig.load(Path(folder, "config.json")) for folder in folders]
    if not configs:
        raise ValueError("folders must name at least one evaluation, got none")
    for folder, config in zip(map(Path, folders), configs, strict=True):
        about = read_scores(folder)[2]
        if (config.classes, config.lesions) != (configs[0].classes, configs[0].lesions):
            raise ValueError(f"{folder} judges other classes than {folders[0]}")
        if about["subset"] != "test" or about["scored"] < about["scans"]:
            raise ValueError(f"{folder} must be an evaluation of all test scans of a run")
        unlike |= about["unlike"]
        for name in about["names"]:
            if name in pairs:
                raise ValueError(f"{folder} judges {name}, which another evaluation has, too")
            files = (folder / part / f"{name}.nii.gz" for part in ("truth", "predictions"))
            pairs[name] = tuple(files)
    both = ((name, *_masks(*pairs[name])[::-1]) for name in sorted(pairs))
    about = {"subset": "folds", "runs": len(configs), "unlike": unlike}
    return _judge(Path(out), configs[0], len(pairs), both, about, None)


def read_scores(folder: str | Path) -> tuple[list[dict], list[dict], dict[str, Any]]:
    """What `evaluate` or `score` left in ``scores.json``.

    Returns:
        The rows of `compare`, those of `compare_lesions`, and what they are about.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no evaluation.
    """
    path = Path(folder, "scores.json")
    scores = read_json(path)
    try:
        cases = [{k: math.inf if v is None else v for k, v in c.items()} for c in scores["cases"]]
        lesions = scores.get("lesions", {"scans": []})["scans"]
        lesions = [row | {"each": list(row["each"])} for row in lesions]
        return cases, lesions, dict(scores["about"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no scores of an evaluation: {error}") from error


def _judge(
    out: Path,
    config: ProjectConfig,
    count: int,
    pairs: Iterable[Pair],
    about: dict[str, Any],
    on_scan: OnScan | None,
) -> dict[str, Any]:
    """Score one scan after the other, and leave an evaluation of those that were."""
    numbers = [config.classes.index(lesion) for lesion in config.lesions]
    cases, lesions, names, result = [], [], [], None
    try:
        for name, found, truth in pairs:
            rows = compare(name, found, truth, len(config.classes))
            lesion_rows = compare_lesions(name, found, truth, numbers)
            for folder, mask in (("predictions", found), ("truth", truth)):
                write_nifti(mask, out / folder / f"{name}.nii.gz")
            cases += rows
            lesions += lesion_rows
            names.append(name)
            if on_scan:
                on_scan(name, rows)
    finally:  # what was scored is kept, whatever becomes of the others
        if cases:
            about = about | {
                "date": date.today().isoformat(),
                "segedu": __version__,
                "scans": count,
                "scored": len(names),
                "names": names,
                "hd95": HD95_RULE,
            }
            result = _write(out, config, cases, lesions, about)
    if result is None:
        raise ValueError("no scan holds a class in truth or prediction: there is nothing to score")
    return result


def _write(
    out: Path,
    config: ProjectConfig,
    cases: list[dict[str, Any]],
    lesions: list[dict[str, Any]],
    about: dict[str, Any],
) -> dict[str, Any]:
    """Means, tables and settings of an evaluation."""
    result = summarize(cases, patient=config.patient) | {"lesions": summarize_lesions(lesions)}
    report = Report(result, config.classes)
    scores = {"about": about, **json.loads(report.to_json())}
    if lesions:
        per_class = [{"class": config.classes[c]} | row for c, row in result["lesions"].items()]
        scores["lesions"] = {"rule": LESION_RULE, "classes": per_class, "scans": lesions}
    write_json(out / "scores.json", scores)
    report.to_csv(out / "classes.csv")
    report.to_csv(out / "cases.csv", what="cases")
    config.save(out / "config.json")
    return result | {"about": about}


def _chosen(
    split: dict[str, list[str]], scans: Sequence[Scan], subset: str, config: ProjectConfig
) -> list[Scan]:
    """The scans to judge, in the order of their names."""
    if subset == NEW:
        return _new(split, scans, config)
    wanted = set(split[subset])
    if not wanted:
        raise ValueError(f"subset: the run has no {subset} scans; choose val, or new scans")
    if missing := sorted(wanted - {name for name, *_ in scans}):
        raise FileNotFoundError(f"scans of the run that are not there: {', '.join(missing)}")
    return [scan for scan in scans if scan[0] in wanted]


def _new(split: dict[str, list[str]], scans: Sequence[Scan], config: ProjectConfig) -> list[Scan]:
    known = {name for names in split.values() for name in names}
    new = [scan for scan in scans if scan[0] not in known]
    if not new:
        raise ValueError("subset: every scan of the folder is in the split of the run, none is new")
    owners = patients_of([name for name, *_ in new], config.patient)
    if both := sorted(set(owners) & set(patients_of(sorted(known), config.patient))):
        raise ValueError(
            f"subset: {', '.join(both)} took part in the run, so that their other scans are not "
            "new; rename the files if they are other people"
        )
    return new


def _about_run(run: Path, predictor: Predictor, split: dict[str, list[str]]) -> dict[str, Any]:
    """What a reader of the scores must know of the network."""
    config = predictor.config
    trained = read_json(run / "run.json").get("date") if (run / "run.json").exists() else None
    return {
        "model": config.model,
        "dimensions": config.dimensions,
        "parameters": sum(p.numel() for p in predictor.model.parameters()),
        "trained": trained,
        "training_scans": len(split["train"]),
        "training_patients": len(set(patients_of(split["train"], config.patient))),
        "spacing": list(config.spacing),
        "patch": list(config.patch),
        "channels": config.channels,
        "intensity": list(config.intensity),
        "largest": list(config.largest),
    }


def _paired(truth: Path, prediction: Path) -> list[tuple[str, Path, Path]]:
    """Name, truth and prediction of each scan."""
    if not truth.is_dir() and not prediction.is_dir():
        return [(truth.name.split(".nii")[0], truth, prediction)]
    truths, found = list_niftis(truth), list_niftis(prediction)
    if not truths:
        raise FileNotFoundError(f"no .nii or .nii.gz in {truth}")
    if missing := sorted(truths.keys() - found.keys()):
        raise FileNotFoundError(
            f"{prediction} has no prediction for {len(missing)} of {len(truths)} scans: "
            f"{', '.join(missing[:5])}"
        )
    if extra := sorted(found.keys() - truths.keys()):
        warnings.warn(
            f"{len(extra)} predictions have no truth and are not scored: {', '.join(extra[:5])}",
            stacklevel=3,
        )
    return [(name, path, found[name]) for name, path in truths.items()]


def _masks(truth: Path, prediction: Path) -> tuple[Volume, Volume]:
    """Truth and prediction on one grid; labels are whole numbers and not negative."""
    target = read_nifti(truth)
    found = read_nifti(prediction).reorient(target.axes)
    if not found.same_grid(target):
        raise ValueError(
            f"{truth.name}: prediction and truth lie on different grids; bring the prediction to "
            "that of the truth: python -m segedu.medical convert PREDICTION OUTPUT --like TRUTH"
        )
    for path, mask in ((truth, target), (prediction, found)):
        if mask.array.min() < 0 or not np.array_equal(mask.array, np.rint(mask.array)):
            raise ValueError(f"{path.name} holds no labels: values must be 0, 1, 2, ...")
    return target, found


def _names_of(truth: Path, count: int) -> tuple[str, ...]:
    """Names of the classes, or their numbers."""
    for folder in (truth, truth.parent):
        if (folder / "dataset.json").is_file():
            return read_classes(folder)
    return ("background", *(f"label {number}" for number in range(1, max(count, 2))))
