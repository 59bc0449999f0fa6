import itertools
import random
import re
import shutil
import tempfile
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from segedu.medical.dicom import (
    geometry,
    read_segmentation,
    read_series,
    scan,
    write_series,
    writing,
)
from segedu.medical.volume import Volume, VolumeError
from tests.medical.dicom_files import SENTINELS, dicom_tags, write_dicom

pydicom = pytest.importorskip("pydicom")

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
MPEG = "1.2.840.10008.1.2.4.100"
J2K, RLE, JPEG_LS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"


def one_file(folder, pixels=None, *, syntax=EXPLICIT, position=(0, 0, 0), **changes):
    """A folder with a single slice."""
    pixels = np.arange(24, dtype=np.int16).reshape(4, 6) if pixels is None else pixels
    folder.mkdir(exist_ok=True)
    write_dicom(folder / "slice.dcm", {**dicom_tags(position), **changes}, pixels, syntax=syntax)
    return folder


# ---- right volumes --------------------------------------------------------------------------


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
    assert np.array_equal(read_series(folder).array[0], expected)
    assert (read_series(folder, padding=-1000).array[0, 0, :3] == -1000).all()


def test_padding_may_be_a_range(tmp_path):
    pixels = np.arange(24, dtype=np.int16).reshape(4, 6)
    folder = one_file(tmp_path, pixels, PixelPaddingValue=3, PixelPaddingRangeLimit=0)
    values = read_series(folder).array[0]
    assert np.array_equal(values, np.maximum(pixels, 4) - 1024.0)


@pytest.mark.parametrize("syntax", [J2K, RLE, JPEG_LS])
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_pixels(tmp_path, syntax, signed):
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 80))
    pixels = (pixels - 2048).astype(np.int16) if signed else pixels.astype(np.uint16)
    folder = one_file(
        tmp_path, pixels, Rows=64, Columns=80, PixelRepresentation=int(signed), RescaleIntercept=0
    )
    dataset = pydicom.dcmread(folder / "slice.dcm")
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(folder / "slice.dcm")
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_series(folder).array[0], pixels)


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
    with pytest.raises(VolumeError, match=r"missing slices: 999999997, .*more than there are"):
        read_series(folder, allow_missing=True)


def test_several_series_are_listed_and_chosen(make_series):
    folder, pixels = make_series(folder="both", SeriesInstanceUID="1.2.30")
    make_series(folder="both", SeriesInstanceUID="1.2.31", names=["a", "b", "c", "d"])
    (folder / "notes.txt").write_text("not DICOM")
    found = scan(folder)
    assert [(s.uid, len(s.files)) for s in found.series] == [("1.2.30", 4), ("1.2.31", 4)]
    assert found.others == 1
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
                volume = read_series(folder)
            except VolumeError:
                continue
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array
        measured = stored != dataset.get("PixelPaddingValue", np.inf)
        expected = apply_rescale(stored, dataset)
        assert np.array_equal(volume.array[0][measured], expected[measured]), path.name
        read += 1
    assert len(files) > 50 and read >= 10


# ---- refused --------------------------------------------------------------------------------


def spoil(**wrong):
    """Change tags of slice 2 only."""

    def change(k, tags):
        if k == 2:
            tags.update(wrong)

    return change


