"""Solids, as functions that say which points lie inside."""

from collections.abc import Sequence

import numpy as np

Points = tuple[np.ndarray, np.ndarray, np.ndarray]  #: x, y, z in millimetres, of one shape


def power(x: np.ndarray) -> np.ndarray:
    """|x| to 2.5, the exponent of chests: rounder than a box, squarer than an ellipse."""
    return x * x * np.sqrt(abs(x))


def ellipsoid(
    p: Points, centre: Sequence[float], axes: Sequence[float], tilt: float = 0.0
) -> np.ndarray:
    """Inside an ellipsoid, turned by ``tilt`` degrees from left to feet (about the y axis)."""
    x, y, z = (axis - c for axis, c in zip(p, centre, strict=True))
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    u, w = c * x - s * z, s * x + c * z
    return (u / axes[0]) ** 2 + (y / axes[1]) ** 2 + (w / axes[2]) ** 2 < 1


def rib_cage(z: np.ndarray, apex: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half width, half depth and middle (y) of the rib cage at the height z."""
    up = np.maximum(z, 0)
    taper = np.sqrt(np.clip(1 - power(np.maximum(z + 60, 0) / (apex + 60)), 1e-6, None))
    return 129 * taper, 87 * (0.4 * taper + 0.6 * np.sqrt(taper)), 0.10 * up
