"""Files that hold many slices: enhanced multi-frame files, and mosaics."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from segedu.medical import read_volume
from segedu.medical.__main__ import main
from segedu.medical.dicom import read_series, scan
from segedu.medical.volume import VolumeError
from tests.medical.dicom_files import RLE, SENTINELS, enhanced_dicom, one_file

pydicom = pytest.importorskip("pydicom")

HEIGHTS = (5.0, 0.0, 7.5, 2.5)  # frames need not be in the order of slices


def frames():
    return np.random.default_rng(7).integers(0, 3000, (4, 4, 6)).astype(np.int16)


def write(path, pixels=None, **changes):
    positions = [(-10, 20, z) for z in HEIGHTS]
    enhanced_dicom(path, frames() if pixels is None else pixels, positions, **changes)


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_frames_become_slices_in_the_order_of_their_positions(tmp_path, modality):
    write(tmp_path / "file", Modality=modality)
    volume = read_series(tmp_path)
    assert np.array_equal(volume.array, frames()[np.argsort(HEIGHTS)] - 1024.0)
    assert volume.spacing == (2.5, 0.8, 0.7)
    assert volume.origin == (-10, 20, 0) and volume.axes == "SPL"


def test_one_file_may_be_given_in_place_of_its_folder(tmp_path, capsys):
    write(tmp_path / "file")
    write(tmp_path / "other", SeriesInstanceUID="1.2.31")
    assert np.array_equal(
        read_volume(tmp_path / "file").array, read_series(tmp_path, "1.2.3.4").array
    )
    assert main(["inspect", str(tmp_path / "file")]) == 0
    assert "4 slices of 4 x 6, spacing 2.5 x 0.8 x 0.7 mm" in capsys.readouterr().out


def test_every_frame_has_its_own_rescaling(tmp_path):
    slopes = np.array([1, 2.5, 3, 4])
    write(tmp_path / "file", slopes=slopes.tolist())
    expected = frames() * slopes[:, None, None] + np.arange(4)[:, None, None]
    assert np.array_equal(read_series(tmp_path).array, expected[np.argsort(HEIGHTS)])


def test_compressed_frames(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (4, 16, 20)).astype(np.int16)
    write(tmp_path / "file", pixels)
    dataset = pydicom.dcmread(tmp_path / "file")
    dataset.compress(RLE, generate_instance_uid=False)
    dataset.save_as(tmp_path / "file")
    assert np.array_equal(read_series(tmp_path).array, pixels[np.argsort(HEIGHTS)] - 1024.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"NumberOfFrames": 3}, "file is damaged: it describes 4 frames, not as many"),
        ({"Rows": 3}, r"file \(frame 2\) claims \(3, 6\) pixels .* holds 192 bytes for 4 frames"),
        ({"PerFrameFunctionalGroupsSequence": None}, "does not say where its frames lie"),
        ({"SharedFunctionalGroupsSequence": None}, r"file \(frame 1\) lacks PixelSpacing"),
    ],
)
def test_frames_that_cannot_be_trusted_are_refused(tmp_path, changes, message):
    write(tmp_path / "file", **changes)
    with pytest.raises(VolumeError, match=message):
        read_series(tmp_path)


def test_frames_at_the_same_place_are_refused(tmp_path):
    enhanced_dicom(tmp_path / "file", frames(), [(0, 0, z) for z in (0, 0, 5, 5)])
    with pytest.raises(VolumeError, match=r"same position: file \(frame 1\) and file \(frame 2\)"):
        read_series(tmp_path)


def test_no_identity_is_kept(tmp_path):
    write(tmp_path / "file")
    told = "".join(str(header.values) for header in scan(tmp_path).series[0].headers)
    assert "Sequence" not in told and not [s for s in SENTINELS if s in told]


def test_mosaics_are_refused_with_the_cure(tmp_path):
    """Sixty slices side by side became one, 1.7 m wide."""
    folder = one_file(tmp_path, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    message = "slice.dcm is a mosaic, many slices side by side in one image: split it with dcm2niix"
    for path in (folder, folder / "slice.dcm"):
        with pytest.raises(VolumeError, match=message):
            read_volume(path)


@pytest.mark.oracle
def test_files_of_makers(tmp_path):
    """An enhanced MR of Philips lies where SimpleITK says; a mosaic of Siemens is recognized."""
    nibabel, sitk = pytest.importorskip("nibabel"), pytest.importorskip("SimpleITK")
    files = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"
    for name in ("philips_mprage", "siemens_dwi_0"):
        (tmp_path / name).mkdir()
        data = gzip.decompress((files / f"{name}.dcm.gz").read_bytes())
        (tmp_path / name / "file.dcm").write_bytes(data)
    volume = read_series(tmp_path / "philips_mprage")
    image = sitk.ReadImage(str(tmp_path / "philips_mprage" / "file.dcm"))
    assert np.array_equal(volume.array, sitk.GetArrayFromImage(image))
    assert volume.origin == pytest.approx(image.GetOrigin())
    assert volume.spacing == pytest.approx(image.GetSpacing()[::-1], abs=1e-6)
    direction = np.reshape(image.GetDirection(), (3, 3))[:, ::-1]
    assert volume.direction == pytest.approx(direction, abs=1e-6)
    with pytest.raises(VolumeError, match="is a mosaic"):
        read_series(tmp_path / "siemens_dwi_0")