REFUSED = {
    "double": ({"heights": (0, 2.5, 2.5, 5)}, r"same position: 1.dcm and 2.dcm"),
    "uneven": ({"heights": (0, 2.5, 5.9, 8)}, r"unevenly.*2.dcm"),
    "hardly uneven": ({"heights": (0, 2.5, 5.2, 7.5)}, r"unevenly.*[123].dcm"),
    "rows": ({"change": spoil(Rows=3)}, r"different Rows: 2.dcm"),
    "columns": ({"change": spoil(Columns=5)}, r"different Columns: 2.dcm"),
    "spacing": ({"change": spoil(PixelSpacing=[0.8, 0.9])}, r"different PixelSpacing: 2.dcm"),
    "turned": (
        {"change": spoil(ImageOrientationPatient=[1, 0, 0, 0, 0, 1])},
        r"different ImageOrientationPatient: 2.dcm",
    ),
    "shifted": ({"change": spoil(ImagePositionPatient=[-10, 21, 5])}, r"tilted.*2.dcm"),
    "frame": ({"change": spoil(FrameOfReferenceUID="1.2.6")}, r"FrameOfReferenceUID"),
    "skewed": ({"ImageOrientationPatient": [1, 0, 0, 0.1, 1, 0]}, r"ImageOrientationPatient"),
    "not unit": ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, r"ImageOrientationPatient"),
    "no position": ({"change": spoil(ImagePositionPatient=None)}, r"2.dcm.*lacks ImagePosition"),
    "no spacing": ({"PixelSpacing": None}, r"0.dcm.*lacks PixelSpacing"),
    "no sign": ({"PixelRepresentation": None}, r"0.dcm.*lacks PixelRepresentation"),
    "no bits": ({"BitsAllocated": None}, r"0.dcm.*lacks BitsAllocated"),
    "zero spacing": ({"PixelSpacing": [0, 1]}, r"PixelSpacing must be positive"),
    "two positions": ({"ImagePositionPatient": [1, 2]}, r"ImagePositionPatient must be 3"),
    "slope 0": ({"change": spoil(RescaleSlope=0)}, r"2.dcm.*RescaleSlope"),
    "colour": ({"SamplesPerPixel": 3}, r"SamplesPerPixel"),
    "inverted": ({"PhotometricInterpretation": "MONOCHROME1"}, r"MONOCHROME2"),
    "32 bits": ({"BitsAllocated": 32}, r"8 or 16 bits"),
    "high bit": ({"HighBit": 14}, r"8 or 16 bits"),
    "frames": ({"NumberOfFrames": 2}, r"multi-frame"),
    "huge": ({"Rows": 65535, "Columns": 65535}, r"Rows must be in"),
    "rows lie up": ({"Rows": 8}, r"0.dcm claims \(8, 6\) pixels"),
    "rows lie down": ({"Rows": 2}, r"0.dcm claims \(2, 6\) pixels"),  # two frames for pydicom
    "rows lie a little": ({"Columns": 5}, r"0.dcm claims \(4, 5\) pixels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trusted_is_refused(make_series, case):
    settings, message = REFUSED[case]
    folder, _ = make_series(**settings)
    with pytest.raises(VolumeError, match=message):
        read_series(folder)


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "abc", "1\\2"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept", "PixelSpacing"])
def test_odd_numbers_are_refused(tmp_path, keyword, value):
    """pydicom writes no such numbers: they are put into the bytes."""
    folder = one_file(tmp_path, **{keyword: "1234567" if keyword[0] == "R" else ["123", "567"]})
    path = folder / "slice.dcm"
    old = b"1234567 " if keyword[0] == "R" else b"123\\567 "
    new = value.encode() if keyword[0] == "R" else f"7\\{value}".encode()
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new.ljust(8)))
    with pytest.raises(VolumeError, match=rf"slice.dcm: {keyword}"):
        read_series(folder)


def test_a_damaged_file_is_named_even_beside_a_whole_series(make_series):
    folder, _ = make_series()
    data = (folder / "2.dcm").read_bytes()
    (folder / "2.dcm").write_bytes(data[:150] + b"\xff" * 40 + data[190:])
    with pytest.raises(VolumeError, match="2.dcm"):
        read_series(folder)


def test_a_cut_file_is_refused(make_series):
    folder, _ = make_series()
    data = (folder / "2.dcm").read_bytes()
    (folder / "2.dcm").write_bytes(data[:-10])
    with pytest.raises(VolumeError, match="2.dcm"):
        read_series(folder)


def test_nothing_but_padding_is_refused(tmp_path):
    folder = one_file(tmp_path, np.zeros((4, 6), np.int16), PixelPaddingValue=0)
    with pytest.raises(VolumeError, match="padding"):
        read_series(folder)


