"""A thorax CT that belongs to nobody: an anthropomorphic phantom in Hounsfield units.

`generate` makes one patient from a seed: body with skin, fat and muscle, two unlike lungs with
fissures, arteries, veins and airways that branch, heart and great vessels, oesophagus, spine, ribs,
sternum, shoulder blades, what lies below the diaphragm, the table, and whatever the configuration
asks for: nodules, emphysema, effusion, a missing lung. Every voxel is the mean of the tissues in
it (partial volume), blurred as a reconstruction blurs, with noise that is correlated as a filtered
back projection correlates it. Because we drew it, the masks are exact.

Lengths are millimetres in the patient: x grows to the left, y to the back, z to the head, and the
origin lies in the middle of the chest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from segedu.medical.volume import Volume

Points = tuple[np.ndarray, np.ndarray, np.ndarray]  #: x, y, z in millimetres, of one shape

LABELS = (
    "background ｜ 背景",
    "soft tissue ｜ 软组织",
    "lung ｜ 肺",
    "lung vessel ｜ 肺血管",
    "airway ｜ 气道",
    "heart and great vessels ｜ 心脏与大血管",
    "bone ｜ 骨",
    "abdominal organ ｜ 腹部器官",
    "nodule ｜ 结节",
    "effusion ｜ 胸腔积液",
    "table ｜ 检查床",
)  #: of `Phantom.labels`
LUNGS = ("background ｜ 背景", "right lung ｜ 右肺", "left lung ｜ 左肺")  #: of `Phantom.lungs`
NODULE = 8


class Material(NamedTuple):
    """A tissue: its attenuation and the label that it belongs to."""

    hu: float
    label: int


_AIR, _SKIN, _FAT, _MUSCLE, _LUNG, _FISSURE, _EMPHYSEMA, _VESSEL = range(8)
_LUMEN, _WALL, _MYOCARDIUM, _BLOOD, _CORTEX, _MARROW, _DISC, _CARTILAGE = range(8, 16)
_LIVER, _SPLEEN, _STOMACH, _GAS, _FLUID, _SHELL, _FOAM, _CANAL = range(16, 24)
_FIRST_NODULE = 24  # one material per nodule

_MATERIALS = {
    _AIR: Material(-1000, 0),
    _SKIN: Material(20, 1),
    _FAT: Material(-100, 1),
    _MUSCLE: Material(55, 1),
    _LUNG: Material(-865, 2),
    _FISSURE: Material(-740, 2),
    _EMPHYSEMA: Material(-965, 2),
    _VESSEL: Material(40, 3),
    _LUMEN: Material(-995, 4),
    _WALL: Material(20, 4),
    _MYOCARDIUM: Material(60, 5),
    _BLOOD: Material(40, 5),
    _CORTEX: Material(750, 6),
    _MARROW: Material(190, 6),
    _DISC: Material(85, 1),
    _CARTILAGE: Material(110, 1),
    _LIVER: Material(65, 7),
    _SPLEEN: Material(55, 7),
    _STOMACH: Material(30, 7),
    _GAS: Material(-950, 7),
    _FLUID: Material(12, 9),
    _SHELL: Material(-50, 10),
    _FOAM: Material(-940, 10),
    _CANAL: Material(25, 1),
}


@dataclass(frozen=True)
class Nodule:
    """A round lesion to place in a lung.

    Attributes:
        diameter: millimetres.
        hu: attenuation; about 30 solid, -600 ground glass, 300 calcified.
        lung: ``"right"``, ``"left"``, or ``""`` for either.
        lobulation: relative depth of the dents in its surface, 0 (a ball) to 0.5.
        centre: x, y, z in millimetres; ``None`` lets the seed choose a place where it fits.
    """

    diameter: float = 10.0
    hu: float = 30.0
    lung: str = ""
    lobulation: float = 0.15
    centre: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class PhantomConfig:
    """The knobs of a phantom.

    Attributes:
        shape: voxels (D, H, W); slices are axial, from the feet to the head.
        spacing: millimetres along d, h, w.
        supersample: samples along each axis of a voxel; their mean is its partial volume.
        nodules: what to find.
        emphysema: share of the lungs destroyed, 0 to 0.5.
        effusion: height of the fluid behind the right lung, in millimetres.
        missing_lung: ``"right"``, ``"left"`` or ``""``: the side of a pneumonectomy, filled with
            fluid.
        contrast_hu: what a contrast agent adds to blood.
        fat: thickness of the fat below the skin, in millimetres.
        heart_size: factor on the heart.
        variation: how much one seed's anatomy differs from the next, 0 to 2.
        noise: standard deviation of the noise in soft tissue, in HU.
        blur: standard deviation of the in-plane point spread, in millimetres.
        table: draw the table.
    """

    shape: tuple[int, int, int] = (96, 192, 192)
    spacing: tuple[float, float, float] = (3.0, 1.9, 1.9)
    supersample: int = 2
    nodules: tuple[Nodule, ...] = (Nodule(16.0), Nodule(9.0), Nodule(12.0, hu=-600.0))
    emphysema: float = 0.0
    effusion: float = 0.0
    missing_lung: str = ""
    contrast_hu: float = 110.0
    fat: float = 12.0
    heart_size: float = 1.0
    variation: float = 1.0
    noise: float = 18.0
    blur: float = 0.7
    table: bool = True

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or self.supersample < 1 or min(self.spacing) <= 0:
            raise ValueError("shape, spacing and supersample must be positive")
        for name, high in (("emphysema", 0.5), ("variation", 2.0)):
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be in 0..{high}, got {getattr(self, name)}")
        for name in ("effusion", "fat", "noise", "blur"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for side in (self.missing_lung, *(nodule.lung for nodule in self.nodules)):
            if side not in ("", "left", "right"):
                raise ValueError(f"a lung is 'left', 'right' or '', got {side!r}")


class Phantom(NamedTuple):
    """One patient; all three volumes share a grid."""

    image: Volume  #: int16 HU
    labels: Volume  #: uint8, indices of `LABELS`: the tissue that fills most of a voxel
    lungs: Volume  #: uint8, indices of `LUNGS`, with the vessels, airways and nodules inside
    nodules: tuple[Nodule, ...]  #: as asked for, each with its centre


def generate(seed: int, config: PhantomConfig | None = None) -> Phantom:
    """Draw the patient of this seed; the same seed and configuration give the same bytes.

    Args:
        seed: at least 0.
        config: by default 96 slices of 192 x 192 with three nodules.

    Raises:
        ValueError: a nodule fits nowhere in its lung.

    Example:
        >>> small = PhantomConfig(shape=(12, 32, 32), spacing=(24, 11.5, 11.5), nodules=())
        >>> phantom = generate(0, small)
        >>> phantom.image.shape, phantom.image.array.dtype, int(phantom.lungs.array.max())
        ((12, 32, 32), dtype('int16'), 2)
    """
    config = config or PhantomConfig()
    rng = np.random.default_rng(seed)
    patient = _Patient(config, rng)
    hu = np.empty(config.shape, np.float32)
    labels, lungs = np.empty(config.shape, np.uint8), np.empty(config.shape, np.uint8)
    for planes, fine in _slabs(config):
        material, side = _draw(patient, fine)
        hu[planes], labels[planes], lungs[planes] = _downsample(patient, material, side, config)
    hu = _acquire(hu, labels, config, rng)
    z, y, x = (float(axis[0]) for axis in _axes(config, 1))
    image = Volume(hu, config.spacing, origin=(x, y, z))
    return Phantom(image, image.with_array(labels), image.with_array(lungs), patient.nodules)


# --- the patient ------------------------------------------------------------------------------


@dataclass
class _Patient:
    """The shapes of one patient, in undistorted coordinates."""

    config: PhantomConfig
    rng: np.random.Generator
    tubes: dict[int, np.ndarray] = field(default_factory=dict)  # material -> segments (n, 8)
    nodules: tuple[Nodule, ...] = ()

    def __post_init__(self) -> None:
        v = self.config.variation

        def vary(spread: float, mean: float = 0.0) -> float:
            return float(mean + v * spread * self.rng.uniform(-1, 1))  # keeps arrays float32

        self.width, self.depth = vary(0.05, 1.0), vary(0.07, 1.0)  # of the chest
        self.dome = {-1: vary(10, -54.0), 1: vary(10, -64.0)}  # top of the diaphragm, right, left
        self.apex = {-1: vary(4, 132.0), 1: vary(4, 130.0)}
        self.waves = self.rng.uniform(0, 2 * np.pi, (3, 2)).tolist()
        self.wave_height = 3.0 * v
        self.scoliosis = vary(6)
        self.fissure = {-1: vary(8, -8.0), 1: vary(8, -6.0)}
        self.heart = self.config.heart_size * vary(0.06, 1.0)
        bubbles = self.rng.normal(0, 0.35, (8, 4)) * (1, 1, 1, 10)  # about a centimetre
        self.bubbles = bubbles.tolist()
        (lesions,) = self.rng.spawn(1)  # the patient is the same without nodules
        self.tubes = _vessels_and_bones(self)
        self.nodules = tuple(self._place(lesions, nodule) for nodule in self.config.nodules)
        self.dents = lesions.normal(size=(len(self.nodules), 6, 3))

    def distort(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Points:
        """Points of the scanner in the patient's coordinates: nobody is symmetric."""
        a, (p, q, r) = self.wave_height, self.waves
        dx = np.sin(y / 41 + z / 67 + p[0]) + 0.6 * np.sin(y / 19 - z / 33 + p[1])
        dy = np.sin(x / 52 + z / 58 + q[0]) + 0.6 * np.sin(x / 23 + z / 31 + q[1])
        dz = np.sin(x / 47 + y / 43 + r[0]) + 0.6 * np.sin(x / 25 - y / 29 + r[1])
        return (x + a * dx) / self.width, (y + a * dy) / self.depth, z + a * dz

    def spine_x(self, z: np.ndarray) -> np.ndarray:
        return self.scoliosis * np.sin(z / 70)

    def skin(self, p: Points, depth: float) -> np.ndarray:
        """Inside the body, at least ``depth`` mm below the skin."""
        x, y, z = p
        shoulders = 14 / (1 + np.exp(-(z - 95) / 12))
        half_width = 160 + self.config.fat - 12 + shoulders - depth
        half_depth = 120 + 0.8 * (self.config.fat - 12) - depth
        groove = 4 * np.exp(-((x / 14) ** 2)) * (y > 0)  # along the spine
        return _power(x / half_width) + _power((y - 4) / (half_depth - groove)) < 1

    def cavity(self, p: Points, grow: float = 0.0) -> np.ndarray:
        """Inside the rib cage, above and below the diaphragm."""
        x, y, z = p
        wide, deep, back = _rib_cage(z, np.where(x < 0, self.apex[-1], self.apex[1]))
        inside = _power(x / (wide + grow)) + _power((y - back) / (deep + grow)) < 1
        return inside & (wide > 1)

    def above_diaphragm(self, p: Points) -> np.ndarray:
        x, y, z = p
        side = np.where(x < 0, -1, 1)
        top = np.where(x < 0, self.dome[-1], self.dome[1])
        radius = ((x - side * 62) / 70) ** 2 + ((y + 4) / 92) ** 2
        return z > top - 66 * (1 - np.sqrt(np.clip(1 - radius, 0, None)))

    def heart_shape(self, p: Points, grow: float = 0.0) -> np.ndarray:
        # long axis to the left, forwards and down
        return _ellipsoid(
            p, (24, -30, -38), [axis * self.heart + grow for axis in (66, 47, 47)], 32
        )

    def mediastinum(self, p: Points) -> np.ndarray:
        """Between the lungs: narrow in front, wide at the hila, spine and heart."""
        x, y, z = p
        upper = 1 / (1 + np.exp(-(z - 75) / 10))
        half = 5 + 27 * np.exp(-(((y - 8) / 38) ** 2)) + 8 * upper
        shift = 4 * np.exp(-(((z - 20) / 60) ** 2))
        spine = ((x - self.spine_x(z)) / 27) ** 2 + ((y - 82) / 30) ** 2 < 1
        return (abs(x - shift) < half) | spine | self.heart_shape(p, 4.0)

    def lung(self, p: Points) -> np.ndarray:
        """0 outside, 1 in the right lung, 2 in the left."""
        inside = self.cavity(p) & self.above_diaphragm(p) & ~self.mediastinum(p)
        return np.where(inside, np.where(p[0] < 0, 1, 2), 0).astype(np.uint8)

    def inside_lung(
        self, rng: np.random.Generator, side: int, count: int, margin: float
    ) -> np.ndarray:
        """Random points (count, 3) of lung 1 or 2, at least about ``margin`` mm from its border."""
        found = np.empty((0, 3))
        steps = margin * np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3))])
        sign = -1 if side == 1 else 1
        for _ in range(50):
            x, y, z = rng.uniform((5, -85, -115), (128, 85, 125), (4 * count, 3)).T
            p = np.stack([sign * x, y, z], axis=1)
            near = p[:, None] + steps  # (n, 7, 3)
            found = np.concatenate([found, p[(self.lung(tuple(near.T)) == side).all(0)]])
            if len(found) >= count:
                return found[:count]
        raise ValueError(f"nothing fits into the lung {margin} mm away from its border")

    def _place(self, rng: np.random.Generator, nodule: Nodule) -> Nodule:
        if nodule.centre is not None:
            return nodule
        sides = {"right": 1, "left": 2}
        free = [i for name, i in sides.items() if name != self.config.missing_lung]
        side = sides[nodule.lung] if nodule.lung else free[rng.integers(len(free))]
        (centre,) = self.inside_lung(rng, side, 1, nodule.diameter / 2 * (1 + nodule.lobulation))
        return Nodule(**{**vars(nodule), "centre": tuple(centre.round(2).tolist())})

    def nodule_shape(self, index: int, p: Points) -> np.ndarray:
        nodule = self.nodules[index]
        offset = np.stack([axis - c for axis, c in zip(p, nodule.centre, strict=True)])
        distance = np.sqrt((offset**2).sum(0))
        unit = offset / np.maximum(distance, 1e-6)
        waves = np.sin(3 * np.tensordot(self.dents[index], unit, 1)).mean(0)
        return distance < nodule.diameter / 2 * (1 + nodule.lobulation * waves)

    def hu_table(self) -> np.ndarray:
        """HU of each material."""
        table = [_MATERIALS[i].hu for i in range(_FIRST_NODULE)]
        table[_BLOOD] += self.config.contrast_hu
        table[_VESSEL] += self.config.contrast_hu
        for organ in (_MYOCARDIUM, _LIVER, _SPLEEN):
            table[organ] += 0.4 * self.config.contrast_hu
        return np.array(table + [nodule.hu for nodule in self.nodules], np.float32)

    def label_table(self) -> np.ndarray:
        """Label of each material."""
        table = [_MATERIALS[i].label for i in range(_FIRST_NODULE)]
        return np.array(table + [NODULE] * len(self.nodules), np.uint8)


