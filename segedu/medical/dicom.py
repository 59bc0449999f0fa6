"""Read and write DICOM series, and refuse what cannot be trusted.

Slices are ordered by their position along the normal of the image plane, never by file name or
instance number, and the spacing between them comes from these positions, never from SliceThickness
(Part 3 of the standard, C.7.6.2). Values are rescaled slice by slice (C.11.1).

Only the tags listed in ``_TAGS`` are ever read: no name, birth date or number of a patient gets
into memory. Errors, which are all ``VolumeError``, hold file names (relative to the folder that was
given), UIDs and numbers; text found in a file is never quoted.
"""

import hashlib
import io
import itertools
import os
import re
import shutil
import tempfile
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segedu.medical._files import import_extra, quiet
from segedu.medical.volume import Volume, VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

# A slice may lie this far from the straight, regular grid: a tenth of a millimetre, which is what
# scanners lose by rounding positions, but never more than a tenth of the distance between slices.
TOLERANCE_MM = 0.1
TOLERANCE_STEP = 0.1
MAX_FILE = 1 << 30  # bytes; one slice is a few megabytes at most
MAX_INFLATED = 64 << 20  # bytes that a deflated file may grow to
MAX_SIDE = 16384  # rows or columns

_TAGS = [
    "Modality",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
]
_PIXELS = 0x7FE00010
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DAMAGED = object()
_RLE = "1.2.840.10008.1.2.5"
_PACKAGES = {  # decoders that pydicom knows but does not bring, by transfer syntax
    "1.2.840.10008.1.2.4.51": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
}
_STORAGE = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}


@dataclass(frozen=True)
class _Header:
    """The wanted tags of one file that are there and not empty."""

    path: Path
    name: str  # relative to the folder that was given
    values: dict[str, Any]

    def __repr__(self) -> str:
        return f"_Header({self.name!r})"


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
    headers: tuple[_Header, ...]

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

    A file is DICOM if it has the letters DICM at byte 128. Links to folders are not followed.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    headers, unreadable, others = [], {}, 0
    for path in _regular_files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            header = _read_header(path, name)
        except VolumeError as error:
            unreadable[name] = str(error)
            continue
        if header is None:
            others += 1
        else:
            headers.append(header)
    groups: dict[str, list[_Header]] = {}
    for header in headers:
        groups.setdefault(_uid(header, "SeriesInstanceUID"), []).append(header)
    series = tuple(_series(uid, group) for uid, group in sorted(groups.items()))
    return Folder(series, unreadable, others)


def read_series(
    folder: str | Path,
    uid: str | None = None,
    *,
    allow_missing: bool = False,
    padding: float | None = None,
) -> Volume:
    """Read one series of ordinary (single-frame) images as a volume.

    Slices grow along the normal of the image plane, so a CT lying on its back becomes ``"SPL"``.

    Args:
        folder: searched with all folders below; file names do not matter.
        uid: SeriesInstanceUID, needed if there are several series.
        allow_missing: leave gaps in the series empty instead of refusing it, as long as more
            slices are there than are missing.
        padding: value of pixels that were not measured (PixelPaddingValue, missing slices), after
            rescaling; by default the smallest measured value.

    Returns:
        float32, rescaled: Hounsfield units for CT. A missing slope counts as 1, a missing
        intercept as 0.

    Raises:
        VolumeError: see the module's text; for example missing, double or unevenly spaced slices,
            a tilted gantry, mixed or several series, damaged or lying files, no decoder.
        FileNotFoundError: there is no such folder.
        ImportError: pydicom is not installed.
    """
    headers, grid = _arrange(find_series(folder, uid), allow_missing)
    array = np.full(grid.shape, np.nan, np.float32)
    for layer, header in zip(array, headers, strict=True):
        if header is not None:
            layer[:] = _values(header)
    unmeasured = np.isnan(array)
    if unmeasured.any():
        if padding is None and unmeasured.all():
            raise VolumeError(f"{headers[0].name} and the rest hold nothing but padding")
        array[unmeasured] = np.nanmin(array) if padding is None else padding
    return grid.with_array(array)


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