def test_folders_without_images(tmp_path):
    (tmp_path / "readme").write_text("nothing here")
    with pytest.raises(VolumeError, match="no DICOM images found.*1 files are not DICOM"):
        read_series(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        read_series(tmp_path / "readme")


def deflate_bomb(path, megabytes):
    """A file of about a thousandth of that size."""
    data = (one_file(path.parent, syntax=DEFLATED) / "slice.dcm").read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    body += b"\x09\x00\x01\x00OB\0\0" + (megabytes << 20).to_bytes(4, "little")
    parts = [data[:start], machine.compress(body)]
    parts += [machine.compress(bytes(1 << 20)) for _ in range(megabytes)]
    path.write_bytes(b"".join([*parts, machine.flush()]))


def test_deflate_bombs_are_refused(tmp_path):
    deflate_bomb(tmp_path / "slice.dcm", 80)
    assert (tmp_path / "slice.dcm").stat().st_size < 1 << 20
    with pytest.raises(VolumeError, match="slice.dcm inflates to more than 64 MiB"):
        read_series(tmp_path)


def test_segmentations_are_read_with_bounded_memory_too(tmp_path):
    deflate_bomb(tmp_path / "slice.dcm", 80)
    with pytest.raises(VolumeError, match="slice.dcm inflates to more than 64 MiB"):
        read_segmentation(tmp_path / "slice.dcm")


@pytest.mark.parametrize("syntax", [J2K, JPEG_LS])
def test_compressed_images_larger_than_the_header_says_are_not_decoded(
    tmp_path, syntax, monkeypatch
):
    pixels = np.zeros((64, 80), np.uint16)
    folder = one_file(tmp_path, pixels, Rows=64, Columns=80, PixelRepresentation=0)
    dataset = pydicom.dcmread(folder / "slice.dcm")
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.Rows = 8
    dataset.save_as(folder / "slice.dcm")
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: 1 / 0)
    with pytest.raises(VolumeError, match=r"claims \(8, 80\) pixels.*holds \(64, 80\)"):
        read_series(folder)


@pytest.mark.parametrize("keep", [151, 1000, -3])
def test_cut_jpeg_ls_is_not_decoded(tmp_path, keep):
    """The decoder would search for the end of the stream for minutes."""
    from pydicom.encaps import encapsulate, get_frame

    pixels = np.random.default_rng(0).integers(0, 4096, (64, 80)).astype(np.uint16)
    folder = one_file(tmp_path, pixels, Rows=64, Columns=80, PixelRepresentation=0)
    dataset = pydicom.dcmread(folder / "slice.dcm")
    dataset.compress(JPEG_LS, generate_instance_uid=False)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[:keep]])
    dataset.save_as(folder / "slice.dcm")
    with pytest.raises(VolumeError, match="slice.dcm is damaged: its compressed pixels are cut"):
        read_series(folder)


def test_excess_frames_of_compressed_images_are_refused(tmp_path):
    from pydicom.encaps import encapsulate, generate_frames

    folder = one_file(
        tmp_path, np.zeros((16, 20), np.uint16), Rows=16, Columns=20, PixelRepresentation=0
    )
    dataset = pydicom.dcmread(folder / "slice.dcm")
    dataset.compress(RLE, generate_instance_uid=False)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame, frame])
    dataset.save_as(folder / "slice.dcm")
    with pytest.raises(VolumeError, match="slice.dcm"):
        read_series(folder)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [(JPEG_LS, "pyjpegls"), (J2K, r"'segedu\[medical\]'"), ("1.2.840.10008.1.2.4.70", "libjpeg")],
)
def test_a_missing_decoder_is_named(tmp_path, monkeypatch, syntax, package):
    from pydicom.pixels import get_decoder

    monkeypatch.setattr(type(get_decoder(syntax)), "is_available", False)
    data = pydicom.encaps.encapsulate([b"\0" * 48])
    folder = one_file(tmp_path, data, syntax=syntax)
    with pytest.raises(VolumeError, match=rf"slice.dcm is compressed.*pip install.*{package}"):
        read_series(folder)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.1", "1.2.3.4.5.6.7.8.9.10", "no syntax at all"]
)
def test_syntaxes_that_are_none(tmp_path, syntax):
    """A service, an unknown number and a text in place of the transfer syntax."""
    path = one_file(tmp_path, syntax="1.2.840.10008.1.2.1") / "slice.dcm"
    data = path.read_bytes()
    old = EXPLICIT.encode() + b"\0"
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, syntax.encode().ljust(len(old), b"\0")))
    with pytest.raises(VolumeError, match="slice.dcm has no known transfer syntax"):
        read_series(tmp_path)


