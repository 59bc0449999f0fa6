"""Values of a 3-D array at other places: one axis after the other where that is enough."""

from collections.abc import Sequence

import numpy as np


def resample_array(
    array: np.ndarray, matrix: np.ndarray, shape: Sequence[int], *, linear: bool, fill: float
) -> np.ndarray:
    """Resample onto another grid.

    Args:
        array: (D, H, W).
        matrix: (4, 4), from indices of the new grid to indices of the old one.
        shape: of the new grid.
        linear: interpolate (result float32, float64 if ``array`` is), or take the nearest value
            and keep the type.
        fill: value of new voxels whose centre lies outside ``array``.

    Returns:
        Array of the new shape.
    """
    matrix = matrix.round(12)  # exact zeros and whole steps where grids are parallel
    if linear:
        wide = array.dtype.type is np.float64
        array = array.astype(np.float64 if wide else np.float32, copy=False)
    parallel = np.count_nonzero(matrix[:3, :3]) == 3
    resample = _along_axes if parallel else _at_any_angle
    result = resample(array, matrix, shape, linear)
    np.copyto(result, fill, where=_outside(matrix, array.shape, shape), casting="unsafe")
    return result


def _along_axes(
    array: np.ndarray, matrix: np.ndarray, shape: Sequence[int], linear: bool
) -> np.ndarray:
    """Resample by a diagonal matrix; the edge values go on outside."""
    for axis, size in enumerate(array.shape):
        place = matrix[axis, axis] * np.arange(shape[axis]) + matrix[axis, 3]
        place = place.clip(0, size - 1)
        if not linear:
            array = array.take(np.floor(place + 0.5).astype(int).clip(0, size - 1), axis)
            continue
        low = np.floor(place).astype(int)
        weight = np.expand_dims(place - low, [a for a in range(3) if a != axis])
        lower = array.take(low, axis)
        upper = array.take((low + 1).clip(0, size - 1), axis)
        upper -= lower
        upper *= weight.astype(array.dtype)
        upper += lower
        array = upper
    return array


def _at_any_angle(
    array: np.ndarray, matrix: np.ndarray, shape: Sequence[int], linear: bool
) -> np.ndarray:
    """Resample by any matrix; the edge values go on outside."""
    from scipy.ndimage import affine_transform

    native = np.uint8 if array.dtype == bool else array.dtype.newbyteorder("=")
    if array.dtype == np.float16:
        native = np.float32
    result = affine_transform(
        array.astype(native, copy=False),
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=tuple(shape),
        order=int(linear),
        mode="nearest",
    )
    return result.astype(array.dtype, copy=False)


def _outside(matrix: np.ndarray, source: Sequence[int], target: Sequence[int]) -> np.ndarray:
    """Where target voxels lie outside the source; broadcasts to ``target``.

    Terms that are zero are left out, so that parallel grids cost one line per axis.
    """
    lines = np.ogrid[tuple(slice(n) for n in target)]
    outside = np.zeros((1, 1, 1), bool)
    for row, size in zip(matrix[:3], source, strict=True):
        place = sum((m * i for m, i in zip(row, lines, strict=False) if m), start=np.array(row[3]))
        outside = outside | (place < -0.5 - 1e-6) | (place > size - 0.5 + 1e-6)
    return outside