def _power(x: np.ndarray) -> np.ndarray:
    """|x| to 2.5, the exponent of chests: rounder than a box, squarer than an ellipse."""
    return x * x * np.sqrt(abs(x))


def _rib_cage(z: np.ndarray, apex: np.ndarray | float) -> tuple[np.ndarray, ...]:
    """Half width, half depth and middle (y) of the rib cage at the height z."""
    up = np.maximum(z, 0)
    taper = np.sqrt(np.clip(1 - _power(np.maximum(z + 60, 0) / (apex + 60)), 1e-6, None))
    return 129 * taper, 87 * (0.4 * taper + 0.6 * np.sqrt(taper)), 0.10 * up


def _ellipsoid(p: Points, centre: Any, axes: Any, tilt: float = 0.0) -> np.ndarray:
    """Inside an ellipsoid, turned by ``tilt`` degrees from left to feet (about the y axis)."""
    x, y, z = (axis - c for axis, c in zip(p, centre, strict=True))
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    u, w = c * x - s * z, s * x + c * z
    return (u / axes[0]) ** 2 + (y / axes[1]) ** 2 + (w / axes[2]) ** 2 < 1


# --- everything that is a tube ------------------------------------------------------------------


def _tube(points: Any, radii: Any) -> np.ndarray:
    """Segments (n, 8) of a polyline: start, end, radius at start, radius at end."""
    points = np.asarray(points, float)
    radii = np.broadcast_to(np.asarray(radii, float), len(points))
    ends = np.stack([radii[:-1], radii[1:]], axis=1)
    return np.concatenate([points[:-1], points[1:], ends], axis=1)


