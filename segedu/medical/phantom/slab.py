"""Some slices of samples, and the parts of them that a shape can reach."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from segedu.medical.phantom.anatomy import Anatomy
from segedu.medical.phantom.config import PhantomConfig
from segedu.medical.phantom.shapes import Points

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]  #: z, y, x of the scanner in millimetres

SAMPLES = 2_000_000  # of a slab, about


class Slab(NamedTuple):
    """Samples of some slices, (d, h, w) each, or of a box of them."""

    axes: Axes
    points: Points  #: x, y, z of the patient
    material: np.ndarray  #: uint8, `Tissue` or, after the last of them, a nodule
    side: np.ndarray  #: uint8, 0 outside, else the lung

    def box(self, anatomy: Anatomy, low: ArrayLike, high: ArrayLike) -> "Slab":
        """The samples that may lie between two corners (x, y, z) of the patient, as views."""
        scale = (1.0, anatomy.depth, anatomy.width)  # z, y, x
        box = tuple(
            slice(*np.searchsorted(axis, (first * f - anatomy.reach, last * f + anatomy.reach)))
            for axis, first, last, f in zip(self.axes, low[::-1], high[::-1], scale, strict=True)
        )
        return Slab(
            tuple(axis[part] for axis, part in zip(self.axes, box, strict=True)),
            tuple(axis[box] for axis in self.points),
            self.material[box],
            self.side[box],
        )


def sample_axes(config: PhantomConfig, factor: int) -> Axes:
    """Positions of ``factor`` samples per voxel; the volume is centred on the origin."""
    axes = []
    for size, step in zip(config.shape, config.spacing, strict=True):
        place = (np.arange(size * factor) + 0.5) / factor - size / 2
        axes.append((place * step).astype(np.float32))
    return tuple(axes)


def slabs(config: PhantomConfig) -> Iterator[tuple[slice, Axes]]:
    """Slices to draw together, and the axes of their samples."""
    s = config.supersample
    z, y, x = sample_axes(config, s)
    thick = max(1, SAMPLES // (len(y) * len(x) * s))
    for first in range(0, config.shape[0], thick):
        planes = slice(first, min(first + thick, config.shape[0]))
        yield planes, (z[planes.start * s : planes.stop * s], y, x)