def geometry(series: Series, *, allow_missing: bool = False) -> Volume:
    """The grid of a series from its headers alone; the values of the volume are all False.

    Raises:
        VolumeError: as ``read_series``, as far as headers can tell.
    """
    return _arrange(series, allow_missing)[1]


def write_series(
    volume: Volume,
    folder: str | Path,
    *,
    modality: str = "CT",
    reference: Series | None = None,
) -> str:
    """Write a volume as a series of single-frame images, one file per slice.

    Whole numbers within 16 bits are stored exactly; others are rounded to one of 65,536 evenly
    spaced values between the smallest and the largest. The same volume gives the same bytes, UIDs
    included. Nothing about a patient is written. Readers order slices along the normal of the image
    plane (rows x columns), so a volume whose slices run the other way comes back turned around.

    Args:
        volume: finite numbers.
        folder: must not exist or be empty; it appears complete or not at all.
        modality: ``"CT"`` or ``"MR"``.
        reference: series of the same patient, whose study and frame of reference are kept so that
            viewers show both together.

    Returns:
        The new SeriesInstanceUID.

    Raises:
        ValueError: wrong modality or values.
        FileExistsError: the folder is not empty.
    """
    import_extra("pydicom")
    if modality not in _STORAGE:
        raise ValueError(f"modality must be one of {', '.join(_STORAGE)}, got {modality!r}")
    if np.linalg.det(volume.direction) * _AXIAL_HANDEDNESS < 0:
        inverse = str.maketrans("LPSRAI", "RAILPS")
        volume = volume.reorient(volume.axes[0].translate(inverse) + volume.axes[1:])
    stored, slope, intercept = _to_16_bits(volume.array)
    study, frame = (reference.study_uid, reference.frame_uid) if reference else ("", "")
    facts = (volume.shape, volume.affine().tolist(), modality, slope, intercept, study, frame)
    digest = hashlib.sha256(repr(facts).encode())
    digest.update(np.ascontiguousarray(stored))
    new_uid = _uid_maker(digest.hexdigest())
    common = {
        "SOPClassUID": _STORAGE[modality],
        "Modality": modality,
        "StudyInstanceUID": study or new_uid("study"),
        "FrameOfReferenceUID": frame or new_uid("frame"),
        "SeriesInstanceUID": new_uid("series"),
        "ImageOrientationPatient": _decimals(volume.direction[:, [2, 1]].T.flatten()),
        "PixelSpacing": _decimals(volume.spacing[1:]),
        "SliceThickness": _decimals(volume.spacing[:1])[0],
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
        "Rows": volume.shape[1],
        "Columns": volume.shape[2],
        **_FIXED,
        **(_FIXED_CT if modality == "CT" else _FIXED_MR),
    }
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
    try:
        for i, layer in enumerate(stored):
            position = _decimals(volume.to_world((i, 0, 0)))
            one = {"InstanceNumber": i + 1, "ImagePositionPatient": position}
            one["SOPInstanceUID"] = new_uid(f"slice {i}")
            _write_slice(temporary / f"{i:04d}.dcm", layer, {**common, **one})
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    except BaseException:  # also Ctrl-C
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return common["SeriesInstanceUID"]


def read_segmentation(path: str | Path) -> tuple[Volume, dict[int, str]]:
    """Read a DICOM-SEG file, whose slices may be fewer than those of the images it belongs to.

    ``volume.resample_to(images, labels=True)`` or ``place_on`` puts it on their grid.

    Returns:
        uint8 labels, 0 where there is none, and the names of the labels.

    Raises:
        VolumeError: not a DICOM-SEG file, its segments overlap, or its frames make no volume.
        FileNotFoundError: there is no such file.
        ImportError: highdicom is not installed.
    """
    highdicom = import_extra("highdicom")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    if _read_header(path, path.name) is None:  # bounded, which highdicom's reading is not
        raise VolumeError(f"{path.name} is not a DICOM file")
    with quiet("pydicom"), quiet("highdicom"):
        try:
            file = highdicom.seg.segread(path)
            found = file.get_volume(combine_segments=True, dtype=np.uint8)
            names = {
                n: str(file.get_segment_description(n).segment_label) for n in file.segment_numbers
            }
        except Exception as error:  # highdicom and pydicom raise many kinds
            raise VolumeError(
                f"{path.name} is not a DICOM-SEG file with separate segments on a regular grid "
                f"({type(error).__name__})"
            ) from None
    return Volume.from_affine(found.array, found.affine), names


