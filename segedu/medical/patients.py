"""Whose a scan is, and a split that keeps patients apart."""

import csv
import re
from collections.abc import Sequence

from segedu.medical.config import PATIENT, SUBSETS, ProjectConfig
from segedu.medical.patches import split_patients


def patients_of(names: Sequence[str], rule: str = PATIENT) -> list[str]:
    """Whose scan each is.

    Args:
        names: of the scans, without the ending of the file.
        rule: as ``ProjectConfig.patient``; by default the name up to its last hyphen, or all of it.

    Raises:
        FileNotFoundError: if the rule is a CSV file that is not there.
        ValueError: if the rule is no pattern, or says nothing of a name.

    Example:
        >>> patients_of(["lung_012-followup", "hippocampus_003"])
        ['lung_012', 'hippocampus_003']
        >>> patients_of(["LIDC-IDRI-0001-b"], "LIDC-IDRI-[0-9]+")
        ['LIDC-IDRI-0001']
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


def split_scans(names: Sequence[str], config: ProjectConfig) -> tuple[list[int], ...]:
    """Scans of the subsets; says by what rule patients are told apart if there are too few."""
    patients = patients_of(names, config.patient)
    known = sorted(set(patients))
    if len(known) < len(SUBSETS):
        rule = f"by the rule {config.patient!r}"
        if config.patient == PATIENT:
            rule = "since what stands before the last hyphen of a name is the patient"
        raise ValueError(
            f"{len(names)} scans belong to {len(known)} patients ({', '.join(known)}), {rule}; "
            f"{', '.join(SUBSETS)} need one each. Set patient to a pattern that is found in the "
            "names, such as patient='^.+$' if each scan has its own, or to a CSV file with the "
            "columns name and patient"
        )
    return split_patients(patients, config.shares, config.seed)
