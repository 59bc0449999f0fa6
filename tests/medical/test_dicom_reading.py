"""Right volumes of right files."""

import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from segedu.medical.dicom import (
    geometry,
    read_series,
    scan,
)
from segedu.medical.volume import VolumeError
from tests.medical.dicom_files import (
    DEFLATED,
    J2K,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    change_frame,
    dicom_tags,
    lossless_jpeg,
    noisy_file,
    one_file,
    write_dicom,
)

pydicom = pytest.importorskip("pydicom")


def test_a_series_becomes_a_volume(make_series):
    folder, pixels = make_series()
    volume = read_series(folder)
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, pixels - 1024.0)
    assert volume.spacing == (2.5, 0.8, 0.7)  # SliceThickness is 5
    assert volume.origin == (-10, 20, 0)
    assert volume.axes == "SPL"


def test_twenty_shuffles_give_the_same_bytes(make_series):
    """Neither names nor folders nor the order of writing matter."""
    folder, pixels = make_series()
    expected = read_series(folder)
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    rng = random.Random(0)
    for trial in range(20):
        shuffled = folder.parent / f"shuffled{trial}"
        for data in rng.sample(files, len(files)):
            path = shuffled / rng.choice(("a", "b/c", ".")) / f"{rng.getrandbits(64):x}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        volume = read_series(shuffled)
        assert volume.array.tobytes() == expected.array.tobytes()
        assert volume.affine().tobytes() == expected.affine().tobytes()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("slope", [None, "2.5", ""])
@pytest.mark.parametrize("intercept", [None, "-1024"])
def test_stored_values_equal_a_numpy_reference(tmp_path, signed, slope, intercept):
    """Signedness x slope x intercept, each of the two missing or empty as well: 12 cases."""
    dtype = np.int16 if signed else np.uint16
    limits = np.iinfo(dtype)
    pixels = np.linspace(limits.min, limits.max, 24).astype(dtype).reshape(4, 6)
    folder = one_file(
        tmp_path,
        pixels,
        PixelRepresentation=int(signed),
        RescaleSlope=slope,
        RescaleIntercept=intercept,
    )
    expected = pixels.astype(np.float64) * float(slope or 1) + float(intercept or 0)
    assert np.array_equal(read_series(folder).array[0], expected.astype(np.float32))


def test_every_slice_has_its_own_rescaling(make_series):
    def change(k, tags):
        tags["RescaleSlope"], tags["RescaleIntercept"] = k + 1, -k

    folder, pixels = make_series(change)
    slopes = np.arange(1, 5).reshape(4, 1, 1)
    assert np.array_equal(read_series(folder).array, pixels * slopes - (slopes - 1.0))


@pytest.mark.parametrize("signed", [False, True])
def test_unused_high_bits_may_hold_anything(tmp_path, signed):
    rng = np.random.default_rng(0)
    values = rng.integers(-2048, 2048, (4, 6)) if signed else rng.integers(0, 4096, (4, 6))
    dirty = (values & 0xFFF) | (rng.integers(0, 16, (4, 6)) << 12)
    folder = one_file(
        tmp_path,
        dirty.astype(np.uint16),
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=int(signed),
        RescaleIntercept=0,
    )
    assert np.array_equal(read_series(folder).array[0], values)


@pytest.mark.parametrize("wrong_sign", [False, True])
def test_padding_becomes_the_smallest_measured_value(tmp_path, wrong_sign):
    """Padding of -2000 stored would be -3024 HU; some files write it as 63536."""
    pixels = np.arange(24, dtype=np.int16).reshape(4, 6) + 100
    pixels[0, :3] = -2000
    folder = one_file(tmp_path, pixels, PixelPaddingValue=None)
    dataset = pydicom.dcmread(folder / "slice.dcm")
    dataset.add_new(
        "PixelPaddingValue", "US" if wrong_sign else "SS", 63536 if wrong_sign else -2000
    )
    dataset.save_as(folder / "slice.dcm")
    expected = pixels - 1024.0
    expected[0, :3] = 103 - 1024
    with pytest.warns(UserWarning, match="3 voxels hold PixelPaddingValue .* they became -921"):
        assert np.array_equal(read_series(folder).array[0], expected)
    with pytest.warns(UserWarning, match="they became -1000"):
        assert (read_series(folder, padding=-1000).array[0, 0, :3] == -1000).all()
    assert np.array_equal(read_series(folder, keep_padding=True).array[0], pixels - 1024.0)


