"""The headers of one file: one, or as many as an enhanced multi-frame file holds images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu.medical._files import import_extra
from segedu.medical.dicom.header import GROUPS, TAGS, Header
from segedu.medical.dicom.parsing import (
    guarded,
    looks_like_dicom,
    meta_uid,
    read_tags,
    wanted_values,
)
from segedu.medical.volume import VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset

_DICOMDIR = "1.2.840.10008.1.3.10"
_ENDINGS = (".dcm", ".dicom", ".ima")
NO_IMAGES = ("SEG", "RTDOSE")  # multi-frame files that are no images of a patient


def read_headers(path: Path, name: str) -> tuple[Header, ...]:
    """The wanted tags, once for every image; none if the file is not DICOM, or is a DICOMDIR.

    Raises:
        VolumeError: the file cannot be read, is too large, is damaged, or is not what its name
            says.
        ImportError: pydicom is not installed.
    """
    import_extra("pydicom")
    if not looks_like_dicom(path, name):
        # Macs leave a hidden ._NAME beside a file on other disks.
        if path.name.lower().endswith(_ENDINGS) and not path.name.startswith("."):
            what = "holds no DICOM" if path.stat().st_size else "is empty"
            raise VolumeError(f"{name} is damaged: it {what}, though its name says so")
        return ()
    tags = read_tags(path, name, pixels=False)
    if meta_uid(tags, name, "MediaStorageSOPClassUID") == _DICOMDIR:
        return ()
    header = Header(path, name, wanted_values(tags, TAGS))
    if "Rows" not in header.values and not header.uid("SeriesInstanceUID"):
        raise VolumeError(f"{name} is damaged: it has neither SeriesInstanceUID nor Rows")
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        header.uid(keyword)  # refuses a damaged one now, before files are grouped by it
    if header.values.get("Modality") in NO_IMAGES:
        return (header,)
    return _frames(header, tags)


def _frames(header: Header, tags: "Dataset") -> tuple[Header, ...]:
    """A header for every frame of an enhanced CT, MR or PET file (C.7.6.16), else the one."""
    damaged = f"{header.name} is damaged: what it says of its frames cannot be read"
    shared, each = (guarded(lambda k=k: list(tags.get(k) or ()), damaged) for k in GROUPS)
    if not each:
        return (header,)
    if header.optional("NumberOfFrames", 1) != len(each):
        raise VolumeError(f"{header.name} is damaged: it describes {len(each)} frames, not as many")
    common = _of_groups(shared[0], damaged) if shared else {}
    return tuple(
        Header(header.path, header.file, {**header.values, **common, **_of_groups(own, damaged)}, k)
        for k, own in enumerate(each)
    )


def _of_groups(groups: "Dataset", damaged: str) -> dict[str, Any]:
    """Where a frame lies and how it is rescaled, from its functional groups (C.7.6.16.2)."""
    values = {}
    for group, keywords in {
        "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
        "PlanePositionSequence": ("ImagePositionPatient",),
        "PlaneOrientationSequence": ("ImageOrientationPatient",),
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    }.items():
        items = guarded(lambda group=group: list(groups.get(group) or ()), damaged)
        values |= wanted_values(items[0], keywords) if items else {}
    return values
