"""Vessels, airways and the oesophagus."""

import numpy as np

from segedu.medical.phantom.anatomy import Anatomy
from segedu.medical.phantom.tissues import LEFT, RIGHT, Tissue
from segedu.medical.phantom.tubes import tree, tube

GREAT_VESSELS = (  # points, and radius or radii
    # ascending aorta, arch, descending aorta
    ([(4, -22, -8), (-14, -24, 22), (-13, -22, 48), (-2, -6, 64), (12, 14, 66)], 14.5),
    ([(12, 14, 66), (20, 36, 56), (22, 48, 35)], 13.5),
    ([(22, 48, 35), (20, 50, -20), (14, 50, -80), (6, 46, -160)], (13, 12, 11.5, 11)),
    # pulmonary trunk and arteries
    ([(14, -44, -8), (18, -26, 24)], 13),
    ([(16, -16, 27), (-18, -2, 22), (-44, 2, 14)], (10, 9, 7.5)),
    ([(18, -20, 28), (44, 12, 26)], (10, 8)),
    # pulmonary veins
    ([(6, 2, -14), (-42, 10, -18)], (9, 6)),
    ([(6, 2, -14), (46, 14, -14)], (9, 6)),
    # venae cavae, and the veins of arms and head
    ([(-22, -14, 95), (-25, -14, 50), (-24, -18, -6)], (8, 9, 10)),
    ([(-20, -8, -40), (-20, 2, -90), (-16, 10, -160)], 11.5),
    ([(-22, -14, 95), (18, -18, 88), (40, -14, 112)], (7, 6, 5.5)),
    ([(-22, -14, 95), (-42, -10, 116)], (7, 5.5)),
    # arteries of arms and head
    ([(-4, -8, 66), (-18, -2, 105), (-34, 4, 140)], (7, 6, 4.5)),
    ([(6, 2, 68), (12, 6, 145)], (4.5, 4)),
    ([(14, 18, 68), (28, 14, 110), (40, 8, 140)], (5.5, 5, 4)),
)
TRACHEA = ([(0, 8, 165), (0, 16, 90), (0, 24, 30)], (8.5, 8.5, 8.0))
BRONCHI = {
    RIGHT: ([(0, 24, 30), (-22, 22, 12), (-40, 16, 0)], (6.8, 6.2, 5.0)),
    LEFT: ([(0, 24, 30), (22, 25, 12), (44, 18, -4)], (6.2, 5.4, 4.6)),
}
OESOPHAGUS = [(3, 36, 160), (5, 40, 30), (6, 34, -40), (14, 22, -110)]


def great_vessels() -> dict[Tissue, np.ndarray]:
    """Vessels of the mediastinum, the same in everybody, and the oesophagus with its gas."""
    return {
        Tissue.BLOOD: np.concatenate([tube(*vessel) for vessel in GREAT_VESSELS]),
        Tissue.MUSCLE: tube(OESOPHAGUS, (7, 7, 7.5, 8)),
        Tissue.GAS: tube(OESOPHAGUS[:3], (1.5, 2.5, 1.0)),
    }


def lung_trees(anatomy: Anatomy, rng: np.random.Generator) -> dict[Tissue, np.ndarray]:
    """Arteries and veins, and trachea and bronchi, that fill the lungs."""
    vessels, airways = [], [tube(*TRACHEA), *(tube(*bronchus) for bronchus in BRONCHI.values())]
    for side, sign in ((RIGHT, -1), (LEFT, 1)):
        artery, vein = (sign * 44, 6, 18), (sign * 44, 12, -16)
        for root in (artery, vein):
            targets = anatomy.points_in_lung(rng, side, 460, 2.5)
            vessels.append(tree(rng, root, targets, 0.72, 0.36))
        end_of_bronchus = BRONCHI[side][0][-1]
        targets = anatomy.points_in_lung(rng, side, 36, 9.0)
        airways.append(tree(rng, end_of_bronchus, targets, 1.1, 0.38))
    lumen = np.concatenate(airways)
    wall = lumen.copy()
    wall[:, 6:] = 1.12 * wall[:, 6:] + 0.6
    return {
        Tissue.LUNG_VESSEL: np.concatenate(vessels),
        Tissue.AIRWAY_WALL: wall,
        Tissue.AIRWAY_LUMEN: lumen,
    }
