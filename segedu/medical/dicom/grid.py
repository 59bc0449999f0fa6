"""Put slices in order, and find the grid they lie on."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segedu.medical.dicom.header import Header, names
from segedu.medical.dicom.pixels import check_image
from segedu.medical.dicom.series import Series
from segedu.medical.volume import Volume, VolumeError

# A slice may lie this far from the straight, regular grid: a tenth of a millimetre, which is what
# scanners lose by rounding positions, but never more than a tenth of the distance between slices.
TOLERANCE_MM = 0.1
TOLERANCE_STEP = 0.1


def geometry(series: Series, *, allow_missing: bool = False) -> Volume:
    """The grid of a series from its headers alone; the values of the volume are all False.

    Raises:
        VolumeError: as ``read_series``, as far as headers can tell.
    """
    return arrange(series, allow_missing)[1]


def arrange(series: Series, allow_missing: bool) -> tuple[list[Header | None], Volume]:
    """Files in the order of slices, None for missing ones, and their grid.

    Raises:
        VolumeError: as ``geometry``.
    """
    for header in series.headers:
        check_image(header)
    plane = _common_plane(series.headers)
    positions = np.array([header.vector("ImagePositionPatient", 3) for header in series.headers])
    height = positions @ plane.normal  # along the normal, which orders the slices
    order = np.argsort(height)
    headers = [series.headers[i] for i in order]
    positions, height = positions[order], height[order]
    step = _step(headers, height)
    place = np.rint((height - height[0]) / step).astype(int)
    _check_straight(headers, positions, plane.normal)
    _check_complete(headers, place, allow_missing)
    slices: list[Header | None] = [None] * (place[-1] + 1)
    for i, header in zip(place, headers, strict=True):
        slices[i] = header
    normal = plane.normal / np.linalg.norm(plane.normal)
    grid = Volume(
        np.broadcast_to(np.False_, (len(slices), *plane.shape)),
        (step, *plane.spacing),
        tuple(positions[0]),
        np.stack([normal, plane.down, plane.across], axis=1),
    )
    return slices, grid


class _Plane(NamedTuple):
    """What all images of a series share."""

    shape: tuple[int, int]  #: rows, columns
    spacing: tuple[float, float]  #: millimetres from row to row, from column to column
    down: np.ndarray  #: where rows go, x, y, z
    across: np.ndarray  #: where columns go
    normal: np.ndarray


def _common_plane(headers: Sequence[Header]) -> _Plane:
    (rows,), (columns,) = _common(headers, "Rows"), _common(headers, "Columns")
    _common(headers, "SamplesPerPixel")
    spacing = _common(headers, "PixelSpacing", 2, tolerance=1e-4)
    orientation = _common(headers, "ImageOrientationPatient", 6, tolerance=1e-4)
    across, down = np.reshape(orientation, (2, 3))
    normal = np.cross(across, down)
    if not 0.999 < np.linalg.norm(normal) < 1.001 or abs(across @ down) > 1e-3:
        raise VolumeError(f"{headers[0].name}: ImageOrientationPatient is not two unit vectors")
    if len({header.uid("FrameOfReferenceUID") for header in headers}) > 1:
        raise VolumeError("the series mixes files with different FrameOfReferenceUID")
    return _Plane((int(rows), int(columns)), spacing, down, across, normal)


def _common(
    headers: Sequence[Header], keyword: str, count: int = 1, tolerance: float = 0
) -> tuple[float, ...]:
    """The numbers that all files share; the files that differ from most are named."""
    values = [header.vector(keyword, count) for header in headers]
    usual = Counter(values).most_common(1)[0][0]
    odd = [
        header
        for header, value in zip(headers, values, strict=True)
        if not np.allclose(value, usual, rtol=0, atol=tolerance)
    ]
    if odd:
        raise VolumeError(
            f"the series mixes images of different {keyword}: {names(odd)}; move them to "
            "a folder of their own"
        )
    return usual


def _step(headers: Sequence[Header], height: np.ndarray) -> float:
    """Distance between slices at sorted heights, if it is regular."""
    if len(headers) == 1:
        thickness = headers[0].number("SliceThickness")  # there is nothing better
        if thickness <= 0:
            raise VolumeError(f"{headers[0].name}: SliceThickness must be positive")
        return thickness
    gaps = np.diff(height)
    double = int(np.argmin(gaps))
    if gaps[double] < 1e-3:
        places = 1 + np.count_nonzero(gaps >= 1e-3)
        several = (
            f"; {len(headers)} images lie at {places} positions: if they are echoes, times or "
            "weightings, dcm2niix writes a file for each"
            if len(headers) >= 2 * places
            else "; is one of them a copy?"
        )
        raise VolumeError(
            f"two slices at the same position: {headers[double].name} and "
            f"{headers[double + 1].name}{several}"
        )
    for guess in (np.median(gaps), gaps.min()):  # the second, if half of the slices are missing
        steps = np.rint(gaps / guess).astype(int)
        step = (height[-1] - height[0]) / max(steps.sum(), 1)
        off = np.abs(height - height[0] - step * np.append(0, steps.cumsum()))
        if steps.all() and off.max() <= min(TOLERANCE_MM, TOLERANCE_STEP * step):
            return round(float(step), 9)
    worst = int(np.argmax(np.abs(gaps - np.median(gaps))))
    raise VolumeError(
        f"slices are unevenly spaced: {gaps[worst]:.3f} mm between {headers[worst].name} and "
        f"{headers[worst + 1].name}, usually {np.median(gaps):.3f} mm; dcm2niix resamples such "
        "series"
    )


def _check_straight(headers: Sequence[Header], positions: np.ndarray, normal: np.ndarray) -> None:
    """Refuse slices that do not lie straight behind each other, as with a tilted gantry."""
    moved = positions - positions[0]
    sideways = np.linalg.norm(moved - np.outer(moved @ normal, normal), axis=1)
    worst = int(np.argmax(sideways))
    if sideways[worst] > TOLERANCE_MM:
        raise VolumeError(
            f"slices are shifted against each other (tilted gantry?): {headers[worst].name} lies "
            f"{sideways[worst]:.2f} mm beside {headers[0].name}; dcm2niix straightens such series"
        )


def _check_complete(headers: Sequence[Header], place: np.ndarray, allow_missing: bool) -> None:
    """Refuse gaps between the places of sorted slices, unless they are few and allowed."""
    missing = int(place[-1]) + 1 - len(headers)
    too_many = missing >= len(headers)
    if missing and (too_many or not allow_missing):
        gap = int(np.argmax(np.diff(place) > 1))
        hint = (
            "as many as there are, or more"
            if too_many
            else "--allow-missing or allow_missing=True leaves them empty"
        )
        raise VolumeError(
            f"missing slices: {missing}, the first between {headers[gap].name} and "
            f"{headers[gap + 1].name} ({hint})"
        )
