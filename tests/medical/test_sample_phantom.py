"""The CT in data/phantom is reproducible and the same in both forms."""

import importlib.util
from pathlib import Path

import numpy as np

from segedu.medical.io import read_volume
from segedu.medical.phantom import generate

DATA = Path(__file__).parents[2] / "data"
FOLDER = DATA / "phantom"


def test_dicom_and_nifti_hold_the_volume_that_the_script_makes():
    spec = importlib.util.spec_from_file_location("make_phantom", DATA / "make_phantom.py")
    make_phantom = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_phantom)
    phantom = generate(make_phantom.SEED, make_phantom.CONFIG)
    series, image = read_volume(FOLDER / "dicom"), read_volume(FOLDER / "image.nii.gz").reorient()
    assert series.same_grid(phantom.image) and image.same_grid(phantom.image)
    assert np.array_equal(series.array, image.array)
    # another processor may round a sine or a Fourier transform otherwise
    assert np.abs(series.array - phantom.image.array.astype(float)).max() <= 1
    for name in ("lungs", "labels"):
        stored = read_volume(FOLDER / f"{name}.nii.gz").reorient()
        assert (stored.array != getattr(phantom, name).array).mean() < 1e-4
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 2**20