# ---- finding and reading files --------------------------------------------------------------


def _regular_files(folder: Path) -> Iterable[Path]:
    """All files below, in a fixed order; pipes and devices, which may block, are left out."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(root, name)).is_file())


def _read_header(path: Path, name: str) -> _Header | None:
    """The wanted tags; None if the file is not DICOM, or is the index DICOMDIR."""
    import_extra("pydicom")
    try:
        with open(path, "rb") as file:
            if file.read(132)[128:] != b"DICM":
                return None
    except OSError as error:
        raise VolumeError(f"{name} cannot be read: {error.strerror}") from None
    tags = _read_tags(path, name, pixels=False)
    if _meta(tags, name, "MediaStorageSOPClassUID") == "1.2.840.10008.1.3.10":
        return None
    header = _Header(path, name, _wanted_values(tags))
    if "Rows" not in header.values and not _uid(header, "SeriesInstanceUID"):
        raise VolumeError(f"{name} is damaged: it has neither SeriesInstanceUID nor Rows")
    return header


def _wanted_values(tags: "Dataset") -> dict[str, Any]:
    """Values by keyword; pydicom interprets the bytes of a tag only now, which may fail."""
    values = {}
    with quiet("pydicom"):
        for keyword in _TAGS:
            try:
                value = tags.get(keyword)
            except Exception:  # of many kinds; matters only if the value is needed
                value = _DAMAGED
            if value is not None and not (hasattr(value, "__len__") and len(value) == 0):
                values[keyword] = value
    return values


def _read_tags(path: Path, name: str, pixels: bool) -> "Dataset":
    """Parse a file with bounded memory; ``file_meta`` and the original encoding are set."""
    from pydicom import dcmread
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset

    wanted = [tag_for_keyword(k) for k in (*_TAGS, *(["PixelData"] if pixels else []))]
    if path.stat().st_size > MAX_FILE:
        raise VolumeError(f"{name} is larger than {MAX_FILE >> 20} MiB")

    def parse() -> "Dataset":
        with open(path, "rb") as file:
            file.seek(132)
            meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
            if meta.get("TransferSyntaxUID") != _DEFLATED:
                file.seek(0)
                return dcmread(file, specific_tags=wanted, stop_before_pixels=not pixels)
            body = _inflate(file, name)  # pydicom's own inflation has no limit
            tags = read_dataset(body, False, True, specific_tags=wanted)
            tags.file_meta = meta
            tags.set_original_encoding(False, True)
            return tags

    return _guarded(parse, f"{name} is damaged: its header cannot be parsed")


def _inflate(file: io.BufferedReader, name: str) -> io.BytesIO:
    """Inflate the rest of a file, a piece at a time, up to ``MAX_INFLATED`` bytes."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    result = io.BytesIO()
    piece = file.read(1 << 16)
    while piece and not machine.eof:
        result.write(machine.decompress(piece, 1 << 20))
        if result.tell() > MAX_INFLATED:
            raise VolumeError(f"{name} inflates to more than {MAX_INFLATED >> 20} MiB")
        piece = machine.unconsumed_tail or file.read(1 << 16)
    result.seek(0)
    return result


def _guarded(action: Callable[[], Any], message: str) -> Any:
    """Run pydicom in silence and turn the many kinds of errors it raises into one.

    Its messages are dropped, and the errors not chained, because they quote the file.
    """
    with quiet("pydicom"):
        try:
            return action()
        except VolumeError:
            raise
        except Exception as error:
            kind = type(error).__name__
        raise VolumeError(f"{message} ({kind})")


def _meta(tags: "Dataset", name: str, keyword: str) -> str:
    """UID from the part before the data set; ``""`` if there is none."""
    message = f"{name} is damaged: its {keyword} cannot be read"
    return _plain_uid(_guarded(lambda: tags.file_meta.get(keyword), message))


def _plain_uid(value: object) -> str:
    """A UID that is one, otherwise ``""``: it may be any text, and it is quoted in messages."""
    text = str(value or "")
    return text if re.fullmatch(r"[0-9.]{1,64}", text) else ""


