import gzip
import itertools
import struct

import numpy as np
import pytest

from segedu.medical.nifti import read_nifti, write_nifti
from segedu.medical.volume import Volume, VolumeError

nibabel = pytest.importorskip("nibabel")

AXES = [
    "".join(letters)
    for order in itertools.permutations(("LR", "PA", "SI"))
    for letters in itertools.product(*order)
]


def make(dtype=np.int16):
    array = (np.random.default_rng(0).random((3, 4, 5)) * 100).astype(dtype)
    return Volume(array, (2.0, 0.7, 0.9), (-30.0, 12.5, 400.0))


def changed(path, offset, form, *values):
    """Overwrite a field of the header (NIfTI-1, little-endian)."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)
    return path


@pytest.fixture
def file(tmp_path):
    write_nifti(make(), tmp_path / "image.nii")
    return tmp_path / "image.nii"


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("axes", AXES)
def test_all_48_orientations_there_and_back(tmp_path, axes, ending):
    """Voxels stay where they are stored, and nibabel sees the same orientation."""
    volume = make().reorient(axes)
    write_nifti(volume, tmp_path / f"a{ending}")
    again = read_nifti(tmp_path / f"a{ending}")
    assert again.axes == axes
    assert np.array_equal(again.array, volume.array)
    assert again.same_grid(volume, tolerance=1e-4)
    seen = nibabel.load(tmp_path / f"a{ending}")
    assert "".join(nibabel.aff2axcodes(seen.affine)) == axes[::-1]
    assert np.array_equal(np.asarray(seen.dataobj).T, volume.array)


@pytest.mark.oracle
def test_simpleitk_sees_the_same_image(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    volume = make()
    write_nifti(volume, tmp_path / "a.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.array)
    assert image.GetOrigin() == pytest.approx(volume.origin)
    assert image.GetSpacing() == pytest.approx(volume.spacing[::-1])
    assert np.reshape(image.GetDirection(), (3, 3)) == pytest.approx(volume.direction[:, ::-1])


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (bool, np.uint8),
        (np.uint8, np.uint8),
        (np.int16, np.int16),
        (">i2", np.int16),
        (np.int64, np.int64),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
def test_types(tmp_path, dtype, stored):
    volume = make(dtype)
    write_nifti(volume, tmp_path / "a.nii")
    again = read_nifti(tmp_path / "a.nii")
    assert again.array.dtype == stored
    assert np.array_equal(again.array, volume.array)


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(make(), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_rescaled_values(file):
    changed(file, 112, "<ff", 0.5, -3)
    volume = read_nifti(file)
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, make().array * 0.5 - 3)


def test_slope_zero_means_no_rescaling(file):
    changed(file, 112, "<ff", 0, 7)
    assert np.array_equal(read_nifti(file).array, make().array)


@pytest.mark.parametrize(("code", "scale"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_units_of_length(file, code, scale):
    changed(file, 123, "<B", code | 8)  # 8: time in seconds
    assert read_nifti(file).spacing == pytest.approx([s * scale for s in make().spacing])


def test_qform_alone_is_enough(file):
    changed(file, 254, "<h", 0)
    assert read_nifti(file).same_grid(make(), tolerance=1e-3)


def test_nifti_2_and_a_fourth_axis_of_length_one(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1)
    nibabel.save(nibabel.Nifti2Image(array, np.eye(4)), tmp_path / "a.nii")
    assert np.array_equal(read_nifti(tmp_path / "a.nii").array, array[..., 0].T)


REFUSED = {
    "singular sform": (280, "<12f", [*[0] * 4, 0, 1, 0, 0, 0, 0, 1, 0], "singular"),
    "sheared sform": (280, "<12f", [1, 0.3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], "sheared"),
    "NaN sform": (280, "<f", [np.nan], "finite"),
    "no orientation": (252, "<hh", [0, 0], "orientation"),
    "NaN slope": (112, "<f", [np.nan], "slope"),
    "infinite slope": (112, "<f", [np.inf], "slope"),
    "NaN intercept": (116, "<f", [np.nan], "slope"),
    "huge": (42, "<3h", [30000, 30000, 30000], "claims 54000000000352 bytes"),
    "a bit more": (42, "<h", [6], "claims"),
    "negative": (42, "<h", [-5], "image.nii"),
    "nine axes": (40, "<h", [9], "image.nii"),
    "two axes": (40, "<h", [2], "3-D image"),
    "two volumes": (40, "<5h", [4, 5, 2, 3, 2], "3-D image"),
    "type unknown": (70, "<h", [3333], "image.nii"),
    "type complex": (70, "<hh", [32, 64], "plain numbers"),
    "type RGB": (70, "<hh", [128, 24], "plain numbers"),
    "unit unknown": (123, "<B", [5], "unit"),
    "offset outside": (108, "<f", [1e9], "image.nii"),
    "offset NaN": (108, "<f", [np.nan], "image.nii"),
    "magic": (344, "<4s", [b"nope"], "image.nii"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trusted_is_refused(file, case, capfd):
    offset, form, values, message = REFUSED[case]
    changed(file, offset, form, *values)
    with pytest.raises(VolumeError, match=message) as caught:
        read_nifti(file)
    assert "image.nii" in str(caught.value)
    assert capfd.readouterr() == ("", "")  # nibabel likes to print


@pytest.mark.parametrize("keep", [0, 100, 347, 352, 400, 471])
def test_cut_files_are_refused(file, keep, tmp_path):
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    with pytest.raises(VolumeError, match="image.nii"):
        read_nifti(file)
    packed = gzip.compress(whole)
    (tmp_path / "b.nii.gz").write_bytes(packed[: len(packed) * keep // len(whole)])
    with pytest.raises(VolumeError, match="b.nii.gz"):
        read_nifti(tmp_path / "b.nii.gz")


def test_compressed_files_are_checked_to_the_end(file, tmp_path):
    packed = bytearray(gzip.compress(file.read_bytes()))
    packed[-6] ^= 1  # in the checksum
    (tmp_path / "b.nii.gz").write_bytes(packed)
    with pytest.raises(VolumeError, match="b.nii.gz is damaged"):
        read_nifti(tmp_path / "b.nii.gz")


def test_more_voxels_than_claimed_are_refused(file):
    changed(file, 42, "<h", 4)
    with pytest.raises(VolumeError, match="claims 448 bytes, but the file has more"):
        read_nifti(file)


def test_nan_voxels_are_refused(tmp_path):
    array = np.zeros((2, 2, 2), np.float32)
    array[0, 1, 1] = np.nan
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(VolumeError, match="NaN"):
        read_nifti(tmp_path / "a.nii")


def test_other_files(tmp_path):
    (tmp_path / "a.nii").write_text("hello")
    with pytest.raises(VolumeError, match=r"a.nii: it is not a single-file NIfTI"):
        read_nifti(tmp_path / "a.nii")
    (tmp_path / "a.nrrd").write_text("hello")
    with pytest.raises(VolumeError, match="must be called"):
        read_nifti(tmp_path / "a.nrrd")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_nifti(tmp_path / "absent.nii")
    with pytest.raises(ValueError, match="must end in"):
        write_nifti(make(), tmp_path / "a.img")


def test_writing_is_all_or_nothing(file, monkeypatch):
    before = file.read_bytes()

    def failing(self, stream):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nibabel.Nifti1Image, "to_stream", failing)
    with pytest.raises(OSError, match="disk full"):
        write_nifti(make(np.float32), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["image.nii"]


def test_nibabel_missing_is_said(file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"pip install 'segedu\[medical\]'"):
        read_nifti(file)


def test_the_bytes_say_whether_a_file_is_packed(tmp_path):
    """Some programs unpack a file and leave its name."""
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), (1.0, 1.0, 1.0))
    write_nifti(volume, tmp_path / "a.nii.gz")
    packed = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(gzip.decompress(packed))
    (tmp_path / "packed.nii").write_bytes(packed)
    (tmp_path / "CAPITALS.NII.GZ").write_bytes(packed)
    for name in ("plain.nii.gz", "packed.nii", "CAPITALS.NII.GZ"):
        assert np.array_equal(read_nifti(tmp_path / name).array, volume.array)
