"""The tags of one file, checked only when they are asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segedu.medical.volume import VolumeError

TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "ImageType",
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
)  #: all that is ever kept, but for the pixels
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
DAMAGED = object()  #: stands for a value that could not be read


@dataclass(frozen=True)
class Header:
    """The wanted tags of one image that are there and not empty.

    Attributes:
        path: of the file.
        file: the path relative to the folder that was given.
        values: by keyword.
        frame: which one, in a file of several; None in a file of one image.
    """

    path: Path
    file: str
    values: dict[str, Any]
    frame: int | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.file if self.frame is None else f"{self.file} (frame {self.frame + 1})"

    def __repr__(self) -> str:
        return f"Header({self.name!r})"

    def get(self, keyword: str) -> Any:
        """Value of a tag as pydicom gives it; None if it is absent or empty."""
        value = self.values.get(keyword)
        if value is DAMAGED:
            raise VolumeError(f"{self.name}: {keyword} is damaged")
        return value

    def uid(self, keyword: str) -> str:
        """A UID; ``""`` if it is absent or none."""
        return plain_uid(self.get(keyword))

    def optional(self, keyword: str, default: float | None = None) -> float | None:
        """A finite number, or ``default`` if it is absent or empty."""
        numbers = self._numbers(keyword, 1)
        return default if numbers is None else numbers[0]

    def number(self, keyword: str) -> float:
        """A finite number that must be there."""
        return self.vector(keyword, 1)[0]

    def vector(self, keyword: str, count: int) -> tuple[float, ...]:
        """Finite numbers that must be there."""
        numbers = self._numbers(keyword, count)
        if numbers is None:
            raise VolumeError(
                f"{self.name} lacks {keyword}, without which it cannot be read as a slice (is it a "
                "radiograph, an ultrasound image or a screenshot?)"
            )
        return numbers

    def _numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        value = self.get(keyword)
        if value is None:
            return None
        try:
            numbers = np.asarray(value, dtype=float).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            numbers = np.empty(0)
        if len(numbers) != count or not np.isfinite(numbers).all():
            raise VolumeError(f"{self.name}: {keyword} must be {count} finite number(s)")
        return tuple(numbers.tolist())


def check_kind(header: Header) -> None:
    """Refuse images that are no slice of a patient, by their ImageType.

    Raises:
        VolumeError: a mosaic, or the scout of a CT; that of an MR does show slices.
    """
    kinds = np.atleast_1d(header.get("ImageType") or "").tolist()
    if "MOSAIC" in kinds:
        raise VolumeError(
            f"{header.name} is a mosaic, many slices side by side in one image: split it with "
            "dcm2niix, and give the NIfTI file"
        )
    if "LOCALIZER" in kinds and header.get("Modality") == "CT":
        raise VolumeError(
            f"{header.name} is a scout (LOCALIZER): a projection, no slice; leave its series out"
        )


def plain_uid(value: object) -> str:
    """A UID that is one, otherwise ``""``: it may be any text, and it is quoted in messages."""
    text = str(value or "")
    return text if re.fullmatch(r"[0-9.]{1,64}", text) else ""


def names(headers: Sequence[Header]) -> str:
    """Names of the first few files."""
    more = f" and {len(headers) - 3} more" if len(headers) > 3 else ""
    return ", ".join(header.name for header in headers[:3]) + more