def _series(uid: str, headers: Sequence[_Header]) -> Series:
    first = headers[0]
    modality = str(first.values.get("Modality"))
    return Series(
        uid,
        _uid(first, "StudyInstanceUID"),
        _uid(first, "FrameOfReferenceUID"),
        modality if re.fullmatch("[A-Z]{2,12}", modality) else "unknown",
        modality != "SEG" and any("Rows" in header.values for header in headers),
        tuple(headers),
    )


# ---- header values --------------------------------------------------------------------------


def _get(header: _Header, keyword: str) -> Any:
    """Value of a tag; None if it is absent or empty."""
    value = header.values.get(keyword)
    if value is _DAMAGED:
        raise VolumeError(f"{header.name}: {keyword} is damaged")
    return value


def _uid(header: _Header, keyword: str) -> str:
    return _plain_uid(_get(header, keyword))


def _numbers(header: _Header, keyword: str, count: int) -> tuple[float, ...] | None:
    """Finite numbers of a tag, None if it is absent or empty."""
    value = _get(header, keyword)
    if value is None:
        return None
    try:
        numbers = np.asarray(value, dtype=float).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise VolumeError(f"{header.name}: {keyword} must be {count} finite number(s)")
    return tuple(numbers.tolist())


def _required(header: _Header, keyword: str, count: int) -> tuple[float, ...]:
    numbers = _numbers(header, keyword, count)
    if numbers is None:
        raise VolumeError(f"{header.name} lacks {keyword}, without which it cannot be placed")
    return numbers


def _names(headers: Sequence[_Header]) -> str:
    """Names of the first few files."""
    more = f" and {len(headers) - 3} more" if len(headers) > 3 else ""
    return ", ".join(header.name for header in headers[:3]) + more


# ---- geometry -------------------------------------------------------------------------------


def _arrange(series: Series, allow_missing: bool) -> tuple[list[_Header | None], Volume]:
    """Files in the order of slices, None for missing ones, and their grid."""
    headers = list(series.headers)
    for header in headers:
        _check_pixel_tags(header)
    rows, columns = _common(headers, "Rows"), _common(headers, "Columns")
    _common(headers, "SamplesPerPixel")
    row_step, column_step = _common(headers, "PixelSpacing", 2, tolerance=1e-4)
    across, down = np.reshape(_common(headers, "ImageOrientationPatient", 6, 1e-4), (2, 3))
    normal = np.cross(across, down)
    if not 0.999 < np.linalg.norm(normal) < 1.001 or abs(across @ down) > 1e-3:
        raise VolumeError(f"{headers[0].name}: ImageOrientationPatient is not two unit vectors")
    if len({_uid(header, "FrameOfReferenceUID") for header in headers}) > 1:
        raise VolumeError("the series mixes files with different FrameOfReferenceUID")

    positions = np.array([_required(header, "ImagePositionPatient", 3) for header in headers])
    height = positions @ normal
    order = np.argsort(height)
    headers = [headers[i] for i in order]
    positions, height = positions[order], height[order]
    step = _step(headers, height)
    place = np.rint((height - height[0]) / step).astype(int)
    _check_straight(headers, positions, normal)
    missing = int(place[-1]) + 1 - len(headers)
    if missing and not (allow_missing and missing < len(headers)):
        gap = int(np.argmax(np.diff(place) > 1))
        hint = "more than there are" if allow_missing else "allow_missing reads it all the same"
        raise VolumeError(
            f"missing slices: {missing}, the first between {headers[gap].name} and "
            f"{headers[gap + 1].name} ({hint})"
        )
    slices: list[_Header | None] = [None] * (place[-1] + 1)
    for i, header in zip(place, headers, strict=True):
        slices[i] = header
    grid = Volume(
        np.broadcast_to(np.False_, (len(slices), int(rows), int(columns))),
        (step, row_step, column_step),
        tuple(positions[0]),
        np.stack([normal / np.linalg.norm(normal), down, across], axis=1),
    )
    return slices, grid


