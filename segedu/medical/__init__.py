"""From a scanner's files to a report: volumes, DICOM, NIfTI."""

from segedu.medical.volume import AXIAL, Volume, VolumeError

__all__ = ["AXIAL", "Volume", "VolumeError"]
