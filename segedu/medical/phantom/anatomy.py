"""The large shapes of one patient: body, chest, heart, lungs."""

import numpy as np

from segedu.medical.phantom.config import PhantomConfig
from segedu.medical.phantom.shapes import Points, ellipsoid, power, rib_cage
from segedu.medical.phantom.tissues import LEFT, RIGHT


class Anatomy:
    """Where the organs of one patient are, in coordinates that `distort` makes unlike.

    Args:
        config: the knobs.
        rng: decides how this patient differs from the mean.
    """

    def __init__(self, config: PhantomConfig, rng: np.random.Generator) -> None:
        def vary(spread: float, mean: float = 0.0) -> float:
            # a Python float keeps arrays float32
            return float(mean + config.variation * spread * rng.uniform(-1, 1))

        self.fat = config.fat
        self.width, self.depth = vary(0.05, 1.0), vary(0.07, 1.0)  # of the chest
        self.dome = {RIGHT: vary(10, -54.0), LEFT: vary(10, -64.0)}  # top of the diaphragm
        self.apex = {RIGHT: vary(4, 132.0), LEFT: vary(4, 130.0)}
        self.waves = rng.uniform(0, 2 * np.pi, (3, 2)).tolist()
        self.wave_height = 3.0 * config.variation
        self.scoliosis = vary(6)
        self.fissure = {RIGHT: vary(8, -8.0), LEFT: vary(8, -6.0)}
        self.heart = config.heart_size * vary(0.06, 1.0)

    def distort(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Points:
        """Points of the scanner in the patient's coordinates: nobody is symmetric."""
        a, (p, q, r) = self.wave_height, self.waves
        dx = np.sin(y / 41 + z / 67 + p[0]) + 0.6 * np.sin(y / 19 - z / 33 + p[1])
        dy = np.sin(x / 52 + z / 58 + q[0]) + 0.6 * np.sin(x / 23 + z / 31 + q[1])
        dz = np.sin(x / 47 + y / 43 + r[0]) + 0.6 * np.sin(x / 25 - y / 29 + r[1])
        return (x + a * dx) / self.width, (y + a * dy) / self.depth, z + a * dz

    @property
    def reach(self) -> float:
        """How far `distort` may move a point, in millimetres."""
        return 1.6 * self.wave_height

    def spine_x(self, z: np.ndarray | float) -> np.ndarray:
        """Where the spine runs at the height z."""
        return self.scoliosis * np.sin(z / 70)

    def skin(self, p: Points, depth: float) -> np.ndarray:
        """Inside the body, at least ``depth`` mm below the skin."""
        x, y, z = p
        shoulders = 14 / (1 + np.exp(-(z - 95) / 12))
        half_width = 160 + self.fat - 12 + shoulders - depth
        half_depth = 120 + 0.8 * (self.fat - 12) - depth
        groove = 4 * np.exp(-((x / 14) ** 2)) * (y > 0)  # along the spine
        return power(x / half_width) + power((y - 4) / (half_depth - groove)) < 1

    def cavity(self, p: Points, grow: float = 0.0) -> np.ndarray:
        """Inside the rib cage, above and below the diaphragm."""
        x, y, z = p
        wide, deep, back = rib_cage(z, np.where(x < 0, self.apex[RIGHT], self.apex[LEFT]))
        inside = power(x / (wide + grow)) + power((y - back) / (deep + grow)) < 1
        return inside & (wide > 1)

    def above_diaphragm(self, p: Points) -> np.ndarray:
        """Above the two domes."""
        x, y, z = p
        side = np.where(x < 0, -1, 1)
        top = np.where(x < 0, self.dome[RIGHT], self.dome[LEFT])
        radius = ((x - side * 62) / 70) ** 2 + ((y + 4) / 92) ** 2
        return z > top - 66 * (1 - np.sqrt(np.clip(1 - radius, 0, None)))

    def heart_shape(self, p: Points, grow: float = 0.0) -> np.ndarray:
        """Inside the heart; its long axis points to the left, forwards and down."""
        axes = [axis * self.heart + grow for axis in (66, 47, 47)]
        return ellipsoid(p, (24, -30, -38), axes, 32)

    def mediastinum(self, p: Points) -> np.ndarray:
        """Between the lungs: narrow in front, wide at the hila, spine and heart."""
        x, y, z = p
        upper = 1 / (1 + np.exp(-(z - 75) / 10))
        half = 5 + 27 * np.exp(-(((y - 8) / 38) ** 2)) + 8 * upper
        shift = 4 * np.exp(-(((z - 20) / 60) ** 2))
        spine = ((x - self.spine_x(z)) / 27) ** 2 + ((y - 82) / 30) ** 2 < 1
        return (abs(x - shift) < half) | spine | self.heart_shape(p, 4.0)

    def lung(self, p: Points) -> np.ndarray:
        """0 outside, else `RIGHT` or `LEFT`."""
        inside = self.cavity(p) & self.above_diaphragm(p) & ~self.mediastinum(p)
        return np.where(inside, np.where(p[0] < 0, RIGHT, LEFT), 0).astype(np.uint8)

    def points_in_lung(
        self, rng: np.random.Generator, side: int, count: int, margin: float
    ) -> np.ndarray:
        """Random points (count, 3) of a lung, at least about ``margin`` mm from its border.

        Raises:
            ValueError: there is hardly a point so far inside.
        """
        found = np.empty((0, 3))
        steps = margin * np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3))])
        sign = -1 if side == RIGHT else 1
        for _ in range(50):
            x, y, z = rng.uniform((5, -85, -115), (128, 85, 125), (4 * count, 3)).T
            p = np.stack([sign * x, y, z], axis=1)
            near = p[:, None] + steps  # (n, 7, 3)
            found = np.concatenate([found, p[(self.lung(tuple(near.T)) == side).all(0)]])
            if len(found) >= count:
                return found[:count]
        raise ValueError(f"nothing fits into the lung {margin} mm away from its border")