def _common(headers: Sequence[_Header], keyword: str, count: int = 1, tolerance: float = 0):
    """The value that all files share; the files that differ from most are named."""
    values = [_required(header, keyword, count) for header in headers]
    usual = Counter(values).most_common(1)[0][0]
    odd = [
        header
        for header, value in zip(headers, values, strict=True)
        if not np.allclose(value, usual, rtol=0, atol=tolerance)
    ]
    if odd:
        raise VolumeError(f"the series mixes images of different {keyword}: {_names(odd)}")
    return usual if count > 1 else usual[0]


def _step(headers: Sequence[_Header], height: np.ndarray) -> float:
    """Distance between slices at sorted heights, if it is regular."""
    if len(headers) == 1:
        thickness = _required(headers[0], "SliceThickness", 1)[0]  # there is nothing better
        if thickness <= 0:
            raise VolumeError(f"{headers[0].name}: SliceThickness must be positive")
        return thickness
    gaps = np.diff(height)
    double = int(np.argmin(gaps))
    if gaps[double] < 1e-3:
        raise VolumeError(
            f"two slices at the same position: {headers[double].name} and "
            f"{headers[double + 1].name}"
        )
    for guess in (np.median(gaps), gaps.min()):  # the second, if half of the slices are missing
        steps = np.rint(gaps / guess).astype(int)
        step = (height[-1] - height[0]) / max(steps.sum(), 1)
        off = np.abs(height - height[0] - step * np.append(0, steps.cumsum()))
        if steps.all() and off.max() <= min(TOLERANCE_MM, TOLERANCE_STEP * step):
            return round(float(step), 9)
    worst = int(np.argmax(np.abs(gaps - np.median(gaps))))
    raise VolumeError(
        f"slices are unevenly spaced: {gaps[worst]:.3f} mm between {headers[worst].name} and "
        f"{headers[worst + 1].name}, usually {np.median(gaps):.3f} mm"
    )


def _check_straight(headers: Sequence[_Header], positions: np.ndarray, normal: np.ndarray) -> None:
    """Refuse slices that do not lie straight behind each other, as with a tilted gantry."""
    moved = positions - positions[0]
    sideways = np.linalg.norm(moved - np.outer(moved @ normal, normal), axis=1)
    worst = int(np.argmax(sideways))
    if sideways[worst] > TOLERANCE_MM:
        raise VolumeError(
            f"slices are shifted against each other (tilted gantry?): {headers[worst].name} lies "
            f"{sideways[worst]:.2f} mm beside {headers[0].name}"
        )


# ---- pixels ---------------------------------------------------------------------------------


def _check_pixel_tags(header: _Header) -> None:
    """Refuse images of a kind that is not read, before any pixel is."""
    if "Rows" not in header.values:
        raise VolumeError(f"{header.name} lacks Rows, so it is not an image")
    frames = _numbers(header, "NumberOfFrames", 1)
    if frames is not None and frames != (1,):
        raise VolumeError(
            f"{header.name} is a multi-frame file: only series of single frames are read"
        )
    for keyword in ("Rows", "Columns"):
        if not 1 <= _required(header, keyword, 1)[0] <= MAX_SIDE:
            raise VolumeError(f"{header.name}: {keyword} must be in 1..{MAX_SIDE}")
    if min(_required(header, "PixelSpacing", 2)) <= 0:
        raise VolumeError(f"{header.name}: PixelSpacing must be positive")
    if _get(header, "PhotometricInterpretation") != "MONOCHROME2":
        raise VolumeError(f"{header.name}: PhotometricInterpretation must be MONOCHROME2")
    if _required(header, "SamplesPerPixel", 1) != (1,):
        raise VolumeError(f"{header.name}: SamplesPerPixel must be 1")
    allocated, stored = (_required(header, f"Bits{k}", 1)[0] for k in ("Allocated", "Stored"))
    high = _numbers(header, "HighBit", 1) or (stored - 1,)
    if allocated not in (8, 16) or not 1 <= stored <= allocated or high != (stored - 1,):
        raise VolumeError(
            f"{header.name}: only 8 or 16 bits per pixel, of which the low ones are used, are read"
        )
    if _required(header, "PixelRepresentation", 1)[0] not in (0, 1):
        raise VolumeError(f"{header.name}: PixelRepresentation must be 0 or 1")
    if _get(header, "ModalityLUTSequence") is not None:
        raise VolumeError(f"{header.name}: a ModalityLUTSequence is not handled")
    if _numbers(header, "RescaleSlope", 1) == (0,):
        raise VolumeError(f"{header.name}: RescaleSlope must not be 0")


