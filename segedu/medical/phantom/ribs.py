"""Ribs, collar bones and the cartilage that joins them to the sternum."""

import numpy as np

from segedu.medical.phantom.anatomy import Anatomy
from segedu.medical.phantom.shapes import rib_cage
from segedu.medical.phantom.tissues import Tissue
from segedu.medical.phantom.tubes import tube


def rib_tubes(anatomy: Anatomy) -> dict[Tissue, np.ndarray]:
    """Whole bones as cortex, to be filled with marrow, and cartilage."""
    bones = []
    for number in range(12):
        line, top = _rib(number)
        for sign in (-1, 1):
            neck = [[anatomy.spine_x(top) + sign * 16, 84 + 0.1 * max(top, 0), top]]
            bones.append(tube(np.concatenate([neck, line * (sign, 1, 1)]), 4.6))
    for sign in (-1, 1):
        bones.append(tube([(sign * 16, -62, 104), (sign * 70, -46, 124), (sign * 140, 6, 140)], 5))
    outer = np.concatenate(bones)
    inner = outer.copy()
    inner[:, 6:] -= 1.7
    return {Tissue.CORTEX: outer, Tissue.MARROW: inner, Tissue.CARTILAGE: _cartilage()}


def _rib(number: int) -> tuple[np.ndarray, float]:
    """Points (n, 3) of a left rib, and the height where it leaves the spine."""
    top = 122 - 24.5 * number
    length = np.interp(number, (0, 1, 6, 9, 10, 11), (2.2, 2.5, 2.6, 2.3, 1.7, 1.2))
    angle = np.linspace(0.16, length, 22)
    fall = np.interp(number, (0, 3, 11), (30, 62, 70))  # ribs slope down to the front
    return _on_the_wall(angle, top + 4 - fall * (angle / 2.6) ** 1.3), top


def _cartilage() -> np.ndarray:
    """From the ends of ribs 2 to 7 to the sternum."""
    pieces = []
    for number in range(1, 7):
        angle = np.linspace(2.5, 2.98, 5)
        z = np.linspace(126 - 24.5 * number - 62, 88 - 20 * number, 5)
        line = _on_the_wall(angle, z)
        pieces += [tube(line, 4.5), tube(line * (-1, 1, 1), 4.5)]
    return np.concatenate(pieces)


def _on_the_wall(angle: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Points (n, 3) in the chest wall; ``angle`` runs from 0 at the spine to pi at the sternum."""
    wide, deep, back = rib_cage(z, 136.0)
    sin, cos = np.sin(angle), np.cos(angle)
    x = (wide + 7) * np.sign(sin) * abs(sin) ** 0.8
    y = (deep + 7) * np.sign(cos) * abs(cos) ** 0.8
    return np.stack([x, y + back, z], axis=1)
