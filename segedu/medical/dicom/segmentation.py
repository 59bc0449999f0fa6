"""Read and write DICOM-SEG files: labels with their names."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segedu import __version__
from segedu.files import atomic_write
from segedu.medical._files import import_extra, quiet
from segedu.medical.dicom.frames import read_headers
from segedu.medical.dicom.header import Header
from segedu.medical.dicom.series import Series
from segedu.medical.dicom.writing import decimals, uid_maker
from segedu.medical.volume import Volume, VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_LABEL = 255  # segments are read as 8 bits
_REFERRED = ("SOPClassUID", "SOPInstanceUID")
MAX_NAME = 64  # letters, of DICOM's value representation LO


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
    headers = read_headers(path, path.name)  # bounded, which highdicom's reading is not
    if not headers or headers[0].values.get("Modality") not in ("SEG", None):
        raise VolumeError(f"{path.name} is not a DICOM-SEG file")
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


def write_segmentation(
    labels: Volume,
    path: str | Path,
    images: Series,
    names: Mapping[int, str] | None = None,
    *,
    automatic: bool = False,
) -> None:
    """Write labels as one DICOM-SEG file, with a name for each and a reference to its images.

    Nothing about a patient is written: a viewer finds the images by their UIDs.

    Args:
        labels: whole numbers from 0 (background) to 255, on the grid of the images or another one
            in the same frame of reference.
        path: replaced if it exists.
        images: the series that was segmented, of one file for each slice.
        names: of the labels; others are called ``"label 1"`` ...
        automatic: whether a program drew the labels, as a viewer shows it.

    Raises:
        ValueError: labels, names or images that DICOM-SEG cannot hold.
        ImportError: highdicom is not installed.
    """
    highdicom = import_extra("highdicom")
    from pydicom.sr.codedict import codes

    array = _whole_labels(labels, MAX_LABEL)
    names = dict(names or {})
    count = max([int(array.max()), 1, *names])
    titles = [names.get(n, f"label {n}") for n in range(1, count + 1)]
    if bad := [title for title in titles if not 1 <= len(title) <= MAX_NAME or "\\" in title]:
        raise ValueError(f"names must have 1 to {MAX_NAME} letters and no \\, got {bad[0]!r}")
    if images.headers[0].frame is not None:
        raise ValueError("a DICOM-SEG of enhanced multi-frame images is not written; use .nii.gz")
    needed = (images.study_uid, images.uid, images.frame_uid)
    if not all((*needed, *(h.uid(k) for h in images.headers for k in _REFERRED))):
        raise ValueError(
            "the images lack UIDs (an anonymizer removed them?), by which a DICOM-SEG file refers "
            "to them; use .nii.gz"
        )
    program = highdicom.AlgorithmIdentificationSequence(
        "segedu" if automatic else "not stated",
        codes.DCM.ArtificialIntelligence if automatic else codes.SCT.Tissue,
        __version__ if automatic else "not stated",
    )
    segments = [
        highdicom.seg.SegmentDescription(
            number,
            title,
            codes.SCT.Tissue,  # what is known for certain
            codes.SCT.Tissue,
            "AUTOMATIC" if automatic else "SEMIAUTOMATIC",
            program,
        )
        for number, title in enumerate(titles, start=1)
    ]
    facts = (titles, labels.affine().tolist(), images.uid)
    new_uid = uid_maker(repr(facts).encode(), array)
    with quiet("pydicom"), quiet("highdicom"):
        file = highdicom.seg.Segmentation(
            [_nameless(header, images) for header in images.headers],
            highdicom.Volume(
                array,
                labels.affine(),
                coordinate_system="PATIENT",
                frame_of_reference_uid=images.frame_uid,
            ),
            "BINARY",
            segments,
            new_uid("series"),
            1,
            new_uid("file"),
            1,
            "segedu",
            "segedu",
            __version__,
            "none",
        )
        file.SpecificCharacterSet = "ISO_IR 192"
        with atomic_write(path) as target:
            file.save_as(target)


def _whole_labels(labels: Volume, most: int) -> np.ndarray:
    """The array as uint8 or uint16, if it holds whole numbers from 0 to ``most``."""
    low, high = labels.array.min(), labels.array.max()
    if low < 0 or high > most or not np.array_equal(labels.array, np.rint(labels.array)):
        raise ValueError(
            f"labels must be whole numbers from 0 to {most}, got values from {low:g} to {high:g}"
        )
    return labels.array.astype(np.min_scalar_type(most))


def _nameless(header: Header, images: Series) -> "Dataset":
    """What a segmentation repeats of an image, and the blanks where a patient would stand."""
    from pydicom import Dataset

    image = Dataset()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
        setattr(image, keyword, "")
    for keyword in ("StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"):
        setattr(image, keyword, "")
    image.PatientIdentityRemoved = "YES"
    image.StudyInstanceUID, image.SeriesInstanceUID = images.study_uid, images.uid
    image.FrameOfReferenceUID = images.frame_uid
    image.Modality = images.modality
    for keyword in _REFERRED:
        setattr(image, keyword, header.uid(keyword))
    image.Rows, image.Columns = int(header.number("Rows")), int(header.number("Columns"))
    for keyword, length in (
        ("ImagePositionPatient", 3),
        ("ImageOrientationPatient", 6),
        ("PixelSpacing", 2),
    ):
        setattr(image, keyword, decimals(header.vector(keyword, length)))
    image.SliceThickness = header.optional("SliceThickness")
    return image
