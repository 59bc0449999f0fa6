"""Write a volume as a series of images that name nobody."""

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from segedu.medical._files import import_extra
from segedu.medical.dicom.series import Series
from segedu.medical.volume import Volume

#: What can be written, and the class of its images.
MODALITIES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
_HANDEDNESS = -1  # determinant of [slice normal, down, across] when normal = across x down
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
_FIXED_BY_MODALITY = {
    "CT": {"KVP": None, "RescaleType": "HU"},
    "MR": {
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "3D",
        "EchoTime": None,
        "EchoTrainLength": None,
    },
}


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
        ImportError: pydicom is not installed.
    """
    import_extra("pydicom")
    if modality not in MODALITIES:
        raise ValueError(f"modality must be one of {', '.join(MODALITIES)}, got {modality!r}")
    if np.linalg.det(volume.direction) * _HANDEDNESS < 0:
        inverse = str.maketrans("LPSRAI", "RAILPS")
        volume = volume.reorient(volume.axes[0].translate(inverse) + volume.axes[1:])
    stored, *rescale = _to_16_bits(volume.array)
    study, frame = (reference.study_uid, reference.frame_uid) if reference else ("", "")
    facts = (volume.shape, volume.affine().tolist(), modality, *rescale, study, frame)
    new_uid = uid_maker(repr(facts).encode(), stored)
    common = {
        **_image_tags(volume, modality, *rescale),
        "StudyInstanceUID": study or new_uid("study"),
        "FrameOfReferenceUID": frame or new_uid("frame"),
        "SeriesInstanceUID": new_uid("series"),
    }
    slices = []
    for i in range(len(stored)):
        position = decimals(volume.to_world((i, 0, 0)))
        one = {"InstanceNumber": i + 1, "ImagePositionPatient": position}
        slices.append({**common, **one, "SOPInstanceUID": new_uid(f"slice {i}")})
    _write_folder(Path(folder), stored, slices)
    return common["SeriesInstanceUID"]


def _image_tags(volume: Volume, modality: str, slope: str, intercept: str) -> dict[str, Any]:
    """Tags that all slices share, but for the UIDs that make them a series."""
    return {
        "SOPClassUID": MODALITIES[modality],
        "Modality": modality,
        "ImageOrientationPatient": decimals(volume.direction[:, [2, 1]].T.flatten()),
        "PixelSpacing": decimals(volume.spacing[1:]),
        "SliceThickness": decimals(volume.spacing[:1])[0],
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
        "Rows": volume.shape[1],
        "Columns": volume.shape[2],
        **_FIXED,
        **_FIXED_BY_MODALITY[modality],
    }


def _to_16_bits(array: np.ndarray) -> tuple[np.ndarray, str, str]:
    """int16 values with the decimal slope and intercept that bring the real ones back."""
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("volume holds NaN or infinite values")
    limits = np.iinfo(np.int16)
    if limits.min <= low and high <= limits.max and np.array_equal(array, np.rint(array)):
        return array.astype(np.int16), "1", "0"
    slope, intercept = decimals([max(high - low, 1e-9) / 65535, (low + high) / 2])
    steps = np.rint((array.astype(np.float64) - float(intercept)) / float(slope))
    return steps.clip(limits.min, limits.max).astype(np.int16), slope, intercept


def decimals(values: Iterable[float]) -> list[str]:
    """Numbers as DICOM's decimal strings of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in values]


def uid_maker(facts: bytes, stored: np.ndarray) -> Callable[[str], str]:
    """UIDs that depend on what is written and on a word (Part 5 of the standard, B.2)."""
    digest = hashlib.sha256(facts)
    digest.update(np.ascontiguousarray(stored))
    seed = digest.hexdigest()
    return lambda word: f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{seed} {word}').int}"


def _write_folder(folder: Path, stored: np.ndarray, slices: list[dict[str, Any]]) -> None:
    """Write one file per slice into a folder that appears complete or not at all."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
    try:
        for i, (layer, tags) in enumerate(zip(stored, slices, strict=True)):
            _write_slice(temporary / f"{i:04d}.dcm", layer, tags)
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    except BaseException:  # also Ctrl-C
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write_slice(path: Path, layer: np.ndarray, tags: dict[str, Any]) -> None:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = layer.astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)
