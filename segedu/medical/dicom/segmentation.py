"""Read DICOM-SEG files."""

from pathlib import Path

import numpy as np

from segedu.medical._files import import_extra, quiet
from segedu.medical.dicom.frames import read_headers
from segedu.medical.volume import Volume, VolumeError


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
