"""Find the series in a folder, and choose one."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segedu.medical.dicom.header import Header
from segedu.medical.dicom.parsing import read_header
from segedu.medical.volume import VolumeError


@dataclass(frozen=True)
class Series:
    """Files with the same series UID, in no particular order.

    Attributes:
        uid: SeriesInstanceUID, ``""`` if the files have none.
        study_uid, frame_uid: of the first file, to write results beside the images.
        modality: ``"CT"``, ``"MR"`` ...
        is_image: whether its files are images, not reports, plans, segmentations and the like.
        headers: what was read of its files.
    """

    uid: str
    study_uid: str
    frame_uid: str
    modality: str
    is_image: bool
    headers: tuple[Header, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Names relative to the folder."""
        return tuple(header.name for header in self.headers)


@dataclass(frozen=True)
class Folder:
    """What ``scan`` found.

    Attributes:
        series: by UID.
        unreadable: name of a damaged DICOM file -> what is wrong.
        others: number of files that are not DICOM.
    """

    series: tuple[Series, ...]
    unreadable: dict[str, str]
    others: int


def scan(folder: str | Path) -> Folder:
    """List the series below a folder, whatever the files are called.

    A file is DICOM if it has the letters DICM at byte 128. One that begins as DICOM does behind
    these, without them, is listed as unreadable. Links to folders are not followed.

    Raises:
        FileNotFoundError: there is no such folder.
        ImportError: pydicom is not installed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    groups: dict[str, list[Header]] = {}
    unreadable, others = {}, 0
    for path in _regular_files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            header = read_header(path, name)
        except VolumeError as error:
            unreadable[name] = str(error)
            continue
        if header is None:
            others += 1
        else:
            groups.setdefault(header.uid("SeriesInstanceUID"), []).append(header)
    series = tuple(_series(uid, group) for uid, group in sorted(groups.items()))
    return Folder(series, unreadable, others)


def find_series(folder: str | Path, uid: str | None = None) -> Series:
    """The series that ``read_series`` would read.

    Raises:
        VolumeError: a damaged file, no images, several series or none with this UID.
        FileNotFoundError: there is no such folder.
    """
    found = scan(folder)
    if found.unreadable:
        reasons = list(found.unreadable.values())
        more = f" (and {len(reasons) - 1} more such files)" if len(reasons) > 1 else ""
        raise VolumeError(reasons[0] + more)
    images = [series for series in found.series if series.is_image]
    if not images:
        raise VolumeError(
            f"no DICOM images found ({found.others} files are not DICOM, that is without the "
            f"letters DICM at byte 128)"
        )
    if uid is None and len(images) == 1:
        return images[0]
    for series in images:
        if series.uid == uid:
            return series
    problem = "several series, choose one by its UID" if uid is None else "no series has this UID"
    listing = "; ".join(f"{s.uid or '(no UID)'}: {len(s.files)} {s.modality}" for s in images)
    raise VolumeError(f"{problem}: {listing}")


def _regular_files(folder: Path) -> Iterator[Path]:
    """All files below, in a fixed order; pipes and devices, which may block, are left out."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(root, name)).is_file())


def _series(uid: str, headers: Sequence[Header]) -> Series:
    first = headers[0]
    modality = str(first.values.get("Modality"))
    return Series(
        uid,
        first.uid("StudyInstanceUID"),
        first.uid("FrameOfReferenceUID"),
        modality if re.fullmatch("[A-Z]{2,12}", modality) else "unknown",
        modality != "SEG" and any("Rows" in header.values for header in headers),
        tuple(headers),
    )
