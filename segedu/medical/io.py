"""Read and write a volume in whatever form it lies on the disk."""

from pathlib import Path

import numpy as np

from segedu.medical.dicom import (
    Series,
    find_series,
    read_segmentation,
    read_series,
    scan,
    write_series,
)
from segedu.medical.nifti import is_nifti, read_nifti, write_nifti
from segedu.medical.volume import Volume, VolumeError


def read_volume(
    path: str | Path,
    uid: str | None = None,
    *,
    allow_missing: bool = False,
    keep_padding: bool = False,
) -> Volume:
    """Read a folder of DICOM images, or a file: NIfTI, DICOM-SEG, enhanced multi-frame DICOM.

    Args:
        path: the folder, or the file.
        uid, allow_missing, keep_padding: of a series, see ``read_series``.

    Raises:
        VolumeError, FileNotFoundError, ImportError: as the three readers.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if is_nifti(path):
        return read_nifti(path)
    if path.is_file():
        kinds = [series.modality for series in _dicom_in(path)]
        if kinds == ["SEG"]:
            return read_segmentation(path)[0]
    return read_series(path, uid, allow_missing=allow_missing, keep_padding=keep_padding)


def _dicom_in(path: Path) -> tuple[Series, ...]:
    """The series of one file.

    Raises:
        VolumeError: it is damaged, or not DICOM; the message says what to do with other formats.
    """
    found = scan(path)
    if found.unreadable:
        raise VolumeError(found.unreadable[path.name])
    if found.series:
        return found.series
    if path.name.upper() == "DICOMDIR":
        raise VolumeError("DICOMDIR is the index of a folder; give the folder")
    raise VolumeError(
        f"{path.name} is neither NIfTI (.nii, .nii.gz) nor DICOM; 3D Slicer and SimpleITK save "
        "other formats, such as .mha and .nrrd, as .nii.gz"
    )


def write_volume(
    volume: Volume, path: str | Path, *, beside: str | Path | None = None, uid: str | None = None
) -> None:
    """Write ``.nii`` or ``.nii.gz``; any other name becomes the folder of a DICOM series.

    Values that are whole and fit are stored as int16, which loses nothing and takes less room.

    Args:
        volume: image or labels.
        path: file or new folder.
        beside, uid: where the volume comes from, as given to ``read_volume``. If that was a series,
            a new series joins its study and frame of reference, so that viewers overlay the two.

    Raises:
        ValueError, FileExistsError, ImportError: as the two writers.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        is_series = beside is not None and Path(beside).is_dir()
        reference = find_series(beside, uid) if is_series else None
        modality = "MR" if reference is not None and reference.modality == "MR" else "CT"
        write_series(volume, path, modality=modality, reference=reference)
        return
    limits = np.iinfo(np.int16)
    array = volume.array
    fits = array.dtype.kind == "f" and limits.min <= array.min() and array.max() <= limits.max
    if fits and np.array_equal(array, np.rint(array)):
        volume = volume.with_array(array.astype(np.int16))
    write_nifti(volume, path)
