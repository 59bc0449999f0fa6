"""From a folder to a volume."""

from pathlib import Path

import numpy as np

from segedu.medical.dicom.grid import arrange
from segedu.medical.dicom.pixels import read_pixels
from segedu.medical.dicom.series import find_series
from segedu.medical.volume import Volume, VolumeError


def read_series(
    folder: str | Path,
    uid: str | None = None,
    *,
    allow_missing: bool = False,
    padding: float | None = None,
) -> Volume:
    """Read one series of ordinary (single-frame) images as a volume.

    Slices grow along the normal of the image plane, so a CT lying on its back becomes ``"SPL"``.

    Args:
        folder: searched with all folders below; file names do not matter.
        uid: SeriesInstanceUID, needed if there are several series.
        allow_missing: leave gaps in the series empty instead of refusing it, as long as more
            slices are there than are missing.
        padding: value of pixels that were not measured (PixelPaddingValue, missing slices), after
            rescaling; by default the smallest measured value.

    Returns:
        float32, rescaled: Hounsfield units for CT. A missing slope counts as 1, a missing
        intercept as 0.

    Raises:
        VolumeError: see the package's text; for example missing, double or unevenly spaced slices,
            a tilted gantry, mixed or several series, damaged or lying files, no decoder.
        FileNotFoundError: there is no such folder.
        ImportError: pydicom is not installed.
    """
    headers, grid = arrange(find_series(folder, uid), allow_missing)
    array = np.full(grid.shape, np.nan, np.float32)
    for layer, header in zip(array, headers, strict=True):
        if header is not None:
            layer[:] = read_pixels(header)
    unmeasured = np.isnan(array)
    if unmeasured.any():
        if padding is None and unmeasured.all():
            raise VolumeError(f"{headers[0].name} and the rest hold nothing but padding")
        array[unmeasured] = np.nanmin(array) if padding is None else padding
    return grid.with_array(array)
