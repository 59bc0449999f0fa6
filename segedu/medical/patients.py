"""Whose a scan is, and splits that keep patients apart."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from segedu.files import read_json
from segedu.medical.config import PATIENT, SUBSETS, ProjectConfig
from segedu.medical.patches import split_patients

Split = dict[str, list[str]]  #: names of the scans of each subset
SHOWN = 6  # patients of a subset that are named


def patients_of(names: Sequence[str], rule: str = PATIENT) -> list[str]:
    """Whose scan each is.

    Args:
        names: of the scans, without the ending of the file.
        rule: as ``ProjectConfig.patient``; by default the name up to its first number.

    Raises:
        FileNotFoundError: if the rule is a CSV file that is not there.
        ValueError: if the rule is no pattern, or says nothing of a name.

    Example:
        >>> patients_of(["p00_scan0", "p00_scan1", "LIDC-IDRI-0001", "TCGA-02-0001", "sub-ab_T1w"])
        ['p00', 'p00', 'LIDC-IDRI-0001', 'TCGA-02-0001', 'sub-ab']
        >>> patients_of(["scan1_ann", "scan2_ann"], "_(.+)")
        ['ann', 'ann']
    """
    if rule.lower().endswith(".csv"):
        with open(rule, encoding="utf-8-sig", newline="") as file:
            known = {row.get("name"): row.get("patient") for row in csv.DictReader(file)}
        found = [known.get(name) for name in names]
    else:
        try:
            pattern = re.compile(rule)
        except re.error as error:
            message = f"patient must be a pattern or a CSV file, got {rule!r} ({error})"
            raise ValueError(message) from None
        matches = [pattern.search(name) for name in names]
        found = [match and match[1 if pattern.groups else 0] for match in matches]
    if not all(found):
        name = next(n for n, patient in zip(names, found, strict=True) if not patient)
        raise ValueError(f"patient {rule!r} does not say whose the scan {name!r} is")
    return found


def split_scans(names: Sequence[str], config: ProjectConfig) -> Split:
    """The names of the scans that train, validate and test; no patient is in two subsets.

    Raises:
        FileNotFoundError: if a file that the configuration names is not there.
        ValueError: if there are too few patients, or the file's split does not fit the scans or
            parts the scans of a patient.
    """
    patients = patients_of(names, config.patient)
    if config.splits:
        return _read_split(dict(zip(names, patients, strict=True)), config)
    # one for each subset or fold; of two folds, either must be enough to train and validate with
    _check_number(patients, {0: len(SUBSETS), 2: 4}.get(config.folds, config.folds), config)
    parts = _fold(patients, config) if config.folds else _deal(patients, config)
    return {k: [names[i] for i in part] for k, part in zip(SUBSETS, parts, strict=True)}


def describe_split(split: Split, names: Sequence[str], config: ProjectConfig) -> list[str]:
    """Lines that show the split before anything is trained, for people to look at."""
    rule = "the name up to its first number" if config.patient == PATIENT else config.patient
    count = len(set(patients_of(names, config.patient)))
    lines = [f"{len(names)} scans of {count} patients (a patient is {rule})"]
    for subset, scans in split.items():
        patients = sorted(set(patients_of(scans, config.patient)))
        more = f", ... ({len(patients) - SHOWN} more)" if len(patients) > SHOWN else ""
        shown = ", ".join(patients[:SHOWN]) + more
        lines.append(f"{subset}: {len(scans)} scans of {len(patients)} patients: {shown or 'none'}")
    left = len(names) - sum(map(len, split.values()))
    return [*lines, f"in no subset: {left} scans"] if left else lines


def _deal(patients: Sequence[str], config: ProjectConfig) -> tuple[list[int], ...]:
    return split_patients(patients, config.shares, config.seed)


def _fold(patients: Sequence[str], config: ProjectConfig) -> tuple[list[int], ...]:
    """One fold tests, the others train and validate."""
    folds = split_patients(patients, [1 / config.folds] * config.folds, config.seed)
    test = folds[config.fold]
    rest = sorted(set(range(len(patients))) - set(test))
    train, val, _ = config.shares
    shares = (train / (train + val), val / (train + val))
    parts = split_patients([patients[i] for i in rest], shares, config.seed)
    return *([rest[i] for i in part] for part in parts), test


def _check_number(patients: Sequence[str], least: int, config: ProjectConfig) -> None:
    """Say by what rule patients are told apart if there are too few."""
    known = sorted(set(patients))
    if len(known) >= least:
        return
    rule = f"by the rule {config.patient!r}"
    if config.patient == PATIENT:
        rule = "since the name up to its first number is the patient"
    raise ValueError(
        f"{len(patients)} scans belong to {len(known)} patients ({', '.join(known)}), {rule}; "
        f"at least {least} are needed. Set patient to a pattern that is found in the "
        "names, such as patient='^.+$' if each scan has its own, or to a CSV file with the "
        "columns name and patient"
    )


def _read_split(patient: dict[str, str], config: ProjectConfig) -> Split:
    """The split that a file holds, if it fits the scans and keeps patients apart."""
    content = read_json(config.splits)
    entries = content if isinstance(content, list) else [content]
    if config.fold >= len(entries):
        raise ValueError(f"{config.splits} has {len(entries)} folds, no fold {config.fold}")
    split = _checked(entries[config.fold], config.splits)
    listed = Counter(name for scans in split.values() for name in scans)
    if unknown := sorted(listed.keys() - patient.keys()):
        raise ValueError(f"{config.splits} names scans that are not there: {', '.join(unknown)}")
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        both = {patient[n] for n in split[first]} & {patient[n] for n in split[second]}
        if both:
            raise ValueError(
                f"{config.splits}: the patients {', '.join(sorted(both))} are in {first} and in "
                f"{second}, so that a score would flatter; if they are not the same people, say "
                "by patient= whose the scans are"
            )
    if twice := [name for name, count in listed.items() if count > 1]:
        raise ValueError(f"{config.splits} names {', '.join(twice)} twice")
    return split


def _checked(entry: Any, path: str) -> Split:
    """Lists of names under the three subsets; ``test`` may be absent."""
    known = isinstance(entry, dict) and {"train", "val"} <= entry.keys() <= set(SUBSETS)
    lists = list(entry.values()) if known else [None]
    if not all(isinstance(x, list) and all(isinstance(n, str) for n in x) for x in lists):
        raise ValueError(
            f'{path} must hold {{"train": [...], "val": [...], "test": [...]}} with names of '
            "scans, or a list of such, one for each fold"
        )
    split = {subset: list(entry.get(subset, [])) for subset in SUBSETS}
    if not split["train"] or not split["val"]:
        raise ValueError(f"{path} must name scans to train and to validate with")
    return split