def test_films_are_not_series(tmp_path):
    folder = one_file(tmp_path, pydicom.encaps.encapsulate([b"\0" * 48]), syntax=MPEG)
    with pytest.raises(VolumeError, match="slice.dcm: MPEG2.*is not a way to store images"):
        read_series(folder)


def test_damaged_rle_is_refused(tmp_path, capfd):
    """The decoder in Rust would panic, which is no ordinary exception, and print."""
    folder = one_file(
        tmp_path, np.zeros((64, 80), np.uint16), Rows=64, Columns=80, PixelRepresentation=0
    )
    dataset = pydicom.dcmread(folder / "slice.dcm")
    dataset.compress(RLE, generate_instance_uid=False)
    dataset.Rows = 32
    dataset.save_as(folder / "slice.dcm")
    with pytest.raises(VolumeError, match="slice.dcm"):
        read_series(folder)
    assert capfd.readouterr() == ("", "")


def test_pydicom_missing_is_said(make_series, monkeypatch):
    folder, _ = make_series()
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ImportError, match=r"pip install 'segedu\[medical\]'"):
        read_series(folder)


# ---- identity -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [None, *REFUSED])
def test_no_identity_leaves_the_files(make_series, case, caplog, capsys):
    """Sentinels are in every file; errors, their traces, logs, warnings and results have none."""
    settings = REFUSED[case][0] if case else {}
    folder, _ = make_series(**settings)
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = scan(folder)
        told.append(repr(found))
        try:
            told.append(repr(vars(read_series(folder))))
        except VolumeError:
            told.append(traceback.format_exc())
    told += [str(w.message) for w in caught] + [caplog.text, *capsys.readouterr()]
    for series in found.series:
        told += [str(header.values) for header in series.headers]
    assert not [s for s in SENTINELS if any(s in text for text in told)]


@pytest.mark.parametrize(
    "keyword", ["SeriesInstanceUID", "Modality", "PixelSpacing", "Rows", "RescaleSlope"]
)
def test_a_name_in_a_wrong_place_is_not_quoted(tmp_path, keyword, caplog, capsys):
    folder = one_file(tmp_path)
    dataset = pydicom.dcmread(folder / "slice.dcm")
    dataset[keyword] = pydicom.DataElement(keyword, "LO", "ZORRILLA^QUENTIN")
    dataset.save_as(folder / "slice.dcm")
    data = (folder / "slice.dcm").read_bytes()
    assert data.count(b"LO\x10\0ZORRILLA^QUENTIN") == 2  # the other is SeriesDescription
    try:
        told = repr(scan(folder)) + repr(vars(read_series(folder)))
    except VolumeError:
        told = traceback.format_exc()
    assert "ZORRILLA" not in told + caplog.text + "".join(capsys.readouterr())