def _values(header: _Header) -> np.ndarray:
    """Rescaled pixels float32 (rows, columns); NaN where padded."""
    stored = _stored_pixels(header)
    pad = _padded(header, stored)
    spare = 8 * stored.itemsize - int(_required(header, "BitsStored", 1)[0])
    stored = (stored << spare) >> spare  # unused high bits may hold anything
    slope = (_numbers(header, "RescaleSlope", 1) or (1.0,))[0]
    intercept = (_numbers(header, "RescaleIntercept", 1) or (0.0,))[0]
    with np.errstate(over="ignore"):
        values = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise VolumeError(f"{header.name}: its rescaled values are too large")
    values[pad] = np.nan
    return values


def _stored_pixels(header: _Header) -> np.ndarray:
    """Pixels as stored, (rows, columns) of (u)int8 or (u)int16."""
    from pydicom.pixels import pixel_array

    tags = _read_tags(header.path, header.name, pixels=True)
    shape = int(_required(header, "Rows", 1)[0]), int(_required(header, "Columns", 1)[0])
    size = int(_required(header, "BitsAllocated", 1)[0]) // 8
    data = _guarded(lambda: bytes(tags.PixelData), f"{header.name} holds no pixels")
    syntax = _syntax(header, tags)
    _check_claim(header, data, syntax, shape, size)
    # Of the decoders of RLE the one in Rust ends the process when a stream is damaged.
    plugin = "pydicom" if syntax == _RLE else ""
    array = _guarded(
        lambda: pixel_array(tags, raw=True, correct_unused_bits=False, decoding_plugin=plugin),
        f"{header.name} is damaged: its pixels cannot be decoded",
    )
    if array.shape != shape:
        raise VolumeError(f"{header.name} claims {shape} pixels, but holds {array.shape}")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    kind = "i" if _required(header, "PixelRepresentation", 1)[0] else "u"
    if array.dtype != np.dtype(f"{kind}{size}"):
        raise VolumeError(f"{header.name}: pixels are {array.dtype}, not as the header says")
    return array


def _check_claim(
    header: _Header, data: bytes, syntax: "UID", shape: tuple[int, int], size: int
) -> None:
    """Compare shape and bytes per pixel of the header with the pixel data, before decoding.

    Decoders allocate what a stream claims, and some drop what is too much.
    """
    from pydicom.encaps import get_frame

    claim = f"{header.name} claims {shape} pixels of {size} bytes, but holds"
    if not syntax.is_encapsulated:
        expected = shape[0] * shape[1] * size
        if len(data) not in (expected, expected + expected % 2):  # padded to an even number
            raise VolumeError(f"{claim} {len(data)} bytes")
        return
    damaged = f"{header.name} is damaged: its compressed pixels cannot be parsed"
    frame = _guarded(lambda: get_frame(data, 0, number_of_frames=1), damaged)
    if syntax == _RLE:
        lengths = _guarded(lambda: _rle_lengths(frame), damaged)
        if lengths != [shape[0] * shape[1]] * size:
            raise VolumeError(f"{claim} {lengths} bytes")
        return
    # Without the mark at the end of a JPEG-LS stream its decoder searches for it for minutes.
    if frame[:2] == b"\xff\xd8" and not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise VolumeError(f"{header.name} is damaged: its compressed pixels are cut off")
    if (coded := _coded_shape(frame)) not in (None, shape):
        raise VolumeError(f"{claim} {coded} pixels")


