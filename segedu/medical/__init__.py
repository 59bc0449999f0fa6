"""From a scanner's files to a report: volumes, DICOM, NIfTI."""

from segedu.medical.dicom import (
    find_series,
    geometry,
    read_segmentation,
    read_series,
    scan,
    write_series,
)
from segedu.medical.io import read_volume, write_volume
from segedu.medical.nifti import read_nifti, write_nifti
from segedu.medical.volume import AXIAL, Volume, VolumeError

__all__ = [
    "AXIAL",
    "Volume",
    "VolumeError",
    "find_series",
    "geometry",
    "read_nifti",
    "read_segmentation",
    "read_series",
    "read_volume",
    "scan",
    "write_nifti",
    "write_series",
    "write_volume",
]
