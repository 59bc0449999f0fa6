"""Read and write a volume in whatever form it lies on the disk."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segedu.medical.dicom import (
    MODALITIES,
    Series,
    choose,
    find_series,
    geometry,
    read_segmentation,
    read_series,
    scan,
    write_segmentation,
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
    return read_named(path, uid, allow_missing=allow_missing, keep_padding=keep_padding)[0]


def read_named(
    path: str | Path,
    uid: str | None = None,
    *,
    allow_missing: bool = False,
    keep_padding: bool = False,
) -> tuple[Volume, dict[int, str]]:
    """As ``read_volume``, with the names of the labels that a DICOM-SEG file has.

    Raises:
        VolumeError, FileNotFoundError, ImportError: as the three readers.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if path.is_file() and is_nifti(path):
        return read_nifti(path), {}
    if path.is_file() and [series.modality for series in _dicom_in(path)] == ["SEG"]:
        return read_segmentation(path)
    return read_series(path, uid, allow_missing=allow_missing, keep_padding=keep_padding), {}


def read_grid(path: str | Path, uid: str | None = None, *, allow_missing: bool = False) -> Volume:
    """Where the voxels of an image lie; of DICOM images only the headers are read.

    Raises:
        VolumeError, FileNotFoundError, ImportError: as ``read_volume``.
    """
    path = Path(path)
    if path.is_dir():
        return geometry(find_series(path, uid), allow_missing=allow_missing)
    return read_volume(path, uid, allow_missing=allow_missing)


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
        f"{path.name} is neither NIfTI (.nii, .nii.gz) nor DICOM: unpack archives (.gz, .zip); 3D "
        "Slicer and SimpleITK save other formats (.mha, .nrrd, .hdr with .img) as .nii.gz"
    )


def put_on(labels: Volume, grid: Volume) -> Volume:
    """Labels on the grid of an image, which may be stored in another direction or hold more slices.

    Where the voxels coincide none is changed; otherwise the nearest label is taken, which a warning
    says, as it says how many labelled voxels lie outside the image.

    Raises:
        VolumeError: the values are no labels, or none of them lies in the image.
    """
    array = labels.array
    if array.min() < 0 or not np.array_equal(array, np.rint(array)):
        raise VolumeError(
            "only labels are brought to another grid, which are whole numbers from 0; got values "
            f"from {array.min():g} to {array.max():g}"
        )
    labelled, outside = int(np.count_nonzero(array)), _count_outside(labels, grid)
    if labelled and outside == labelled:
        raise VolumeError("no label lies in the image: do they belong together?")
    if outside:
        warnings.warn(
            f"{outside} of {labelled} labelled voxels lie outside the image", stacklevel=2
        )
    try:
        return labels.reorient(grid.axes).place_on(grid)
    except ValueError:
        warnings.warn("the voxels do not coincide: the nearest label is taken", stacklevel=2)
        return labels.resample_to(grid, labels=True)


def _count_outside(labels: Volume, grid: Volume) -> int:
    """Number of labelled voxels whose centres lie outside a grid."""
    count = 0
    for d, plane in enumerate(labels.array):
        rows, columns = np.nonzero(plane)
        index = np.stack([np.full(len(rows), d), rows, columns], axis=1)
        place = grid.to_index(labels.to_world(index))
        beyond = (place < -0.5 - 1e-6) | (place > np.subtract(grid.shape, 0.5) + 1e-6)
        count += int(beyond.any(axis=1).sum())
    return count


def write_volume(
    volume: Volume,
    path: str | Path,
    *,
    beside: str | Path | None = None,
    uid: str | None = None,
    modality: str | None = None,
    names: Mapping[int, str] | None = None,
    automatic: bool = False,
) -> None:
    """Write NIfTI (``.nii``, ``.nii.gz``), DICOM-SEG (``.dcm``) or a new folder of DICOM images.

    Values that are whole and fit are stored as int16, which loses nothing and takes less room.

    Args:
        volume: image or labels.
        path: file, or new folder, whose name must not end as that of a file.
        beside, uid: where the volume comes from, as given to ``read_volume``. If that was a series,
            a new series joins its study and frame of reference, so that viewers overlay the two.
        modality: of a new series, ``"CT"`` or ``"MR"``; by default that of the series beside. If
            there is none either it is CT, which a warning says.
        names, automatic: of labels in a DICOM-SEG file, see ``write_segmentation``.

    Raises:
        ValueError: another ending, a DICOM-SEG file without a series beside, a series beside that
            is neither CT nor MR, or as the writers.
        FileExistsError, ImportError: as the writers.
    """
    path = Path(path)
    if is_nifti(path):
        write_nifti(_small(volume), path)
        return
    reference = None if beside is None else _reference(Path(beside), uid)
    if path.suffix.lower() == ".dcm":
        if reference is None:
            raise ValueError(
                f"{path.name}: a DICOM-SEG file belongs to a series of DICOM images: give its "
                "folder as input or with --like"
            )
        write_segmentation(volume, path, reference, names, automatic=automatic)
        return
    if re.search("[A-Za-z]", path.suffix) and not path.is_dir():
        raise ValueError(
            f"{path.name} must end in .nii, .nii.gz or, for labels, .dcm; the folder of a DICOM "
            "series must have a name without ending, or be there already"
        )
    if modality is None and reference is None:
        warnings.warn("written as CT in Hounsfield units, for nothing says it is MR", stacklevel=2)
        modality = "CT"
    modality = modality or reference.modality
    if modality not in MODALITIES:
        raise ValueError(
            f"series of the modality {modality} are not written, only {' and '.join(MODALITIES)}: "
            "write .nii.gz or, for labels, .dcm"
        )
    write_series(volume, path, modality=modality, reference=reference)


def _reference(beside: Path, uid: str | None) -> Series | None:
    """The series of images in a folder or file; None for NIfTI and DICOM-SEG."""
    if is_nifti(beside):
        return None
    found = scan(beside)
    if beside.is_file() and not any(series.is_image for series in found.series):
        return None
    return choose(found, beside, uid)


def _small(volume: Volume) -> Volume:
    """The volume as int16 if its numbers are whole and fit."""
    limits, array = np.iinfo(np.int16), volume.array
    fits = array.dtype.kind == "f" and limits.min <= array.min() and array.max() <= limits.max
    if fits and np.array_equal(array, np.rint(array)):
        return volume.with_array(array.astype(np.int16))
    return volume