def _tree(
    rng: np.random.Generator, root: Any, targets: np.ndarray, radius: float, power: float
) -> np.ndarray:
    """Branches (n, 8) that reach every target, thinner the fewer targets they supply.

    Each branch heads for the middle of its targets and splits them in two, as vessels fill a lung:
    Murray's law says radius ~ targets^(1/3); lungs come closer to a power of 0.4.
    """
    branches, todo = [], [(np.asarray(root, float), targets)]
    while todo:
        start, group = todo.pop()
        thick = radius * len(group) ** power
        if len(group) == 1:
            branches.append([*start, *group[0], thick, 0.5 * thick])
            continue
        middle = group.mean(0)
        reach = middle - start
        bend = rng.normal(size=3) * 0.10 * np.linalg.norm(reach)
        end = start + rng.uniform(0.4, 0.6) * reach + bend
        branches.append([*start, *end, thick, 0.92 * thick])
        longest = np.linalg.svd(group - middle, full_matrices=False)[2][0]
        order = np.argsort(group @ longest, kind="stable")
        cut = int(np.clip(round(len(group) * rng.uniform(0.3, 0.7)), 1, len(group) - 1))
        todo += [(end, group[order[:cut]]), (end, group[order[cut:]])]
    return np.array(branches)


def _vessels_and_bones(patient: _Patient) -> dict[int, np.ndarray]:
    """Every tube of the patient, by material; later materials are painted over earlier ones."""
    rng = patient.rng
    blood = [
        _tube([(4, -22, -8), (-14, -24, 22), (-13, -22, 48), (-2, -6, 64), (12, 14, 66)], 14.5),
        _tube([(12, 14, 66), (20, 36, 56), (22, 48, 35)], 13.5),
        _tube([(22, 48, 35), (20, 50, -20), (14, 50, -80), (6, 46, -160)], (13, 12, 11.5, 11)),
        _tube([(14, -44, -8), (18, -26, 24)], 13),  # pulmonary trunk and arteries
        _tube([(16, -16, 27), (-18, -2, 22), (-44, 2, 14)], (10, 9, 7.5)),
        _tube([(18, -20, 28), (44, 12, 26)], (10, 8)),
        _tube([(6, 2, -14), (-42, 10, -18)], (9, 6)),  # pulmonary veins
        _tube([(6, 2, -14), (46, 14, -14)], (9, 6)),
        _tube([(-22, -14, 95), (-25, -14, 50), (-24, -18, -6)], (8, 9, 10)),  # venae cavae
        _tube([(-20, -8, -40), (-20, 2, -90), (-16, 10, -160)], 11.5),
        _tube([(-22, -14, 95), (18, -18, 88), (40, -14, 112)], (7, 6, 5.5)),
        _tube([(-22, -14, 95), (-42, -10, 116)], (7, 5.5)),
        _tube([(-4, -8, 66), (-18, -2, 105), (-34, 4, 140)], (7, 6, 4.5)),
        _tube([(6, 2, 68), (12, 6, 145)], (4.5, 4)),
        _tube([(14, 18, 68), (28, 14, 110), (40, 8, 140)], (5.5, 5, 4)),
    ]
    trachea = _tube([(0, 8, 165), (0, 16, 90), (0, 24, 30)], (8.5, 8.5, 8.0))
    bronchi = [
        _tube([(0, 24, 30), (-22, 22, 12), (-40, 16, 0)], (6.8, 6.2, 5.0)),
        _tube([(0, 24, 30), (22, 25, 12), (44, 18, -4)], (6.2, 5.4, 4.6)),
    ]
    vessels = []
    for side, sign in ((1, -1), (2, 1)):
        artery, vein = (sign * 44, 6, 18), (sign * 44, 12, -16)
        vessels += [
            _tree(rng, root, patient.inside_lung(rng, side, 460, 2.5), 0.72, 0.36)
            for root in (artery, vein)
        ]
        airways = patient.inside_lung(rng, side, 36, 9.0)
        bronchi.append(_tree(rng, bronchi[side - 1][-1, 3:6], airways, 1.1, 0.38))
    lumen = np.concatenate([trachea, *bronchi])
    wall = lumen.copy()
    wall[:, 6:] = 1.12 * wall[:, 6:] + 0.6
    oesophagus = [(3, 36, 160), (5, 40, 30), (6, 34, -40), (14, 22, -110)]
    outer, inner = _ribs(patient)
    return {
        _BLOOD: np.concatenate(blood),
        _VESSEL: np.concatenate(vessels),
        _MUSCLE: _tube(oesophagus, (7, 7, 7.5, 8)),
        _GAS: _tube(oesophagus[:3], (1.5, 2.5, 1.0)),
        _WALL: wall,
        _LUMEN: lumen,
        _CORTEX: outer,
        _MARROW: inner,
        _CARTILAGE: _cartilage(),
    }


