"""Fill samples with tissues; what comes later covers what came before."""

import numpy as np

from segedu.medical.phantom.anatomy import Anatomy
from segedu.medical.phantom.config import PhantomConfig
from segedu.medical.phantom.lesions import SIDES, Lesions
from segedu.medical.phantom.patient import Patient
from segedu.medical.phantom.shapes import Points, ellipsoid
from segedu.medical.phantom.slab import Axes, Slab
from segedu.medical.phantom.tissues import LEFT, RIGHT, Tissue

ABDOMEN = (  # tissue, centre, half axes, tilt
    (Tissue.LIVER, (-52, -2, -140), (118, 104, 104), -10),
    (Tissue.STOMACH, (54, -34, -120), (46, 40, 50), 20),
    (Tissue.GAS, (56, -52, -104), (24, 16, 22), 0),
    (Tissue.SPLEEN, (96, 36, -118), (26, 42, 46), -15),
)
CHAMBERS = (  # of the heart: centre, half axes
    ((46, -32, -52), (22, 21, 25)),
    ((14, -56, -42), (32, 13, 27)),
    ((-20, -30, -32), (17, 23, 24)),
    ((8, 2, -16), (29, 15, 19)),
)
VERTEBRA = 24.5  # millimetres from one to the next


def draw(patient: Patient, config: PhantomConfig, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Material and lung (0, `RIGHT`, `LEFT`) of every sample of a slab, uint8 (d, h, w) each."""
    z, y, x = axes
    anatomy = patient.anatomy
    points = anatomy.distort(x[None, None], y[None, :, None], z[:, None, None])
    material = np.zeros((len(z), len(y), len(x)), np.uint8)
    points = tuple(np.broadcast_to(axis, material.shape) for axis in points)
    slab = Slab(axes, points, material, anatomy.lung(points))
    _draw_body(anatomy, slab)
    _draw_heart(anatomy, slab.box(anatomy, (-70, -110, -120), (110, 50, 50)))
    slab.material[slab.side > 0] = Tissue.LUNG
    _draw_spine(anatomy, slab.box(anatomy, (-48, 52, -200), (48, 140, 200)))
    for tissue in (
        Tissue.MUSCLE,
        Tissue.GAS,
        Tissue.BLOOD,
        Tissue.CARTILAGE,
        Tissue.CORTEX,
        Tissue.MARROW,
    ):
        _paint_tubes(patient, slab, tissue)
    _draw_sternum(slab.box(anatomy, (-20, -120, -60), (20, -40, 110)))
    for sign in (-1, 1):
        _draw_shoulder_blade(anatomy, slab, sign)
    slab.side[slab.material != Tissue.LUNG] = 0  # great vessels and bones that reach into them
    _draw_fissures(anatomy, slab)
    if config.emphysema:
        slab.material[(slab.side > 0) & patient.lesions.emphysema(slab.points)] = Tissue.EMPHYSEMA
    _paint_tubes(patient, slab, Tissue.LUNG_VESSEL, lung_only=True)
    _paint_tubes(patient, slab, Tissue.AIRWAY_WALL)
    _paint_tubes(patient, slab, Tissue.AIRWAY_LUMEN)
    _draw_lesions(anatomy, patient.lesions, slab)
    if config.table:
        _draw_table(anatomy, slab)
    return material, slab.side


def _draw_body(anatomy: Anatomy, slab: Slab) -> None:
    """Skin, fat and muscle, and the belly."""
    p, material = slab.points, slab.material
    x, y, z = p
    material[anatomy.skin(p, 0)] = Tissue.SKIN
    material[anatomy.skin(p, 2.0)] = Tissue.FAT
    streaks = np.sin(x / 9 + 2 * np.sin(z / 31)) + np.sin(y / 8 + x / 17 + z / 23) > 1.5
    muscle = anatomy.skin(p, 2.0 + anatomy.fat)
    material[muscle & ~streaks] = Tissue.MUSCLE
    cavity = anatomy.cavity(p, 3.0)
    material[cavity] = Tissue.FAT  # of the mediastinum and the belly
    below = cavity & ~anatomy.above_diaphragm(p)
    for organ, centre, size, tilt in ABDOMEN:
        material[below & ellipsoid(p, centre, size, tilt)] = organ


def _draw_heart(anatomy: Anatomy, slab: Slab) -> None:
    p = slab.points
    slab.material[anatomy.heart_shape(p)] = Tissue.MYOCARDIUM
    inside = anatomy.heart_shape(p, -3.0)
    for centre, size in CHAMBERS:
        chamber = ellipsoid(p, centre, [axis * anatomy.heart for axis in size], 25)
        slab.material[chamber & inside] = Tissue.BLOOD


def _draw_spine(anatomy: Anatomy, slab: Slab) -> None:
    x, y, z = slab.points
    u, v = x - anatomy.spine_x(z), y - 76 - 0.05 * np.maximum(z, 0)
    level = (z + 200) % VERTEBRA  # one vertebra and one disc
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
        (body, Tissue.CORTEX),
        (core & ~end_plate, Tissue.MARROW),
        (body & disc, Tissue.DISC),
        ((arch < 1) & ~disc, Tissue.CORTEX),
        ((u / 13) ** 2 + ((v - 22) / 10) ** 2 < 1, Tissue.MUSCLE),
        (transverse & (arch >= 0.8), Tissue.CORTEX),
        (spinous & (abs(u) < 3), Tissue.CORTEX),
        (spinous & (abs(u) < 1.4), Tissue.MARROW),
        ((u / 9) ** 2 + ((v - 21) / 8) ** 2 < 1, Tissue.SPINAL_CANAL),
    ):
        slab.material[where] = tissue


def _draw_sternum(slab: Slab) -> None:
    """A thin plate with a core of marrow."""
    x, y, z = slab.points
    away = abs(y + 95 - 0.24 * np.maximum(z - 10, 0))
    for shrink, tissue in ((0.0, Tissue.CORTEX), (1.6, Tissue.MARROW)):
        plate = (abs(x) < 17 - shrink) & (away < 5.2 - shrink) & (abs(z - 25) < 78)
        slab.material[plate] = tissue


def _draw_shoulder_blade(anatomy: Anatomy, slab: Slab, sign: int) -> None:
    """A bent plate behind the ribs, on the right (sign -1) or on the left (1)."""
    low, high = sorted((sign * 45, sign * 140))
    back = slab.box(anatomy, (low, 20, 0), (high, 115, 145))
    x, y, z = back.points
    u, v = sign * x - 92, y - 72
    along, across = 0.80 * u - 0.60 * v, 0.60 * u + 0.80 * v
    across = abs(across - 0.004 * along**2)
    free = ~anatomy.cavity(back.points, 9.0)
    for shrink, tissue in ((0.0, Tissue.CORTEX), (1.6, Tissue.MARROW)):
        blade = (along / (44 - shrink)) ** 2 + ((z - 72) / (66 - shrink)) ** 2 < 1
        back.material[blade & (across < 3.4 - shrink) & free] = tissue


def _draw_fissures(anatomy: Anatomy, slab: Slab) -> None:
    """Between the lobes: one oblique in each lung, and a level one in the right."""
    x, y, z = slab.points
    oblique = z - 0.85 * y - np.where(x < 0, anatomy.fissure[RIGHT], anatomy.fissure[LEFT])
    oblique = oblique + 6 * np.sin(x / 38)
    minor = (slab.side == RIGHT) & (abs(z - 4 + 0.001 * x * y) < 0.5) & (oblique > 0)
    slab.material[(slab.side > 0) & ((abs(oblique) < 0.7) | minor)] = Tissue.FISSURE


def _draw_lesions(anatomy: Anatomy, lesions: Lesions, slab: Slab) -> None:
    """Nodules, which belong to their lung, and fluid, which does not."""
    for i, nodule in enumerate(lesions.nodules):
        reach = nodule.diameter * (1 + nodule.lobulation) / 2
        near = slab.box(anatomy, np.subtract(nodule.centre, reach), np.add(nodule.centre, reach))
        near.material[lesions.nodule_shape(i, near.points) & (near.side > 0)] = len(Tissue) + i
    if lesions.config.effusion:
        _flood(slab, lesions.effusion(slab.points, slab.side))
    if lesions.config.missing_lung:
        _flood(slab, slab.side == SIDES[lesions.config.missing_lung])


def _flood(slab: Slab, where: np.ndarray) -> None:
    slab.material[where] = Tissue.FLUID
    slab.side[where] = 0


def _draw_table(anatomy: Anatomy, slab: Slab) -> None:
    """A curved couch of foam in a thin shell, straight whatever the patient's shape."""
    _, y, x = slab.axes
    back = 120 * anatomy.depth + 0.8 * (anatomy.fat - 12) + 8
    sag = y[:, None] - back + (x[None] / 33) ** 2  # (h, w)
    board = (sag > -1) & (sag < 30) & (abs(x[None]) < 195)
    core = (sag > 1.5) & (sag < 27.5) & (abs(x[None]) < 192)
    outside = slab.material == Tissue.AIR
    slab.material[outside & board] = Tissue.TABLE_SHELL
    slab.material[outside & core] = Tissue.TABLE_FOAM


def _paint_tubes(patient: Patient, slab: Slab, tissue: Tissue, *, lung_only: bool = False) -> None:
    """Paint all tubes of a tissue."""
    segments = patient.tubes[tissue]
    thick = segments[:, 6:].max(1, keepdims=True)
    low = np.minimum(segments[:, :3], segments[:, 3:6]) - thick
    high = np.maximum(segments[:, :3], segments[:, 3:6]) + thick
    reach, (z, _, x) = patient.anatomy.reach, slab.axes
    near = (high[:, 2] > z[0] - reach) & (low[:, 2] < z[-1] + reach)
    near &= thick[:, 0] > 0.15 * (x[1] - x[0])  # samples would miss the rest
    for i in np.flatnonzero(near):
        part = slab.box(patient.anatomy, low[i], high[i])
        if part.material.size:
            inside = _inside_segment(segments[i], part.points)
            part.material[inside & (part.side > 0) if lung_only else inside] = tissue


def _inside_segment(segment: np.ndarray, p: Points) -> np.ndarray:
    """Nearer to a segment than its radius there."""
    start, end, (first, last) = segment[:3].tolist(), segment[3:6], segment[6:].tolist()
    along = (end - start).tolist()
    p = [axis - a for axis, a in zip(p, start, strict=True)]
    t = sum(axis * step for axis, step in zip(p, along, strict=True))
    t = np.clip(t / max(sum(step * step for step in along), 1e-9), 0, 1)  # 0 at start, 1 at end
    apart = sum((axis - t * step) ** 2 for axis, step in zip(p, along, strict=True))
    return apart < (first + t * (last - first)) ** 2