def test_only_what_reaches_the_edge_of_a_ct_is_padding(tmp_path):
    pixels = np.full((7, 7), 5, np.int16)
    pixels[0, :2] = pixels[3, 3] = 0
    shape = {"Rows": 7, "Columns": 7, "PixelPaddingValue": 0, "RescaleIntercept": 0}
    with pytest.warns(UserWarning, match="2 voxels hold PixelPaddingValue"):
        values = read_series(one_file(tmp_path / "ct", pixels, **shape)).array[0]
    assert (values[0, :2] == 0).all() and values[3, 3] == 0  # of the measured ones 0 is the least
    with pytest.warns(UserWarning, match="2 voxels hold PixelPaddingValue"):
        values = read_series(tmp_path / "ct", padding=-9).array[0]
    assert (values[0, :2] == -9).all() and values[3, 3] == 0


def test_zeros_of_mr_are_values_whatever_the_padding_value(tmp_path, recwarn):
    """A phase map from -3000 to 3000 had -3000 where it is zero."""
    pixels = np.linspace(-3000, 3000, 25).astype(np.int16)[:24].reshape(4, 6)
    pixels[0, :3] = 0
    changes = {"Modality": "MR", "PixelPaddingValue": 0, "RescaleIntercept": 0}
    folder = one_file(tmp_path, pixels, **changes)
    assert np.array_equal(read_series(folder).array[0], pixels)
    assert not recwarn


def test_padding_may_be_a_range(tmp_path):
    pixels = np.arange(24, dtype=np.int16).reshape(4, 6)
    folder = one_file(tmp_path, pixels, PixelPaddingValue=3, PixelPaddingRangeLimit=0)
    with pytest.warns(UserWarning, match="4 voxels hold PixelPaddingValue"):
        values = read_series(folder).array[0]
    assert np.array_equal(values, np.maximum(pixels, 4) - 1024.0)


@pytest.mark.parametrize("syntax", [J2K, RLE, JPEG_LS])
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_pixels(tmp_path, syntax, signed):
    folder, pixels = noisy_file(tmp_path, signed=signed, RescaleIntercept=0)
    dataset = pydicom.dcmread(folder / "slice.dcm")
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(folder / "slice.dcm")
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_series(folder).array[0], pixels)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.57", JPEG_LOSSLESS])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_jpeg(tmp_path, syntax, signed):
    """Common in archives; pydicom does not write it."""
    pytest.importorskip("gdcm")
    folder, pixels = noisy_file(tmp_path, signed=signed, RescaleIntercept=0)
    lossless_jpeg(folder / "slice.dcm", syntax)
    assert pydicom.dcmread(folder / "slice.dcm").file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_series(folder).array[0], pixels)


@pytest.mark.parametrize("end", [b"", b"\0", b"\xff"])
def test_jpeg_may_be_filled_up_to_an_even_length(tmp_path, end):
    """Makers add any byte behind the end of the stream: it was called cut off."""
    folder, pixels = noisy_file(tmp_path)
    change_frame(folder, lambda frame: [frame.rstrip(b"\0") + end], compress=JPEG_LS)
    assert np.array_equal(read_series(folder).array[0], pixels - 1024.0)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", DEFLATED])
def test_other_uncompressed_syntaxes(tmp_path, syntax):
    """Implicit, big-endian and deflated; the last needs an even number of bytes."""
    folder = one_file(tmp_path)
    dataset = pydicom.dcmread(folder / "slice.dcm")
    if syntax.endswith(".2.2"):
        dataset.PixelData = dataset.pixel_array.astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        folder / "slice.dcm",
        dataset,
        implicit_vr=syntax == "1.2.840.10008.1.2",
        little_endian=not syntax.endswith(".2.2"),
    )
    expected = np.arange(24).reshape(4, 6) - 1024.0
    assert np.array_equal(read_series(folder).array[0], expected)


def test_eight_bits(tmp_path):
    pixels = np.arange(15, dtype=np.uint8).reshape(3, 5)  # an odd number of bytes is padded
    folder = one_file(
        tmp_path,
        pixels.tobytes() + b"\0",
        Rows=3,
        Columns=5,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        RescaleIntercept=0,
    )
    assert np.array_equal(read_series(folder).array[0], pixels)


