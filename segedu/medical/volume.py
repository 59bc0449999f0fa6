"""A 3-D image and where it lies in the patient.

One convention, kept everywhere in `segedu.medical`:

* ``array`` is indexed ``[d, h, w]``, slice, row, column, as PyTorch's 3-D layers expect. Spacing,
  shapes, indices and paddings are always given in this order.
* World coordinates are millimetres ``(x, y, z)`` in **LPS**, as in DICOM and ITK: x grows to the
  patient's Left, y to the back (Posterior), z to the head (Superior). NIfTI's RAS appears only
  where a NIfTI affine comes in or goes out.
* ``origin`` is the world position of the *centre* of voxel ``[0, 0, 0]``; voxel ``i`` lies at
  ``origin + direction @ (spacing * i)``.
* Three letters name where the array's axes point: ``"SPL"`` says that slices grow to the head, rows
  to the back, columns to the left. That is an ordinary axial CT, shown as radiologists see it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segedu.medical.resampling import resample_array

AXIAL = "SPL"
PLANES = {"axial": "SPL", "coronal": "PIL", "sagittal": "LIP"}  # [slice, down, right]

_POSITIVE, _NEGATIVE = "LPS", "RAI"
_SKEW = 1e-3  # largest cosine between two axes that still counts as a right angle


class VolumeError(ValueError):
    """A medical image cannot be read, or cannot be trusted. The message names the file."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image with its geometry; see the module's text for the convention.

    Methods return new volumes that may share memory with the old one: do not write into ``array``.

    Attributes:
        array: (D, H, W), bool, whole or real numbers.
        spacing: millimetres between neighbours along d, h, w.
        origin: world position (x, y, z) in LPS millimetres of the centre of voxel [0, 0, 0].
        direction: (3, 3); column ``a`` is the unit vector in the world along array axis ``a``.
            Left-handed sets of axes are allowed, slanted ones are not.

    Raises:
        VolumeError: the array is not 3-D, is empty or holds no numbers, or the geometry is not
            finite, not positive or not rectangular.
    """

    array: np.ndarray
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: np.ndarray = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))  # "SPL"

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 3 or array.size == 0:
            raise VolumeError(f"array must be 3-D and not empty, got shape {array.shape}")
        if array.dtype.kind not in "buif":
            raise VolumeError(f"array must hold bools, whole or real numbers, got {array.dtype}")
        spacing = _three(self.spacing, "spacing")
        if min(spacing) <= 0:
            raise VolumeError(f"spacing must be positive, got {spacing}")
        direction = np.array(self.direction, dtype=float)
        if direction.shape != (3, 3) or not np.isfinite(direction).all():
            raise VolumeError(f"direction must be 3 x 3 finite numbers, got {direction.tolist()}")
        if np.abs(direction.T @ direction - np.eye(3)).max() > _SKEW:
            raise VolumeError(
                "direction must hold three unit vectors at right angles (an image on a slanted or "
                f"sheared grid must be resampled first), got {direction.round(4).tolist()}"
            )
        direction.setflags(write=False)
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "spacing", spacing)
        object.__setattr__(self, "origin", _three(self.origin, "origin"))
        object.__setattr__(self, "direction", direction)

    @classmethod
    def from_affine(cls, array: np.ndarray, affine: np.ndarray, world: str = "LPS") -> "Volume":
        """Volume from a (4, 4) matrix that maps array indices [d, h, w, 1] to the world.

        Args:
            array: (D, H, W).
            affine: millimetres; its last row is (0, 0, 0, 1).
            world: ``"LPS"`` or ``"RAS"``, the convention of the matrix.

        Raises:
            VolumeError: the matrix is singular, sheared, or not an affine matrix.
        """
        affine = np.array(affine, dtype=float)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise VolumeError("affine must be 4 x 4 finite numbers")
        if not np.array_equal(affine[3], [0, 0, 0, 1]):
            raise VolumeError(f"the last row of affine must be 0 0 0 1, got {affine[3].tolist()}")
        affine = _world_change(world) @ affine
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if not (spacing > 0).all() or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-6:
            raise VolumeError("affine is singular: it maps the volume onto a plane or a line")
        return cls(array, tuple(spacing), tuple(affine[:3, 3]), affine[:3, :3] / spacing)

    def affine(self, world: str = "LPS") -> np.ndarray:
        """(4, 4) matrix from array indices [d, h, w, 1] to the world, ``"LPS"`` or ``"RAS"``."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.direction * self.spacing
        matrix[:3, 3] = self.origin
        return _world_change(world) @ matrix

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        return self.array.shape

    @property
    def voxel_ml(self) -> float:
        """Millilitres of one voxel, so that ``mask.sum() * voxel_ml`` is an organ's volume."""
        return float(np.prod(self.spacing)) / 1000

    @property
    def axes(self) -> str:
        """Where the array's axes point, for example ``"SPL"``; the nearest for oblique grids."""
        names = zip(_world_axes(self.direction), self.direction.T, strict=True)
        return "".join((_POSITIVE if vector[w] > 0 else _NEGATIVE)[w] for w, vector in names)

    def to_world(self, index: np.ndarray) -> np.ndarray:
        """World positions (..., 3) in LPS millimetres of voxel indices (..., 3)."""
        return np.asarray(index, dtype=float) * self.spacing @ self.direction.T + self.origin

    def to_index(self, position: np.ndarray) -> np.ndarray:
        """Voxel indices (..., 3), not rounded, of world positions (..., 3) in LPS millimetres."""
        inverse = np.linalg.inv(self.direction)
        return (np.asarray(position, dtype=float) - self.origin) @ inverse.T / self.spacing

    def with_array(self, array: np.ndarray) -> "Volume":
        """Other values, for example a mask, on the same grid."""
        if np.shape(array) != self.shape:
            raise ValueError(f"array must have shape {self.shape}, got {np.shape(array)}")
        return replace(self, array=array)

    def same_grid(self, other: "Volume", tolerance: float = 0.01) -> bool:
        """Whether both have the same shape and no voxel lies more than ``tolerance`` mm apart."""
        corners = np.array(list(itertools.product(*((0, n - 1) for n in self.shape))))
        apart = self.to_world(corners) - other.to_world(corners)
        return self.shape == other.shape and np.linalg.norm(apart, axis=1).max() <= tolerance

    def reorient(self, axes: str = AXIAL) -> "Volume":
        """Permute and flip the array's axes, without interpolation, until they point to ``axes``.

        Args:
            axes: one of the 48 triples of one letter each from L/R, P/A, S/I.
        """
        places = [max(_POSITIVE.find(c), _NEGATIVE.find(c)) for c in axes]
        if sorted(places) != [0, 1, 2]:
            raise ValueError(f"axes must be one letter each of L/R, P/A, S/I, got {axes!r}")
        own = _world_axes(self.direction)
        order = [own.index(place) for place in places]
        flip = [self.axes[a] != letter for a, letter in zip(order, axes, strict=True)]
        # Index, on the old grid, of the voxel that becomes [0, 0, 0].
        first = np.zeros(3)
        first[order] = [(self.shape[a] - 1) * f for a, f in zip(order, flip, strict=True)]
        array = self.array.transpose(order)[tuple(slice(None, None, -1 if f else 1) for f in flip)]
        return Volume(
            array,
            tuple(self.spacing[a] for a in order),
            tuple(self.to_world(first)),
            self.direction[:, order] * np.where(flip, -1, 1),
        )

    def resample(self, spacing: Sequence[float] | float, *, labels: bool = False) -> "Volume":
        """Resample to about the given spacing; the result's ``spacing`` is the one achieved.

        The outer faces of the volume stay where they are. The number of voxels is rounded, so the
        achieved spacing is the length of each side divided by that number. Nothing is smoothed
        before a reduction, as in SimpleITK.

        Args:
            spacing: millimetres along d, h, w, or one number for all.
            labels: see ``resample_to``.
        """
        wanted = _positive(spacing)
        shape = np.rint(np.multiply(self.shape, self.spacing) / wanted).astype(int).clip(1)
        achieved = np.multiply(self.shape, self.spacing) / shape
        # Centre of the new first voxel: half a new voxel away from the faces of the old one.
        origin = self.to_world((achieved / self.spacing - 1) / 2)
        grid = Volume(np.broadcast_to(np.False_, shape), achieved, origin, self.direction)
        return self.resample_to(grid, labels=labels)

    def resample_to(
        self, grid: "Volume", *, labels: bool = False, fill: float | None = None
    ) -> "Volume":
        """Resample onto the grid of another volume.

        Args:
            grid: gives shape and geometry; its values are not used.
            labels: False interpolates linearly (result float32, float64 if ``array`` is);
                True takes the nearest voxel and keeps the type.
            fill: value of voxels whose centre lies outside this volume; by default 0 for labels,
                otherwise the smallest value of ``array``.

        Raises:
            TypeError: a bool array without ``labels=True``.
        """
        if self.array.dtype == bool and not labels:
            raise TypeError("a bool array is a mask: resample it with labels=True")
        if fill is None:
            fill = 0 if labels else self.array.min()
        source = self.reorient(grid.axes)
        matrix = np.linalg.inv(source.affine()) @ grid.affine()
        array = resample_array(source.array, matrix, grid.shape, linear=not labels, fill=fill)
        return grid.with_array(array)

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> "Volume":
        """Voxels ``start`` to ``stop`` (not included) along d, h, w; ``place_on`` is the way back.

        Raises:
            ValueError: the box is empty or leaves the volume.
        """
        start, stop = _whole(start, "start"), _whole(stop, "stop")
        if not all(0 <= a < b <= n for a, b, n in zip(start, stop, self.shape, strict=True)):
            raise ValueError(f"box {start}..{stop} is empty or leaves the shape {self.shape}")
        box = tuple(map(slice, start, stop))
        return replace(self, array=self.array[box], origin=self.to_world(start))

    def pad(
        self, before: Sequence[int], after: Sequence[int], fill: float | None = None
    ) -> "Volume":
        """Add voxels at both ends of d, h, w; ``place_on`` is the way back.

        Args:
            before, after: numbers of voxels, at least 0.
            fill: their value; by default the smallest value of ``array``.
        """
        before, after = _whole(before, "before"), _whole(after, "after")
        if min(before + after) < 0:
            raise ValueError(f"before and after must not be negative, got {before} and {after}")
        fill = self.array.min() if fill is None else fill
        array = np.pad(self.array, list(zip(before, after, strict=True)), constant_values=fill)
        return replace(self, array=array, origin=self.to_world(np.negative(before)))

    def place_on(self, grid: "Volume", fill: float = 0) -> "Volume":
        """Put the voxels back where they lie on a grid, without interpolation.

        Undoes ``crop`` and ``pad``: voxels outside ``grid`` are dropped, those of ``grid`` that
        this volume does not cover become ``fill``.

        Raises:
            ValueError: the voxels of the two grids do not coincide (then use ``resample_to``).
        """
        offset = np.rint(grid.to_index(self.origin)).astype(int)
        moved = replace(grid, array=self.array, origin=grid.to_world(offset))
        if not self.same_grid(moved):
            raise ValueError("the voxels of the two grids do not coincide: use resample_to")
        low = np.maximum(offset, 0)
        high = np.minimum(offset + self.shape, grid.shape)
        array = np.full(grid.shape, fill, self.array.dtype)
        if (low < high).all():
            source = tuple(map(slice, low - offset, high - offset))
            array[tuple(map(slice, low, high))] = self.array[source]
        return grid.with_array(array)

    def view(self, plane: str = "axial", index: int | None = None) -> tuple[np.ndarray, float]:
        """One slice as a radiologist expects it: the patient's right is on the left, head up.

        Args:
            plane: ``"axial"`` (seen from the feet, back down), ``"coronal"`` or ``"sagittal"``
                (front to the left).
            index: slice along the first axis of ``self.reorient(PLANES[plane])``; by default the
                middle.

        Returns:
            (rows, columns) values, and the height of a pixel over its width for
            ``imshow(..., aspect=...)``.
        """
        if plane not in PLANES:
            raise ValueError(f"plane must be one of {', '.join(PLANES)}, got {plane!r}")
        turned = self.reorient(PLANES[plane])
        index = turned.shape[0] // 2 if index is None else index
        if not 0 <= index < turned.shape[0]:
            raise ValueError(f"index must be in 0..{turned.shape[0] - 1}, got {index}")
        return turned.array[index], turned.spacing[1] / turned.spacing[2]


