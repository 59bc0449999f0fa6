"""Read and write DICOM series, and refuse what cannot be trusted.

Slices are ordered by their position along the normal of the image plane, never by file name or
instance number, and the spacing between them comes from these positions, never from SliceThickness
(Part 3 of the standard, C.7.6.2). Values are rescaled slice by slice (C.11.1).

Only the tags listed in `segedu.medical.dicom.header.TAGS` are ever read: no name, birth date or
number of a patient gets into memory. Errors, which are all ``VolumeError``, hold file names
(relative to the folder that was given), UIDs and numbers; text found in a file is never quoted.

From the bytes up: `parsing` reads one file with bounded memory, `header` checks its tags, `series`
groups the files, `grid` puts slices in order, `encoding` and `pixels` decode them, `reading` makes
the volume; `segmentation` reads DICOM-SEG, and `writing` writes a series.
"""

from segedu.medical.dicom.grid import geometry
from segedu.medical.dicom.reading import read_series
from segedu.medical.dicom.segmentation import read_segmentation
from segedu.medical.dicom.series import Folder, Series, find_series, scan
from segedu.medical.dicom.writing import write_series

__all__ = [
    "Folder",
    "Series",
    "find_series",
    "geometry",
    "read_segmentation",
    "read_series",
    "scan",
    "write_series",
]