def _syntax(header: _Header, tags: "Dataset") -> "UID":
    """Transfer syntax of a file, if its pixels can be decoded."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    syntax = UID(_meta(tags, header.name, "TransferSyntaxUID"))
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise VolumeError(f"{header.name} has no known transfer syntax")
    decoder = None
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise VolumeError(f"{header.name}: {syntax.name} is not a way to store images") from None
    if not decoder.is_available:
        package = _PACKAGES.get(syntax, "'segedu[medical]'")
        raise VolumeError(
            f"{header.name} is compressed with {syntax.name}, for which no decoder is installed: "
            f"pip install {package}"
        )
    return syntax


def _coded_shape(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG or JPEG 2000 stream itself claims; None if it does not say."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 1024)  # start of codestream, then SIZ
    if start >= 0 and len(frame) >= start + 24:
        box = [int.from_bytes(frame[start + i : start + i + 4], "big") for i in (8, 12, 16, 20)]
        return box[1] - box[3], box[0] - box[2]
    place = 2  # JPEG, JPEG-LS: segments up to the start of frame
    while frame[:2] == b"\xff\xd8" and place + 9 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            sides = frame[place + 5 : place + 9]
            return int.from_bytes(sides[:2], "big"), int.from_bytes(sides[2:], "big")
        place += 2 + length
    return None


def _rle_lengths(frame: bytes) -> list[int]:
    """Number of bytes that each segment of an RLE frame decodes to (Part 5, G.3)."""
    count, *starts = np.frombuffer(frame[:64], "<u4").tolist()
    lengths = []
    for start, stop in itertools.pairwise([*starts[:count], len(frame)]):
        place, length = start, 0
        while place < stop - 1:  # a last byte alone is there to make the length even
            run = frame[place]
            if run < 128:  # so many bytes, and one, as they are
                length, place = length + run + 1, place + run + 2
            elif run > 128:  # one byte repeated
                length, place = length + 257 - run, place + 2
            else:
                place += 1
        lengths.append(length)
    return lengths


def _padded(header: _Header, stored: np.ndarray) -> np.ndarray:
    """Where pixels hold the padding value or, with a range limit, lie between the two."""

    def limit(keyword: str) -> np.ndarray | None:
        value = _numbers(header, keyword, 1)
        if value is None:
            return None
        bits = int(value[0]) & (256**stored.itemsize - 1)  # some files get the sign wrong
        return np.array(bits, f"u{stored.itemsize}").view(stored.dtype)

    value, other = limit("PixelPaddingValue"), limit("PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, bool)
    low, high = sorted([value, value if other is None else other])
    return (low <= stored) & (stored <= high)


# ---- writing --------------------------------------------------------------------------------

_AXIAL_HANDEDNESS = -1  # determinant of [slice normal, down, across] when normal = across x down
_FIXED = {
    "SpecificCharacterSet": "ISO_IR 192",
    "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
    "StudyDate": "",
    "StudyTime": "",
    "AccessionNumber": "",
    "Manufacturer": "",
    "ReferringPhysicianName": "",
    "PatientName": "",
    "PatientID": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "No identity is ever written",
    "PatientPosition": "",
    "StudyID": "",
    "SeriesNumber": 1,
    "AcquisitionNumber": None,
    "PositionReferenceIndicator": "",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
}
_FIXED_CT = {"KVP": None, "RescaleType": "HU"}
_FIXED_MR = {
    "ScanningSequence": "RM",
    "SequenceVariant": "NONE",
    "ScanOptions": "",
    "MRAcquisitionType": "3D",
    "EchoTime": None,
    "EchoTrainLength": None,
}


def _to_16_bits(array: np.ndarray) -> tuple[np.ndarray, str, str]:
    """int16 values with the decimal slope and intercept that bring the real ones back."""
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("volume holds NaN or infinite values")
    limits = np.iinfo(np.int16)
    if limits.min <= low and high <= limits.max and np.array_equal(array, np.rint(array)):
        return array.astype(np.int16), "1", "0"
    slope, intercept = _decimals([max(high - low, 1e-9) / 65535, (low + high) / 2])
    steps = np.rint((array.astype(np.float64) - float(intercept)) / float(slope))
    return steps.clip(limits.min, limits.max).astype(np.int16), slope, intercept


def _decimals(values: Iterable[float]) -> list[str]:
    """Numbers as DICOM's decimal strings of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in values]


def _uid_maker(seed: str) -> Callable[[str], str]:
    """UIDs that depend on the seed and a word (Part 5 of the standard, B.2)."""
    return lambda word: f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{seed} {word}').int}"


def _write_slice(path: Path, layer: np.ndarray, values: dict[str, Any]) -> None:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = layer.astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)
