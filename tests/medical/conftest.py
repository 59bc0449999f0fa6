import numpy as np
import pytest

from tests.medical.dicom_files import dicom_tags, write_dicom
from tests.real_data import REAL


@pytest.fixture
def make_series(tmp_path):
    """Write a series of small slices; ``change(k, tags)`` spoils the tags of slice k.

    Returns the folder and the stored pixels (slices, rows, columns).
    """

    def make(change=None, *, folder="series", heights=(0, 2.5, 5, 7.5), names=None, **tags):
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        rng = np.random.default_rng(7)
        pixels = rng.integers(0, 3000, (len(heights), 4, 6)).astype(np.int16)
        for k, z in enumerate(heights):
            values = {**dicom_tags((-10, 20, z)), **tags}
            if change is not None:
                change(k, values)
            write_dicom(root / (names[k] if names else f"{k}.dcm"), values, pixels[k])
        return root, pixels

    return make


@pytest.fixture(scope="session")
def real_data():
    """The folder of real medical files."""
    root = REAL / "medical"
    if not root.is_dir():
        pytest.skip("SEGEDU_DATA does not point to a folder with medical")
    return root
