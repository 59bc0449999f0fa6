"""Folders of scans with labels, as the Medical Segmentation Decathlon and nnU-Net lay them out.

``imagesTr/NAME.nii.gz`` and ``labelsTr/NAME.nii.gz``, or ``imagesTr/NAME_0000.nii.gz`` as nnU-Net
numbers the channels of an image; ``dataset.json`` names the labels 0 (background), 1, 2, ...
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from segedu.data.images import Skipped, report_skipped
from segedu.files import read_json, write_json
from segedu.medical.nifti import is_nifti, read_nifti, write_nifti
from segedu.medical.volume import Volume

_CHANNEL = re.compile(r"(.+)_(\d{4})")  # name and number of the channel, nnU-Net's dataset format


def read_classes(folder: str | Path) -> tuple[str, ...]:
    """Names of the labels 0, 1, ... from a folder's ``dataset.json``.

    Both forms are read: ``{"0": "background", "1": "liver"}``, as in the Decathlon, and
    ``{"background": 0, "liver": 1}``, as in nnU-Net's second version.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it does not name them, or asks for regions or labels to be ignored.
    """
    path = Path(folder, "dataset.json")
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict) or not labels:
        raise ValueError(f'{path.name} does not name the labels 0, 1, ...: "labels" is missing')
    names = _by_number(labels)
    if names.keys() != {str(number) for number in range(len(labels))}:
        raise ValueError(
            f"{path.name} does not name the labels 0, 1, ...: it has the numbers "
            f"{', '.join(map(str, names))}; regions of several labels are not handled"
        )
    classes = tuple(str(names[str(number)]) for number in range(len(labels)))
    if "ignore" in classes:
        raise ValueError(
            f'{path.name}: the label "ignore" is not handled; give its voxels a class of their own'
        )
    return classes


def _by_number(labels: dict[str, Any]) -> dict[str, Any]:
    """Names by their numbers as text, whichever of the two is the key."""
    if all(key.isdecimal() for key in labels):
        return labels
    return {str(number): name for name, number in labels.items()}


def find_scans(folder: str | Path) -> list[tuple[str, Path, Path]]:
    """Names, images and labels of a folder, sorted by name.

    Raises:
        FileNotFoundError: if there is no image, or one of the labels is missing.
        ValueError: if two files have one name, or an image has several channels.
    """
    images, truths = list_niftis(Path(folder, "imagesTr")), list_niftis(Path(folder, "labelsTr"))
    if not images:
        raise FileNotFoundError(f"no imagesTr/*.nii.gz in {folder}")
    found: dict[str, Path] = {}
    for stem, path in images.items():
        name, channel = stem, _CHANNEL.fullmatch(stem)
        if stem not in truths and channel and channel[1] in truths:
            name = channel[1]
        if name not in truths:
            raise FileNotFoundError(f"imagesTr/{path.name} has no labelsTr/{path.name} in {folder}")
        if name in found:
            raise ValueError(
                f"{name} has several channels, {found[name].name} and {path.name}, but networks "
                "are trained on one: keep the files of one channel"
            )
        found[name] = path
    return [(name, path, truths[name]) for name, path in found.items()]


def read_pair(image: Path, labels: Path) -> tuple[Volume, Volume]:
    """A scan and its labels on the very grid of the scan, in whatever direction they are stored.

    Raises:
        VolumeError: if one of them cannot be trusted.
        ValueError: if they lie on different grids.
    """
    scan = read_nifti(image)
    truth = read_nifti(labels).reorient(scan.axes)
    if not scan.same_grid(truth):
        raise ValueError(
            f"{image.name}: image and labels lie on different grids; bring the labels to that of "
            "the image: python -m segedu.medical convert LABELS OUTPUT --like IMAGE"
        )
    return scan, truth


def list_niftis(folder: Path) -> dict[str, Path]:
    """The NIfTI files of a folder by their names without ending, sorted; others are reported."""
    found, skipped = {}, []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
        if path.name.startswith(".") or not is_nifti(path):
            skipped.append(Skipped(path, "not a NIfTI file"))
        elif name in found:
            raise ValueError(f"{path}: {found[name].name} has the same name; keep one of them")
        else:
            found[name] = path
    report_skipped(folder, skipped)
    return found


def write_decathlon(
    out: str | Path, cases: Iterable[tuple[str, Volume, Volume]], classes: Sequence[str]
) -> None:
    """Write scans (name, image, labels) as ``imagesTr``, ``labelsTr`` and ``dataset.json``."""
    out = Path(out)
    for folder in ("imagesTr", "labelsTr"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    count = 0
    for name, image, labels in cases:
        count += 1
        write_nifti(image, out / "imagesTr" / f"{name}.nii.gz")
        write_nifti(labels, out / "labelsTr" / f"{name}.nii.gz")
    about = {"labels": dict(enumerate(classes)), "numTraining": count}
    write_json(out / "dataset.json", about)
