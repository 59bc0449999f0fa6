"""From a seed to a scan with its masks."""

from typing import NamedTuple

import numpy as np

from segedu.medical.phantom.acquisition import acquire, mean_per_voxel, most_per_voxel
from segedu.medical.phantom.config import Nodule, PhantomConfig
from segedu.medical.phantom.drawing import draw
from segedu.medical.phantom.patient import make_patient
from segedu.medical.phantom.slab import sample_axes, slabs
from segedu.medical.phantom.tissues import hu_table, label_table
from segedu.medical.volume import Volume


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
    patient = make_patient(config, rng)
    nodules = patient.lesions.nodules
    hu_of, label_of = hu_table(nodules, config.contrast_hu), label_table(nodules)
    hu = np.empty(config.shape, np.float32)
    labels, lungs = np.empty(config.shape, np.uint8), np.empty(config.shape, np.uint8)
    for planes, axes in slabs(config):
        material, side = draw(patient, config, axes)
        hu[planes] = mean_per_voxel(hu_of[material], config.supersample)
        labels[planes] = most_per_voxel(label_of[material], config.supersample)
        lungs[planes] = most_per_voxel(side, config.supersample)
    hu = acquire(hu, labels, config, rng)
    z, y, x = (float(axis[0]) for axis in sample_axes(config, 1))
    image = Volume(hu, config.spacing, origin=(x, y, z))
    return Phantom(image, image.with_array(labels), image.with_array(lungs), nodules)
