"""The CT in data/phantom is reproducible and the same in both forms."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from segedu.medical.dicom import write_series
from segedu.medical.io import read_volume
from segedu.medical.phantom import generate

DATA = Path(__file__).parents[2] / "data"
FOLDER = DATA / "phantom"


@pytest.fixture(scope="module")
def phantom():
    """What the script of the folder draws."""
    spec = importlib.util.spec_from_file_location("make_phantom", DATA / "make_phantom.py")
    make_phantom = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_phantom)
    return generate(make_phantom.SEED, make_phantom.CONFIG)


def test_dicom_and_nifti_hold_the_volume_that_the_script_makes(phantom):
    series, image = read_volume(FOLDER / "dicom"), read_volume(FOLDER / "image.nii.gz").reorient()
    assert series.same_grid(phantom.image) and image.same_grid(phantom.image)
    assert np.array_equal(series.array, image.array)
    # another processor may round a sine or a Fourier transform otherwise
    assert np.abs(series.array - phantom.image.array.astype(float)).max() <= 1
    for name in ("lungs", "labels"):
        stored = read_volume(FOLDER / f"{name}.nii.gz").reorient()
        assert (stored.array != getattr(phantom, name).array).mean() < 1e-4
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 2**20


def test_the_series_has_the_bytes_that_are_written_of_its_voxels(phantom, tmp_path):
    """On any processor: the voxels are those that are stored, all else comes from the script."""
    stored = read_volume(FOLDER / "dicom").array.astype(np.int16)
    write_series(phantom.image.with_array(stored), tmp_path / "dicom")
    written = sorted((tmp_path / "dicom").iterdir())
    assert [path.name for path in written] == sorted(p.name for p in (FOLDER / "dicom").iterdir())
    for path in written:
        assert _data_set(path) == _data_set(FOLDER / "dicom" / path.name), path.name


def _data_set(path: Path) -> bytes:
    """A DICOM file behind its first part, in which pydicom writes its own version."""
    data = path.read_bytes()
    return data[144 + int.from_bytes(data[140:144], "little") :]
