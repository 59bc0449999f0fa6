"""Folders of scans with labels, as the Medical Segmentation Decathlon and nnU-Net lay them out.

``imagesTr/NAME.nii.gz`` and ``labelsTr/NAME.nii.gz``; the channels of a scan, such as the sequences
of an MR, lie along a fourth axis of the file (Decathlon), or in files of their own,
``imagesTr/NAME_0000.nii.gz``, ``NAME_0001.nii.gz``, ... (nnU-Net). ``dataset.json`` names the
labels 0 (background), 1, 2, ...
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segedu.data.images import Skipped, report_skipped
from segedu.files import read_json, write_json
from segedu.medical.nifti import is_nifti, read_channels, read_nifti, write_nifti
from segedu.medical.volume import Volume

_CHANNEL = re.compile(r"(.+)_(\d{4})")  # name and number of the channel, nnU-Net's dataset format


class Scan(NamedTuple):
    """Where a scan with labels lies."""

    name: str
    images: tuple[Path, ...]  #: a file for each channel, or one that holds them all
    labels: Path


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


def find_scans(folder: str | Path) -> list[Scan]:
    """The scans of a folder with their labels, sorted by name.

    Raises:
        FileNotFoundError: if there is no image, or labels or a channel are missing.
        ValueError: if two files have one name.
    """
    images, truths = list_niftis(Path(folder, "imagesTr")), list_niftis(Path(folder, "labelsTr"))
    if not images:
        raise FileNotFoundError(f"no imagesTr/*.nii.gz in {folder}")
    found: dict[str, dict[int, Path]] = {}
    for stem, path in images.items():
        name, number, channel = stem, 0, _CHANNEL.fullmatch(stem)
        if stem not in truths and channel and channel[1] in truths:
            name, number = channel[1], int(channel[2])
        if name not in truths:
            raise FileNotFoundError(f"imagesTr/{path.name} has no labelsTr/{path.name} in {folder}")
        if number in found.setdefault(name, {}):
            both = f"{found[name][number].name} and {path.name}"
            raise ValueError(f"{name} has two images, {both}; keep one of them")
        found[name][number] = path
    for name, channels in found.items():
        if missing := sorted(set(range(max(channels) + 1)) - channels.keys()):
            raise FileNotFoundError(f"imagesTr/{name}_{missing[0]:04d}.nii.gz is not in {folder}")
    return [
        Scan(name, tuple(path for _, path in sorted(channels.items())), truths[name])
        for name, channels in found.items()
    ]


def check_channels(folder: str | Path, count: int) -> None:
    """Refuse scans with more or fewer channels than ``dataset.json`` names, such as films.

    Raises:
        ValueError: if ``count`` is another number than that of ``channel_names`` (nnU-Net) or
            ``modality`` (Decathlon); or, if there is neither, more than 1.
    """
    path = Path(folder, "dataset.json")
    content = read_json(path) if path.exists() else None
    listed = content if isinstance(content, dict) else {}
    given = (listed.get(key) for key in ("channel_names", "modality"))
    named = next((names for names in given if isinstance(names, dict)), {"0": "image"})
    if len(named) != count:
        raise ValueError(
            f"the scans have {count} channels, but dataset.json names {len(named)}; list them "
            'there, such as "channel_names": {"0": "T1", "1": "T2"}'
        )


def on_one_grid(channels: Sequence[Volume], names: Sequence[str]) -> tuple[Volume, ...]:
    """The channels of a scan, turned as the first of them.

    Args:
        channels: one volume for each.
        names: of what they were read from, for the message.

    Raises:
        ValueError: if they lie on different grids.
    """
    first, *others = channels
    turned = (first, *(other.reorient(first.axes) for other in others))
    if not all(first.same_grid(other) for other in turned):
        raise ValueError(
            f"{', '.join(names)}: the channels of a scan lie on different grids; resample them to "
            "that of the first: Volume.resample_to"
        )
    return turned


def read_pair(images: Sequence[Path], labels: Path) -> tuple[tuple[Volume, ...], Volume]:
    """The channels of a scan and its labels, in whatever direction they are stored, on one grid.

    Raises:
        VolumeError: if one of them cannot be trusted.
        ValueError: if they lie on different grids.
    """
    channels = [channel for path in images for channel in read_channels(path)]
    scan = on_one_grid(channels, [path.name for path in images])
    truth = read_nifti(labels).reorient(scan[0].axes)
    if not scan[0].same_grid(truth):
        raise ValueError(
            f"{images[0].name}: image and labels lie on different grids; bring the labels to that "
            "of the image: python -m segedu.medical convert LABELS OUTPUT --like IMAGE"
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