@pytest.mark.parametrize(
    ("orientation", "axes"),
    [
        ([1, 0, 0, 0, 1, 0], "SPL"),
        ([-1, 0, 0, 0, 1, 0], "IPR"),  # slices grow along the normal, here to the feet
        ([1, 0, 0, 0, 0, -1], "PIL"),
        ([0, 1, 0, 0, 0, -1], "RIP"),
    ],
)
def test_orientations_of_the_image_plane(make_series, orientation, axes):
    normal = np.cross(orientation[:3], orientation[3:])

    def change(k, tags):
        tags["ImageOrientationPatient"] = orientation
        tags["ImagePositionPatient"] = (np.array([5, 6, 7]) + normal * 2.5 * k).tolist()

    folder, pixels = make_series(change)
    volume = read_series(folder)
    assert volume.axes == axes
    assert np.array_equal(volume.array, pixels - 1024.0)
    # Equation C.7.6.2.1-1 of the standard, for column 2 of row 3 in slice 1.
    across, down = np.reshape(orientation, (2, 3))
    expected = np.array([5, 6, 7]) + 2.5 * normal + 2 * 0.7 * across + 3 * 0.8 * down
    assert volume.to_world([1, 3, 2]) == pytest.approx(expected)


def test_one_slice_takes_its_thickness(tmp_path):
    assert read_series(one_file(tmp_path)).spacing == (5, 0.8, 0.7)


def test_rounded_positions_are_regular_enough(make_series):
    folder, _ = make_series(heights=(0, 0.6, 1.3, 1.9, 2.5))  # 0.625 mm, to one digit
    assert read_series(folder).spacing[0] == 0.625


def test_missing_slices_are_filled_only_when_asked(make_series):
    folder, pixels = make_series(heights=(0, 2.5, 5, 10, 12.5))
    with pytest.raises(VolumeError, match=r"missing slices: 1, .* 2.dcm and 3.dcm"):
        read_series(folder)
    volume = read_series(folder, allow_missing=True)
    assert volume.shape == (6, 4, 6) and volume.spacing[0] == 2.5
    assert np.array_equal(volume.array[[0, 1, 2, 4, 5]], pixels - 1024.0)
    assert (volume.array[3] == pixels.min() - 1024).all()


def test_a_single_far_slice_does_not_fill_the_memory(make_series):
    folder, _ = make_series(heights=(0, 2.5, 5, 2.5e9))
    with pytest.raises(
        VolumeError, match=r"missing slices: 999999997, .*as many as there are, or more"
    ):
        read_series(folder, allow_missing=True)


def test_several_series_are_listed_and_chosen(make_series):
    folder, pixels = make_series(folder="both", SeriesInstanceUID="1.2.30")
    make_series(folder="both", SeriesInstanceUID="1.2.31", names=["a", "b", "c", "d"])
    (folder / "notes.txt").write_text("not DICOM")
    found = scan(folder)
    assert [(s.uid, len(s.files)) for s in found.series] == [("1.2.30", 4), ("1.2.31", 4)]
    assert found.others == ("notes.txt",)
    with pytest.raises(VolumeError, match=r"several series.*1\.2\.30: 4 CT; 1\.2\.31: 4 CT"):
        read_series(folder)
    with pytest.raises(VolumeError, match="no series has this UID"):
        read_series(folder, "1.2.32")
    assert np.array_equal(read_series(folder, "1.2.31").array, pixels - 1024.0)


def test_files_that_are_no_images_do_not_matter(make_series):
    folder, pixels = make_series()
    report = {**dicom_tags((0, 0, 0), uid="1.2.99"), "Modality": "SR", "Rows": None}
    write_dicom(folder / "report.dcm", report, None)
    assert read_series(folder).shape == (4, 4, 6)
    assert [s.is_image for s in scan(folder).series] == [True, False]


def test_geometry_needs_no_pixels(make_series):
    folder, _ = make_series()
    grid = geometry(scan(folder).series[0])
    assert grid.same_grid(read_series(folder))
    assert not grid.array.any()


@pytest.mark.oracle
def test_the_files_that_pydicom_is_tested_with():
    """Odd files of many makers: each is refused in a sentence, or read as pydicom rescales it."""
    from pydicom.pixels import apply_rescale

    files = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
    read = 0
    for path in files:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(path, folder)
            try:
                volume = read_series(folder, keep_padding=True)
            except VolumeError:
                continue
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array
        assert np.array_equal(volume.array[0], apply_rescale(stored, dataset)), path.name
        read += 1
    assert len(files) > 50 and read >= 10