def test_a_name_in_the_file_meta_is_not_quoted_in_warnings(tmp_path, caplog, capsys):
    """pydicom warns of a UID that is none, and quotes it."""
    path = one_file(tmp_path) / "slice.dcm"
    data, old = path.read_bytes(), b"1.2.840.10008.5.1.4.1.1.2"
    path.write_bytes(data.replace(old, b"ZORRILLA^QUENTIN^QUENTIN.", 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_series(tmp_path)
    assert not caught
    assert "ZORRILLA" not in caplog.text + "".join(capsys.readouterr())


# ---- writing --------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_written_series_are_read_back(tmp_path, modality):
    array = np.random.default_rng(0).integers(-1024, 3000, (3, 4, 5)).astype(np.float32)
    volume = Volume(array, (2.5, 0.7, 1 / 3), (-100.25, 1 / 7, 55.5))
    uid = write_series(volume, tmp_path / "out", modality=modality)
    again = read_series(tmp_path / "out", uid)
    assert np.array_equal(again.array, array)
    assert again.same_grid(volume, tolerance=1e-6)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "0000.dcm",
        "0001.dcm",
        "0002.dcm",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # no temporary folder is left


def test_orientations_survive_writing(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume = Volume(array, (3, 1, 2), (10, 20, 30))
    letters = [
        "".join(choice)
        for order in itertools.permutations(("LR", "PA", "SI"))
        for choice in itertools.product(*order)
    ]
    for axes in letters[::5]:  # both left- and right-handed ones; all 48 are in test_volume
        write_series(volume.reorient(axes), tmp_path / axes)
        again = read_series(tmp_path / axes).reorient(volume.axes)
        assert np.array_equal(again.array, array), axes
        assert again.same_grid(volume, tolerance=1e-6), axes


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    volume = Volume(np.arange(24.0).reshape(2, 3, 4))
    for name in ("a", "b"):
        write_series(volume, tmp_path / name)
    for k in ("0000.dcm", "0001.dcm"):
        assert (tmp_path / "a" / k).read_bytes() == (tmp_path / "b" / k).read_bytes()


def test_different_series_have_different_uids(tmp_path, make_series):
    series = scan(make_series()[0]).series[0]
    volume = Volume(np.arange(24.0).reshape(2, 3, 4) / 7)
    uids = {
        write_series(volume, tmp_path / "a"),
        write_series(volume.with_array(volume.array * 2), tmp_path / "b"),
        write_series(volume, tmp_path / "c", modality="MR"),
        write_series(volume, tmp_path / "d", reference=series),
        write_series(volume.pad((0, 0, 1), (0, 0, 0)).crop((0, 0, 0), (2, 3, 4)), tmp_path / "e"),
    }
    assert len(uids) == 5
    assert all(re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", uid) for uid in uids)


def test_real_numbers_are_rounded_to_16_bits(tmp_path):
    array = np.random.default_rng(0).normal(0, 500, (2, 8, 9))
    write_series(Volume(array), tmp_path / "out")
    error = np.abs(read_series(tmp_path / "out").array - array).max()
    assert error <= 0.501 * (array.max() - array.min()) / 65535


def test_a_constant_volume_can_be_written(tmp_path):
    write_series(Volume(np.full((2, 2, 2), 0.1)), tmp_path / "out")
    assert read_series(tmp_path / "out").array == pytest.approx(0.1)


def test_results_share_study_and_frame_with_the_images(make_series, tmp_path):
    folder, _ = make_series()
    series = scan(folder).series[0]
    write_series(read_series(folder), tmp_path / "out", reference=series)
    written = scan(tmp_path / "out").series[0]
    assert (written.study_uid, written.frame_uid) == ("1.2.3", "1.2.5")
    assert written.uid != series.uid
    data = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert not [s for s in SENTINELS if s.encode() in data]


OBLIQUE = [[0.096, 0.36, 0.928], [-0.28, 0.9, -0.32], [0.95, 0.23, -0.19]]


@pytest.mark.oracle
@pytest.mark.parametrize("oblique", [False, True])
def test_other_readers_agree_on_what_is_written(tmp_path, oblique):
    sitk = pytest.importorskip("SimpleITK")
    array = np.random.default_rng(0).integers(-1024, 3000, (5, 6, 7)).astype(np.float32)
    direction = np.eye(3)[:, ::-1]
    if oblique:
        direction = np.linalg.qr(OBLIQUE)[0]
        direction[:, 0] *= -np.linalg.det(direction)  # left-handed, as slices, rows, columns are
    volume = Volume(array, (2.5, 0.7, 0.9), (-100.5, 20.25, 55.5), direction)
    write_series(volume, tmp_path / "out")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "out")))
    image = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(image), array)
    assert image.GetSpacing() == pytest.approx(volume.spacing[::-1])
    assert image.GetOrigin() == pytest.approx(volume.origin)
    seen = np.reshape(image.GetDirection(), (3, 3))[:, ::-1]
    assert seen == pytest.approx(volume.direction, abs=1e-6)
    assert read_series(tmp_path / "out").same_grid(volume, tolerance=1e-6)


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    calls = []

    def failing(path, *_):
        calls.append(path)
        if len(calls) == 2:
            raise OSError("disk full")
        path.write_bytes(b"x")

    monkeypatch.setattr(writing, "_write_slice", failing)
    with pytest.raises(OSError, match="disk full"):
        write_series(Volume(np.zeros((3, 2, 2))), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_bad_things_are_not_written(tmp_path):
    volume = Volume(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="modality"):
        write_series(volume, tmp_path / "out", modality="US")
    with pytest.raises(ValueError, match="NaN"):
        write_series(volume.with_array(np.full((2, 2, 2), np.nan)), tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_series(volume, tmp_path / "out")