def _on_the_wall(angle: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Points (n, 3) in the chest wall; ``angle`` runs from 0 at the spine to pi at the sternum."""
    wide, deep, back = _rib_cage(z, 136.0)
    sin, cos = np.sin(angle), np.cos(angle)
    x = (wide + 7) * np.sign(sin) * abs(sin) ** 0.8
    y = (deep + 7) * np.sign(cos) * abs(cos) ** 0.8
    return np.stack([x, y + back, z], axis=1)


def _ribs(patient: _Patient) -> tuple[np.ndarray, np.ndarray]:
    """Ribs and collar bones, whole and without their cortex."""
    bones = []
    for number in range(12):
        top = 122 - 24.5 * number  # where it leaves the spine
        length = np.interp(number, (0, 1, 6, 9, 10, 11), (2.2, 2.5, 2.6, 2.3, 1.7, 1.2))
        angle = np.linspace(0.16, length, 22)
        fall = np.interp(number, (0, 3, 11), (30, 62, 70))  # ribs slope down to the front
        z = top + 4 - fall * (angle / 2.6) ** 1.3
        for sign in (-1, 1):
            line = _on_the_wall(angle, z) * (sign, 1, 1)
            neck = [[patient.spine_x(top) + sign * 16, 84 + 0.1 * max(top, 0), top]]
            bones.append(_tube(np.concatenate([neck, line]), 4.6))
    for sign in (-1, 1):
        bones.append(_tube([(sign * 16, -62, 104), (sign * 70, -46, 124), (sign * 140, 6, 140)], 5))
    outer = np.concatenate(bones)
    inner = outer.copy()
    inner[:, 6:] -= 1.7
    return outer, inner


def _cartilage() -> np.ndarray:
    """From the ends of ribs 2 to 7 to the sternum."""
    pieces = []
    for number in range(1, 7):
        angle = np.linspace(2.5, 2.98, 5)
        z = np.linspace(126 - 24.5 * number - 62, 88 - 20 * number, 5)
        line = _on_the_wall(angle, z)
        pieces += [_tube(line, 4.5), _tube(line * (-1, 1, 1), 4.5)]
    return np.concatenate(pieces)


# --- drawing ------------------------------------------------------------------------------------


class _Slab(NamedTuple):
    """Samples of some slices, (d, h, w) each, or of a box of them."""

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]  #: z, y, x of the scanner
    points: Points  #: x, y, z of the patient
    material: np.ndarray
    side: np.ndarray  #: 0 outside, 1 in the right lung, 2 in the left

    def box(self, patient: _Patient, low: Any, high: Any) -> "_Slab":
        """The samples that may lie between two corners (x, y, z) of the patient, as views."""
        reach = 1.6 * patient.wave_height
        scale = (1.0, patient.depth, patient.width)  # z, y, x
        box = tuple(
            slice(*np.searchsorted(axis, (first * f - reach, last * f + reach)))
            for axis, first, last, f in zip(self.axes, low[::-1], high[::-1], scale, strict=True)
        )
        return _Slab(
            tuple(axis[part] for axis, part in zip(self.axes, box, strict=True)),
            tuple(axis[box] for axis in self.points),
            self.material[box],
            self.side[box],
        )


def _axes(config: PhantomConfig, factor: int) -> list[np.ndarray]:
    """Positions z, y, x of ``factor`` samples per voxel; the volume is centred on the origin."""
    axes = []
    for size, step in zip(config.shape, config.spacing, strict=True):
        place = (np.arange(size * factor) + 0.5) / factor - size / 2
        axes.append((place * step).astype(np.float32))
    return axes


def _slabs(config: PhantomConfig) -> Iterator[tuple[slice, tuple[np.ndarray, ...]]]:
    """Slices to draw together, about two million samples, and their axes z, y, x."""
    s = config.supersample
    z, y, x = _axes(config, s)
    thick = max(1, 2_000_000 // (len(y) * len(x) * s))
    for first in range(0, config.shape[0], thick):
        planes = slice(first, min(first + thick, config.shape[0]))
        yield planes, (z[planes.start * s : planes.stop * s], y, x)


def _draw(patient: _Patient, axes: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Material and lung (0, 1, 2) of every sample of a slab, (d, h, w) each."""
    z, y, x = axes
    points = patient.distort(x[None, None], y[None, :, None], z[:, None, None])
    material = np.zeros((len(z), len(y), len(x)), np.uint8)
    points = tuple(np.broadcast_to(axis, material.shape) for axis in points)
    slab = _Slab(axes, points, material, patient.lung(points))
    _draw_body(patient, slab)
    _draw_organs(patient, slab)
    _draw_spine(patient, slab.box(patient, (-48, 52, -200), (48, 140, 200)))
    for name in (_MUSCLE, _GAS, _BLOOD, _CARTILAGE, _CORTEX, _MARROW):
        _paint_tubes(patient, slab, name)
    _draw_flat_bones(patient, slab)
    _draw_lungs(patient, slab)
    if patient.config.table:
        _draw_table(patient, slab)
    return material, slab.side


def _draw_body(patient: _Patient, slab: _Slab) -> None:
    p, material = slab.points, slab.material
    x, y, z = p
    material[patient.skin(p, 0)] = _SKIN
    material[patient.skin(p, 2.0)] = _FAT
    streaks = np.sin(x / 9 + 2 * np.sin(z / 31)) + np.sin(y / 8 + x / 17 + z / 23) > 1.5
    muscle = patient.skin(p, 2.0 + patient.config.fat)
    material[muscle & ~streaks] = _MUSCLE
    cavity = patient.cavity(p, 3.0)
    material[cavity] = _FAT  # of the mediastinum and the belly
    below = cavity & ~patient.above_diaphragm(p)
    for organ, centre, size, tilt in (
        (_LIVER, (-52, -2, -140), (118, 104, 104), -10),
        (_STOMACH, (54, -34, -120), (46, 40, 50), 20),
        (_GAS, (56, -52, -104), (24, 16, 22), 0),
        (_SPLEEN, (96, 36, -118), (26, 42, 46), -15),
    ):
        material[below & _ellipsoid(p, centre, size, tilt)] = organ


def _draw_organs(patient: _Patient, slab: _Slab) -> None:
    """Heart and lungs."""
    heart = slab.box(patient, (-70, -110, -120), (110, 50, 50))
    p = heart.points
    heart.material[patient.heart_shape(p)] = _MYOCARDIUM
    cavities = patient.heart_shape(p, -3.0)
    for centre, size in (
        ((46, -32, -52), (22, 21, 25)),
        ((14, -56, -42), (32, 13, 27)),
        ((-20, -30, -32), (17, 23, 24)),
        ((8, 2, -16), (29, 15, 19)),
    ):
        chamber = _ellipsoid(p, centre, [axis * patient.heart for axis in size], 25)
        heart.material[chamber & cavities] = _BLOOD
    slab.material[slab.side > 0] = _LUNG


def _draw_spine(patient: _Patient, slab: _Slab) -> None:
    x, y, z = slab.points
    u, v = x - patient.spine_x(z), y - 76 - 0.05 * np.maximum(z, 0)
    level = (z + 200) % 24.5  # one vertebra and one disc
    disc = level < 4.5
    waist = 19 - 1.1 * np.sin((level - 4.5) / 20 * np.pi)
    body = (u / waist) ** 2 + (v / 15) ** 2 < 1
    core = (u / 17.2) ** 2 + (v / 13.2) ** 2 < 1
    end_plate = ~disc & ((level < 6) | (level > 23))
    arch = (u / 15) ** 2 + ((v - 22) / 12) ** 2
    transverse = (abs(v - 24 - abs(u) * 0.25) < 3.6) & (abs(u) < 32) & (abs(level - 16) < 6)
    below = abs(level - 9)
    spinous = (v > 30) & (v < 44 - below) & (below < 9)
    for where, tissue in (
        (body, _CORTEX),
        (core & ~end_plate, _MARROW),
        (body & disc, _DISC),
        ((arch < 1) & ~disc, _CORTEX),
        ((u / 13) ** 2 + ((v - 22) / 10) ** 2 < 1, _MUSCLE),
        (transverse & (arch >= 0.8), _CORTEX),
        (spinous & (abs(u) < 3), _CORTEX),
        (spinous & (abs(u) < 1.4), _MARROW),
        ((u / 9) ** 2 + ((v - 21) / 8) ** 2 < 1, _CANAL),
    ):
        slab.material[where] = tissue


def _draw_flat_bones(patient: _Patient, slab: _Slab) -> None:
    """Sternum and shoulder blades: thin plates with a core of marrow."""
    front = slab.box(patient, (-20, -120, -60), (20, -40, 110))
    x, y, z = front.points
    away = abs(y + 95 - 0.24 * np.maximum(z - 10, 0))
    for shrink, tissue in ((0.0, _CORTEX), (1.6, _MARROW)):
        plate = (abs(x) < 17 - shrink) & (away < 5.2 - shrink) & (abs(z - 25) < 78)
        front.material[plate] = tissue
    for sign in (-1, 1):
        low, high = sorted((sign * 45, sign * 140))
        back = slab.box(patient, (low, 20, 0), (high, 115, 145))
        x, y, z = back.points
        u, v = sign * x - 92, y - 72
        along, across = 0.80 * u - 0.60 * v, 0.60 * u + 0.80 * v
        across = abs(across - 0.004 * along**2)
        free = ~patient.cavity(back.points, 9.0)
        for shrink, tissue in ((0.0, _CORTEX), (1.6, _MARROW)):
            blade = (along / (44 - shrink)) ** 2 + ((z - 72) / (66 - shrink)) ** 2 < 1
            back.material[blade & (across < 3.4 - shrink) & free] = tissue


def _draw_lungs(patient: _Patient, slab: _Slab) -> None:
    """What is inside the lungs; their side stays theirs, but for fluid."""
    config, side, material = patient.config, slab.side, slab.material
    side[material != _LUNG] = 0  # great vessels and bones that reach into them
    x, y, z = slab.points
    lung = side > 0
    oblique = z - 0.85 * y - np.where(x < 0, patient.fissure[-1], patient.fissure[1])
    oblique = oblique + 6 * np.sin(x / 38)
    minor = (side == 1) & (abs(z - 4 + 0.001 * x * y) < 0.5) & (oblique > 0)
    material[lung & ((abs(oblique) < 0.7) | minor)] = _FISSURE
    if config.emphysema:
        waves = sum(np.sin(a * x + b * y + c * z + d) for a, b, c, d in patient.bubbles)
        limit = NormalDist(0, (len(patient.bubbles) / 2) ** 0.5).inv_cdf(1 - config.emphysema)
        material[lung & (waves > limit)] = _EMPHYSEMA
    _paint_tubes(patient, slab, _VESSEL, lung_only=True)
    _paint_tubes(patient, slab, _WALL)
    _paint_tubes(patient, slab, _LUMEN)
    for i, nodule in enumerate(patient.nodules):
        reach = nodule.diameter * (1 + nodule.lobulation) / 2
        near = slab.box(patient, np.subtract(nodule.centre, reach), np.add(nodule.centre, reach))
        near.material[patient.nodule_shape(i, near.points) & (near.side > 0)] = _FIRST_NODULE + i
    if config.effusion:
        _flood(slab, (side == 1) & (y > 84 - config.effusion))
    if config.missing_lung:
        _flood(slab, side == (1 if config.missing_lung == "right" else 2))


def _flood(slab: _Slab, where: np.ndarray) -> None:
    slab.material[where] = _FLUID
    slab.side[where] = 0


def _draw_table(patient: _Patient, slab: _Slab) -> None:
    """A curved couch of foam in a thin shell, straight whatever the patient's shape."""
    _, y, x = slab.axes
    back = 120 * patient.depth + 0.8 * (patient.config.fat - 12) + 8
    sag = y[:, None] - back + (x[None] / 33) ** 2  # (h, w)
    board = (sag > -1) & (sag < 30) & (abs(x[None]) < 195)
    core = (sag > 1.5) & (sag < 27.5) & (abs(x[None]) < 192)
    outside = slab.material == _AIR
    slab.material[outside & board] = _SHELL
    slab.material[outside & core] = _FOAM


def _paint_tubes(patient: _Patient, slab: _Slab, name: int, *, lung_only: bool = False) -> None:
    """Paint all tubes of a material."""
    segments = patient.tubes[name]
    thick = segments[:, 6:].max(1, keepdims=True)
    low = np.minimum(segments[:, :3], segments[:, 3:6]) - thick
    high = np.maximum(segments[:, :3], segments[:, 3:6]) + thick
    reach = 1.6 * patient.wave_height
    z = slab.axes[0]
    near = (high[:, 2] > z[0] - reach) & (low[:, 2] < z[-1] + reach)
    near &= thick[:, 0] > 0.15 * (slab.axes[2][1] - slab.axes[2][0])  # samples would miss the rest
    for i in np.flatnonzero(near):
        part = slab.box(patient, low[i], high[i])
        if not part.material.size:
            continue
        start, end, (first, last) = segments[i, :3], segments[i, 3:6], segments[i, 6:].tolist()
        along = (end - start).tolist()
        p = [axis - a for axis, a in zip(part.points, start.tolist(), strict=True)]
        t = sum(axis * step for axis, step in zip(p, along, strict=True))
        t = np.clip(t / max(sum(step * step for step in along), 1e-9), 0, 1)
        apart = sum((axis - t * step) ** 2 for axis, step in zip(p, along, strict=True))
        inside = apart < (first + t * (last - first)) ** 2
        if lung_only:
            inside &= part.side > 0
        part.material[inside] = name


# --- the scanner --------------------------------------------------------------------------------


def _downsample(
    patient: _Patient, material: np.ndarray, side: np.ndarray, config: PhantomConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean HU, most frequent label and lung of the samples of each voxel."""
    s = config.supersample

    def share(values: np.ndarray) -> np.ndarray:
        d, h, w = values.shape
        parts = values.reshape(d // s, s, h // s, s, w // s, s)
        return parts.mean((1, 3, 5), dtype=np.float32)

    def most(values: np.ndarray) -> np.ndarray:
        present = np.unique(values)
        first = values[::s, ::s, ::s]  # decides ties, so that no tissue gains by its number
        shares = [share(values == k) + 1e-3 * (first == k) for k in present]
        return present[np.argmax(shares, axis=0)]

    hu = share(patient.hu_table()[material])
    return hu, most(patient.label_table()[material]), most(side)


def _acquire(
    hu: np.ndarray, labels: np.ndarray, config: PhantomConfig, rng: np.random.Generator
) -> np.ndarray:
    """What the scanner makes of the tissues: texture, blur, correlated noise, whole numbers."""
    from scipy.ndimage import gaussian_filter

    step = np.array(config.spacing)
    texture = gaussian_filter(rng.standard_normal(hu.shape, np.float32), 5 / step)
    texture /= texture.std() + 1e-6
    slope = np.linspace(-1, 1, hu.shape[1], dtype=np.float32)[None, :, None]  # blood sinks back
    lung = np.isin(labels, (2,))
    hu = hu + np.where(lung, 14 * texture + 70 * slope, np.where(labels == 1, 6, 3) * texture)
    hu = gaussian_filter(hu, (0, config.blur / step[1], config.blur / step[2]))
    hu += config.noise * _ct_noise(hu.shape, config.spacing, rng) * _noise_level(labels)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def _ct_noise(
    shape: tuple[int, ...], spacing: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """Noise of unit variance with the spectrum of filtered back projection: a ramp, cut off."""
    white = rng.standard_normal(shape, np.float32)
    fy = np.fft.fftfreq(shape[1], spacing[1])[:, None]
    fx = np.fft.rfftfreq(shape[2], spacing[2])[None]
    f = np.hypot(fy, fx)
    gain = np.sqrt(f) * np.exp(-((f / 0.32) ** 2))
    noise = np.stack([np.fft.irfft2(np.fft.rfft2(plane) * gain, shape[1:]) for plane in white])
    return (noise / (noise.std() + 1e-12)).astype(np.float32)


def _noise_level(labels: np.ndarray) -> np.ndarray:
    """Relative noise: more where rays cross much tissue, in the middle and between bones."""
    from scipy.ndimage import gaussian_filter

    tissue = ((labels != 0) & (labels != 2) & (labels != 10)).astype(np.float32)
    tissue += 0.25 * (labels == 2) + 1.0 * (labels == 6)
    level = gaussian_filter(tissue, [0, *(n / 12 for n in labels.shape[1:])])
    return 0.35 + 0.8 * level