def _world_axes(direction: np.ndarray) -> tuple[int, ...]:
    """For each array axis the world axis it is nearest to, each world axis once."""
    strength = np.abs(direction)  # (world, array)
    orders = itertools.permutations(range(3))
    return max(orders, key=lambda order: strength[order, range(3)].sum())


def _world_change(world: str) -> np.ndarray:
    """(4, 4) matrix between LPS and ``world``; it is its own inverse."""
    if world not in ("LPS", "RAS"):
        raise ValueError(f"world must be 'LPS' or 'RAS', got {world!r}")
    return np.diag([-1.0, -1.0, 1.0, 1.0]) if world == "RAS" else np.eye(4)


def _three(values: Sequence[float], name: str) -> tuple[float, float, float]:
    values = tuple(float(v) for v in values)
    if len(values) != 3 or not np.isfinite(values).all():
        raise VolumeError(f"{name} must be 3 finite numbers, got {values}")
    return values


def _positive(spacing: Sequence[float] | float) -> tuple[float, float, float]:
    values = tuple(np.broadcast_to(np.asarray(spacing, dtype=float), 3).tolist())
    if not all(0 < v < float("inf") for v in values):
        raise ValueError(f"spacing must be positive, got {values}")
    return values


def _whole(values: Sequence[int], name: str) -> tuple[int, int, int]:
    result = tuple(int(v) for v in values)
    if len(result) != 3 or any(r != v for r, v in zip(result, values, strict=True)):
        raise ValueError(f"{name} must be 3 whole numbers, got {tuple(values)}")
    return result
