"""One patient, put together."""

from typing import NamedTuple

import numpy as np

from segedu.medical.phantom.anatomy import Anatomy
from segedu.medical.phantom.config import PhantomConfig
from segedu.medical.phantom.lesions import Lesions
from segedu.medical.phantom.ribs import rib_tubes
from segedu.medical.phantom.tissues import Tissue
from segedu.medical.phantom.vessels import great_vessels, lung_trees


class Patient(NamedTuple):
    """All shapes of a patient."""

    anatomy: Anatomy
    lesions: Lesions
    tubes: dict[Tissue, np.ndarray]  #: segments (n, 8) as `tubes.tube` makes them


def make_patient(config: PhantomConfig, rng: np.random.Generator) -> Patient:
    """The patient of a generator's state.

    Raises:
        ValueError: a nodule fits nowhere in its lung.
    """
    anatomy = Anatomy(config, rng)
    lesions = Lesions(config, anatomy, rng)
    tubes = great_vessels() | lung_trees(anatomy, rng) | rib_tubes(anatomy)
    return Patient(anatomy, lesions, tubes)
