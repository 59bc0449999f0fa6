"""Read and write DICOM series, and refuse what cannot be trusted.

Slices are ordered by their position along the normal of the image plane, never by file name or
instance number, and the spacing between them comes from these positions, never from SliceThickness
(Part 3 of the standard, C.7.6.2). Values are rescaled slice by slice (C.11.1).

Only the tags listed in `segedu.medical.dicom.header.TAGS`, and of multi-frame files where frames
lie, are ever kept: no name, birth date or number of a patient is. Errors, which are all
``VolumeError``, hold file names (relative to the folder that was given), UIDs and numbers; text
found in a file is never quoted.

From the bytes up: `parsing` reads one file with bounded memory, `header` checks its tags, `frames`
finds the images in it, `series` groups them, `grid` puts slices in order, `encoding` and `pixels`
decode them, `reading` makes the volume; `writing` writes a series, `segmentation` DICOM-SEG.
"""

from segedu.medical.dicom.grid import geometry
from segedu.medical.dicom.reading import read_images, read_series
from segedu.medical.dicom.segmentation import read_segmentation, write_segmentation
from segedu.medical.dicom.series import Folder, Series, choose, find_series, scan
from segedu.medical.dicom.writing import MODALITIES, write_series

__all__ = [
    "MODALITIES",
    "Folder",
    "Series",
    "choose",
    "find_series",
    "geometry",
    "read_images",
    "read_segmentation",
    "read_series",
    "scan",
    "write_segmentation",
    "write_series",
]
