"""Find the series in a folder, and choose one."""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segedu.medical.dicom.frames import NO_IMAGES, read_headers
from segedu.medical.dicom.header import Header, check_kind
from segedu.medical.dicom.parsing import series_uid
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
        return tuple(dict.fromkeys(header.file for header in self.headers))


@dataclass(frozen=True)
class Folder:
    """What ``scan`` found.

    Attributes:
        series: by UID.
        unreadable: name of a damaged DICOM file -> what is wrong.
        others: names of the files that are not DICOM.
    """

    series: tuple[Series, ...]
    unreadable: dict[str, str]
    others: tuple[str, ...]


def scan(folder: str | Path) -> Folder:
    """List the series below a folder, whatever the files are called; or those of one file.

    A file is DICOM if it has the letters DICM at byte 128, or begins as DICOM does behind these.
    Links to folders are not followed.

    Raises:
        FileNotFoundError: there is no such folder.
        ImportError: pydicom is not installed.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"there is no file or folder {folder}")
    groups: dict[str, list[Header]] = {}
    unreadable, others = {}, []
    for path in _regular_files(folder):
        name = path.relative_to(folder).as_posix() if path != folder else path.name
        try:
            headers = read_headers(path, name)
        except VolumeError as error:
            unreadable[name] = str(error)
            continue
        if not headers:
            others.append(name)
        for header in headers:
            groups.setdefault(header.uid("SeriesInstanceUID"), []).append(header)
    series = tuple(_series(uid, group) for uid, group in sorted(groups.items()))
    return Folder(series, unreadable, tuple(others))


def find_series(folder: str | Path, uid: str | None = None) -> Series:
    """The series that ``read_series`` would read.

    Raises:
        VolumeError: no images, several series or none with this UID, one image of a series in place
            of its folder, or a damaged file that may belong to the series.
        FileNotFoundError: there is no such folder.

    Warns:
        UserWarning: of files that lie beside those of the series and are not DICOM.
    """
    found = scan(folder)
    series = choose(found, folder, uid)
    if beside := [name for name in found.others if _may_hide_a_slice(Path(name), series)]:
        warnings.warn(
            f"{len(beside)} files beside the series are not DICOM and were left out: "
            f"{_first_of(beside, 3)}",
            stacklevel=3,
        )
    return series


def choose(found: Folder, folder: str | Path, uid: str | None = None) -> Series:
    """As `find_series`, in what `scan` found in a folder.

    Raises:
        VolumeError: as `find_series`.
    """
    images = [series for series in found.series if series.is_image]
    if not images:
        raise VolumeError(_no_images(found))
    chosen = [series for series in images if uid in (None, series.uid)]
    if len(chosen) != 1:
        problem = (
            "no series has this UID" if not chosen else "several series, choose one by its UID"
        )
        if len(images) > 2 and all(len(series.headers) == 1 for series in images):
            problem += " (each has one image: did an anonymizer give every file a UID of its own?)"
        listing = [f"{s.uid or '(no UID)'}: {len(s.files)} {s.modality}" for s in images]
        raise VolumeError(f"{problem}: {_first_of(listing, 8, '; ')}")
    (series,) = chosen
    first = series.headers[0]
    if Path(folder) == first.path and first.frame is None:
        check_kind(first)
        raise VolumeError(
            f"{first.name} is one image of a series, not a volume; give the folder that holds the "
            "series"
        )
    if suspects := [name for name in found.unreadable if _may_belong(folder, name, series)]:
        more = f" (and {len(suspects) - 1} more such files)" if len(suspects) > 1 else ""
        raise VolumeError(
            f"{found.unreadable[suspects[0]]}{more}; it may be a slice of the series: replace it, "
            "or move it to another folder if it is not"
        )
    return series


def _may_hide_a_slice(other: Path, series: Series) -> bool:
    """Whether a file that is not DICOM lies beside a series, and is no index or hidden file."""
    if other.name.startswith(".") or other.name.upper() == "DICOMDIR":
        return False
    return any(Path(file).parent == other.parent for file in series.files)


def _first_of(items: Sequence[str], count: int, comma: str = ", ") -> str:
    """The first few in a row, and how many more there are."""
    more = f"{comma}and {len(items) - count} more" if len(items) > count else ""
    return comma.join(items[:count]) + more


def _may_belong(folder: str | Path, name: str, series: Series) -> bool:
    """Whether an unreadable file is of a series, by its UID or, if that is lost, by its folder."""
    if uid := series_uid(Path(folder, name)):
        return uid == series.uid
    return any(Path(file).parent == Path(name).parent for file in series.files)


def _no_images(found: Folder) -> str:
    """What a folder without images holds in their place."""
    if found.unreadable:
        reasons = list(found.unreadable.values())
        more = f" (and {len(reasons) - 1} more such files)" if len(reasons) > 1 else ""
        return reasons[0] + more
    held = [f"{len(series.files)} {series.modality}" for series in found.series]
    if found.others:
        held.append(f"{len(found.others)} that are not DICOM ({_first_of(found.others, 3)})")
    text = f"no DICOM images found, of files there are: {', '.join(held) or 'none'}"
    if any(name.lower().endswith((".nii", ".nii.gz")) for name in found.others):
        text += "; give a NIfTI file itself, or the folder in which imagesTr and labelsTr lie"
    kinds = {series.modality for series in found.series}
    if "SEG" in kinds:
        text += "; labels of a SEG are read if you give its file in place of the folder"
    if "RTSTRUCT" in kinds:
        text += (
            "; contours of an RTSTRUCT are not read, save them as a NIfTI or DICOM-SEG file first"
        )
    return text


def _regular_files(folder: Path) -> Iterator[Path]:
    """All files below, in a fixed order; pipes and devices, which may block, are left out."""
    if folder.is_file():
        yield folder
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
        modality not in NO_IMAGES and any("Rows" in header.values for header in headers),
        tuple(headers),
    )
