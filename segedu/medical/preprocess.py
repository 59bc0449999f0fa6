"""Intensities that a network can use, and the lungs found without one."""

from typing import NamedTuple

import numpy as np

from segedu.medical.volume import Volume


class Window(NamedTuple):
    """A range of Hounsfield units: what radiologists call level and width."""

    level: float
    width: float

    @property
    def low(self) -> float:
        """Shown black."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """Shown white."""
        return self.level + self.width / 2

    def scale(self, hu: np.ndarray) -> np.ndarray:
        """Map the range linearly to 0..1 and cut off what lies outside."""
        return np.clip((hu - self.low) / self.width, 0, 1)


WINDOWS = {
    "lung": Window(-600, 1500),
    "mediastinum": Window(40, 400),
    "soft_tissue": Window(50, 350),
    "bone": Window(400, 1800),
}

AIR_BELOW = -320.0  #: HU between lung and soft tissue
GAS_BELOW = -945.0  #: HU (median) between gas and lung, which always holds some blood


def window(volume: Volume, which: str | Window = "lung") -> Volume:
    """Map a range of HU linearly to 0..1 and cut off what lies outside.

    Args:
        volume: CT in HU.
        which: ``"lung"``, ``"mediastinum"``, ``"soft_tissue"``, ``"bone"`` or a `Window`.

    Returns:
        float32 in 0..1.

    Raises:
        ValueError: for an unknown name or a width that is not positive.

    Example:
        >>> ct = Volume(np.array([[[-1350, -600, 150, 900]]]))
        >>> window(ct, "lung").array.tolist()
        [[[0.0, 0.5, 1.0, 1.0]]]
    """
    return volume.with_array(named_window(which).scale(volume.array.astype(np.float32)))


def named_window(which: str | Window) -> Window:
    """A window by its name, or as it is given.

    Raises:
        ValueError: for an unknown name or a width that is not positive.
    """
    if isinstance(which, str):
        if which not in WINDOWS:
            raise ValueError(f"window must be one of {', '.join(WINDOWS)}, got {which!r}")
        which = WINDOWS[which]
    if not which.width > 0:
        raise ValueError(f"a window needs a positive width, got {which.width}")
    return which


def normalize(volume: Volume, *, low: float = 0.5, high: float = 99.5) -> Volume:
    """Give an MR volume, whose numbers have no unit, mean 0 and standard deviation 1.

    Values beyond two percentiles are cut off first, so that a few very bright voxels (the scale of
    MR differs by orders of magnitude between scanners) do not decide. Voxels that are exactly 0
    count as empty (no signal, or masked out) in the statistics if other voxels exist.

    Args:
        volume: any numbers.
        low, high: the percentiles.

    Returns:
        float32; all zeros if the volume is constant.

    Raises:
        ValueError: if the percentiles are not 0 <= low < high <= 100, or a value is not finite.
    """
    if not 0 <= low < high <= 100:
        raise ValueError(f"need 0 <= low < high <= 100, got {low} and {high}")
    values = volume.array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("volume holds values that are not finite")
    signal = values[values != 0] if (values != 0).any() else values
    values = np.clip(values, *np.percentile(signal, (low, high)))
    signal = np.clip(signal, values.min(), values.max())
    spread = signal.std()
    scaled = (values - signal.mean()) / (spread if spread > 0 else 1)
    return volume.with_array(scaled.astype(np.float32))


def bounding_box(
    mask: Volume, margin_mm: float = 0.0
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Start and stop along d, h, w of the smallest box around a mask, for `Volume.crop`.

    Args:
        mask: everything that is not 0 counts.
        margin_mm: to add on every side, as far as the volume reaches.

    Raises:
        ValueError: if the mask is empty.
    """
    inside = mask.array != 0
    if not inside.any():
        raise ValueError("mask is empty: there is nothing to put a box around")
    start, stop = [], []
    for axis, (size, step) in enumerate(zip(mask.shape, mask.spacing, strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(inside.any(axis=others))
        margin = int(np.ceil(margin_mm / step))
        start.append(max(0, int(hit[0]) - margin))
        stop.append(min(size, int(hit[-1]) + 1 + margin))
    return tuple(start), tuple(stop)


def extract_lungs(ct: Volume, *, min_lung_ml: float = 20.0, closing_mm: float = 30.0) -> Volume:
    """Find the lungs in a CT by thresholds and connectivity, without any learning.

    1. The body is the largest piece of tissue, filled slice by slice. Air (below -320 HU) inside it
       is lung, airway or bowel gas; air outside, also that between back and table, is removed.
    2. The trachea is looked for from the head end and grown through the darkest air, as far as it
       does not leak into a lung, so that the lungs do not hang together through the bronchi.
    3. Pieces of at least ``min_lung_ml`` stay, but not those of pure gas (stomach, bowel: the lung
       holds blood). Lungs that touch are parted where they are thinnest.
    4. Holes are closed: vessels and nodules inside, and, with a ball, those at the border.

    Args:
        ct: HU, any orientation and spacing.
        min_lung_ml: smaller pieces are no lung.
        closing_mm: diameter of the ball; by default that of the largest nodules, so that none at
            the border of a lung is lost.

    Returns:
        uint8 on the grid of ``ct``: 1 right lung, 2 left lung, 0 else. The trachea, the main
        bronchi and fluid are not lung. If one lung is missing or full of fluid, the other is found
        alone.

    Raises:
        ValueError: if nothing looks like a lung.
    """
    axial = ct.reorient()
    hu = axial.array
    body = _body(hu >= AIR_BELOW, axial.spacing)
    air = (hu < AIR_BELOW) & body
    airways = _airways(hu, air, body, axial)
    pieces = [
        piece
        for piece in _large_pieces(air & ~airways, min_lung_ml / axial.voxel_ml)
        if np.median(hu[piece]) > GAS_BELOW
    ]
    if not pieces:
        raise ValueError(
            f"no lung found: no piece of air inside the body has {min_lung_ml} ml and is not gas"
        )
    middle = _centre(body & np.any(pieces, axis=0).any(axis=(1, 2))[:, None, None])
    result = np.zeros(axial.shape, np.uint8)
    for piece in pieces:
        for lung in _part(piece, middle, axial.spacing):
            closed = _close(lung, axial.spacing, closing_mm) & body & ~airways
            result[closed & (result == 0)] = 1 if _centre(lung) < middle else 2
    return axial.with_array(result).reorient(ct.axes)


def _body(tissue: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The largest piece of tissue, without the thin table, and all that it encloses in a slice."""
    from scipy.ndimage import binary_fill_holes, label

    reach = max(1, round(3 / min(spacing[1:])))  # the shell of a table is thinner than 6 mm
    core = _erode_in_plane(tissue, reach)
    if not core.any():
        raise ValueError("no lung found: the volume holds no tissue (is it in HU?)")
    labels, _ = label(core)
    core = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    body = ~_erode_in_plane(~core, reach) & tissue
    return np.stack([binary_fill_holes(plane) for plane in body])


def _erode_in_plane(mask: np.ndarray, reach: int) -> np.ndarray:
    """Each slice without the voxels that lie within ``reach`` voxels of its complement."""
    from scipy.ndimage import minimum_filter

    return minimum_filter(mask, (1, 2 * reach + 1, 2 * reach + 1), mode="nearest")


def _airways(hu: np.ndarray, air: np.ndarray, body: np.ndarray, axial: Volume) -> np.ndarray:
    """Trachea and bronchi as far as they are darker than the lung, a little widened."""
    from scipy.ndimage import binary_dilation, gaussian_filter, label

    none = np.zeros_like(air)
    seed = _trachea(air, body, axial.spacing)
    if seed is None:
        return none
    smooth = gaussian_filter(hu.astype(np.float32), [0.7 / step for step in axial.spacing])
    grown, last = none, 0.0
    for limit in range(-980, -840, 10):  # as in Mori et al. 1996: until it explodes into a lung
        labels, count = label(air & (smooth < limit))
        chosen = np.zeros(count + 1, bool)
        chosen[labels[seed]] = True
        chosen[0] = False
        size = np.bincount(labels.ravel(), minlength=count + 1)[chosen].sum() * axial.voxel_ml
        if size > 120 or (last > 10 and size > 1.6 * last):
            break
        grown, last = chosen[labels], size
    steps = max(1, round(1.5 / min(axial.spacing)))
    return binary_dilation(grown, iterations=steps) & air


def _trachea(
    air: np.ndarray, body: np.ndarray, spacing: tuple[float, ...]
) -> tuple[slice | np.ndarray, ...] | None:
    """Index of the first round spot of air near the midline, searched from the head end."""
    from scipy.ndimage import find_objects, label

    for d in range(len(air) - 1, len(air) // 3, -1):
        if not body[d].any():
            continue
        middle = np.nonzero(body[d])[1].mean()
        labels, _ = label(air[d])
        for number, box in enumerate(find_objects(labels), start=1):
            spot = labels == number
            high, wide = ((s.stop - s.start) * w for s, w in zip(box, spacing[1:], strict=True))
            area = spot.sum() * spacing[1] * spacing[2]
            away = abs(np.nonzero(spot)[1].mean() - middle) * spacing[2]
            if 60 < area < 700 and away < 25 and 0.45 < high / wide < 2.2:
                return (d, *np.nonzero(spot))
    return None


def _large_pieces(mask: np.ndarray, voxels: float) -> list[np.ndarray]:
    """Connected pieces with so many voxels, the largest first."""
    from scipy.ndimage import label

    labels, _ = label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    numbers = [n for n in np.argsort(-sizes, kind="stable") if sizes[n] >= max(voxels, 1)]
    return [labels == n for n in numbers]


def _centre(mask: np.ndarray) -> float:
    """Mean index along the axis from right to left."""
    return float(np.average(np.arange(mask.shape[2]), weights=mask.sum((0, 1))))


def _part(piece: np.ndarray, middle: float, spacing: tuple[float, ...]) -> list[np.ndarray]:
    """Cut a piece that fills both sides of the body in two, where it is thinnest."""
    from scipy.ndimage import distance_transform_edt

    right = piece[:, :, : round(middle)].sum() / piece.sum()
    if not 0.2 < right < 0.8:
        return [piece]
    depth = distance_transform_edt(piece, spacing)
    for limit in (1, 2, 3, 4, 6, 8, 10):
        cores = _large_pieces(depth > limit, 0.1 * piece.sum())
        if len(cores) > 1 and (_centre(cores[0]) < middle) != (_centre(cores[1]) < middle):
            apart = [distance_transform_edt(~core, spacing) for core in cores[:2]]
            first = apart[0] <= apart[1]
            return [piece & first, piece & ~first]
    return [piece]


def _close(mask: np.ndarray, spacing: tuple[float, ...], diameter: float) -> np.ndarray:
    """Closing with a ball, then everything that a slice or the volume encloses."""
    from scipy.ndimage import binary_fill_holes, distance_transform_edt

    margin = [int(np.ceil(diameter / step)) + 1 for step in spacing]
    box = tuple(
        slice(max(0, start - m), stop + m)
        for (start, stop), m in zip(
            zip(*bounding_box(Volume(mask)), strict=True), margin, strict=True
        )
    )
    # the volume is continued beyond its ends, or closing would eat the lung that is cut there
    wide = np.pad(mask[box], [(m, m) for m in margin], mode="edge")
    near = distance_transform_edt(~wide, spacing) <= diameter / 2
    closed = (distance_transform_edt(near, spacing) > diameter / 2) | wide
    closed = closed[tuple(slice(m, -m) for m in margin)]
    closed = binary_fill_holes(np.stack([binary_fill_holes(plane) for plane in closed]))
    result = np.zeros_like(mask)
    result[box] = closed
    return result
