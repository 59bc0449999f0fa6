"""What is wrong with a patient: nodules, emphysema, fluid."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from segedu.medical.phantom.anatomy import Anatomy
from segedu.medical.phantom.config import Nodule, PhantomConfig
from segedu.medical.phantom.shapes import Points
from segedu.medical.phantom.tissues import LEFT, RIGHT

SIDES = {"right": RIGHT, "left": LEFT}


class Lesions:
    """Where the lesions of one patient are.

    Args:
        config: which there are.
        anatomy: of the patient.
        rng: decides their places; without nodules it gives the same patient.

    Raises:
        ValueError: a nodule fits nowhere in its lung.
    """

    def __init__(self, config: PhantomConfig, anatomy: Anatomy, rng: np.random.Generator) -> None:
        self.config = config
        bubbles = rng.normal(0, 0.35, (8, 4)) * (1, 1, 1, 10)  # about a centimetre
        self.bubbles = bubbles.tolist()
        (own,) = rng.spawn(1)  # the patient is the same without nodules
        self.nodules = tuple(_place(nodule, config, anatomy, own) for nodule in config.nodules)
        self.dents = own.normal(size=(len(self.nodules), 6, 3))

    def nodule_shape(self, index: int, p: Points) -> np.ndarray:
        """Inside a nodule: a ball with dents."""
        nodule = self.nodules[index]
        offset = np.stack([axis - c for axis, c in zip(p, nodule.centre, strict=True)])
        distance = np.sqrt((offset**2).sum(0))
        unit = offset / np.maximum(distance, 1e-6)
        waves = np.sin(3 * np.tensordot(self.dents[index], unit, 1)).mean(0)
        return distance < nodule.diameter / 2 * (1 + nodule.lobulation * waves)

    def emphysema(self, p: Points) -> np.ndarray:
        """Where lung would be destroyed: the crests of a sum of waves."""
        x, y, z = p
        waves = sum(np.sin(a * x + b * y + c * z + d) for a, b, c, d in self.bubbles)
        spread = (len(self.bubbles) / 2) ** 0.5  # the mean square of a sine is 1/2
        return waves > NormalDist(0, spread).inv_cdf(1 - self.config.emphysema)

    def effusion(self, p: Points, side: np.ndarray) -> np.ndarray:
        """Where fluid has collected behind the right lung (``side``: see `Anatomy.lung`)."""
        return (side == RIGHT) & (p[1] > 84 - self.config.effusion)


def _place(
    nodule: Nodule, config: PhantomConfig, anatomy: Anatomy, rng: np.random.Generator
) -> Nodule:
    """The nodule with its centre, well inside a lung that is there."""
    if nodule.centre is not None:
        return nodule
    free = [side for name, side in SIDES.items() if name != config.missing_lung]
    side = SIDES[nodule.lung] if nodule.lung else free[rng.integers(len(free))]
    margin = nodule.diameter / 2 * (1 + nodule.lobulation)
    (centre,) = anatomy.points_in_lung(rng, side, 1, margin)
    return replace(nodule, centre=tuple(centre.round(2).tolist()))
