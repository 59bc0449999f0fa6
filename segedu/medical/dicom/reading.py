"""From a folder to a volume."""

import warnings
from pathlib import Path

import numpy as np

from segedu.medical.dicom.grid import arrange
from segedu.medical.dicom.pixels import read_pixels
from segedu.medical.dicom.series import Series, find_series
from segedu.medical.volume import Volume, VolumeError


def read_series(
    folder: str | Path,
    uid: str | None = None,
    *,
    allow_missing: bool = False,
    padding: float | None = None,
    keep_padding: bool = False,
) -> Volume:
    """Read one series of images as a volume.

    The images are files of their own, or frames of enhanced multi-frame CT, MR or PET.

    Slices grow along the normal of the image plane, so a CT lying on its back becomes ``"SPL"``.

    Args:
        folder: searched with all folders below, file names do not matter; or one multi-frame file.
        uid: SeriesInstanceUID, needed if there are several series.
        allow_missing: leave gaps in the series empty instead of refusing it, as long as more
            slices are there than are missing.
        padding: value of pixels that were not measured, after rescaling; by default the smallest
            measured value. They are those of missing slices, and in CT those that hold
            PixelPaddingValue and hang together with the edge of the image; a warning counts these.
        keep_padding: leave PixelPaddingValue as it is.

    Returns:
        float32, rescaled: Hounsfield units for CT. A missing slope counts as 1, a missing
        intercept as 0.

    Raises:
        VolumeError: see the package's text; for example missing, double or unevenly spaced slices,
            a tilted gantry, mixed or several series, damaged or lying files, no decoder.
        FileNotFoundError: there is no such folder.
        ImportError: pydicom is not installed.
    """
    series = find_series(folder, uid)
    return read_images(
        series, allow_missing=allow_missing, padding=padding, keep_padding=keep_padding
    )


def read_images(
    series: Series,
    *,
    allow_missing: bool = False,
    padding: float | None = None,
    keep_padding: bool = False,
) -> Volume:
    """`read_series` for a series that was found already."""
    slices, grid = arrange(series, allow_missing)
    array = np.full(grid.shape, np.nan, np.float32)
    files: dict[Path, list[int]] = {}
    for place, header in enumerate(slices):
        if header is not None:
            files.setdefault(header.path, []).append(place)
    padded = 0
    for places in files.values():
        images = read_pixels([slices[place] for place in places], keep_padding=keep_padding)
        for place, values in zip(places, images, strict=True):
            array[place] = values
            padded += np.count_nonzero(np.isnan(values))
    unmeasured = np.isnan(array)
    if unmeasured.any():
        if padding is None and unmeasured.all():
            raise VolumeError(f"{slices[0].name} and the rest hold nothing but padding")
        padding = float(np.nanmin(array)) if padding is None else padding
        array[unmeasured] = padding
    if padded:
        warnings.warn(
            f"{padded} voxels hold PixelPaddingValue outside the field of view; they became "
            f"{padding:g} (--keep-padding or keep_padding=True leaves them)",
            stacklevel=3,
        )
    return grid.with_array(array)
