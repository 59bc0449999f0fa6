"""What cannot be trusted is refused, and no error names a patient."""

import io
import traceback
import warnings

import numpy as np
import pytest

from segedu.medical.dicom import read_segmentation, read_series, scan
from segedu.medical.volume import VolumeError
from tests.medical.dicom_files import (
    DEFLATED,
    EXPLICIT,
    J2K,
    JPEG_12_BIT,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    SENTINELS,
    change_frame,
    lossless_jpeg,
    noisy_file,
    one_file,
)
from tests.medical.fuzz import deflate_bomb

pydicom = pytest.importorskip("pydicom")

MPEG = "1.2.840.10008.1.2.4.100"


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


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID"])
def test_a_file_with_a_damaged_uid_is_listed_as_such(make_series, keyword):
    """The UID of slice 2 calls itself a list of real numbers, of 8 bytes each."""
    folder, _ = make_series(**{keyword: "1.2.3"})
    tag = {"SeriesInstanceUID": b"\x20\0\x0e\0", "StudyInstanceUID": b"\x20\0\x0d\0"}[keyword]
    data = (folder / "2.dcm").read_bytes()
    assert data.count(tag + b"UI\x06\0") == 1
    (folder / "2.dcm").write_bytes(data.replace(tag + b"UI", tag + b"FD"))
    found = scan(folder)
    assert found.unreadable == {"2.dcm": f"2.dcm: {keyword} is damaged"}
    assert [len(series.files) for series in found.series] == [3]


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
    with pytest.raises(VolumeError, match=r"found.*: 1 that are not DICOM \(readme\)"):
        read_series(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file or folder .*absent"):
        read_series(tmp_path / "absent")


def test_a_file_without_preamble_does_not_vanish(make_series):
    """It was taken for no DICOM at all, and the series of the others called sound."""
    folder, pixels = make_series()
    victim = folder / "3.dcm"
    behind_meta = victim.read_bytes()[132:]  # begins with group 2
    tags = pydicom.dcmread(victim)
    bare = []  # as programs before part 10 wrote it: without group 2
    for implicit, little in ((True, True), (False, True), (False, False)):
        plain = pydicom.Dataset({element.tag: element for element in tags})
        if not little:
            plain.PixelData = pixels[3].astype(">i2").tobytes()
        file = io.BytesIO()
        how = {"implicit_vr": implicit, "little_endian": little}
        pydicom.dcmwrite(file, plain, **how, enforce_file_format=False)
        bare.append(file.getvalue())
    for content in (behind_meta, *bare):
        assert content[128:132] != b"DICM"
        victim.write_bytes(content)
        assert np.array_equal(read_series(folder).array, pixels - 1024.0)
    victim.rename(folder / "3")
    (folder / "3").write_bytes(b"plain text is something else")
    assert scan(folder).others == ("3",) and not scan(folder).unreadable


@pytest.mark.parametrize("content", [b"", b"plain text", bytes(4096)])
def test_what_is_called_dicom_and_is_not_may_be_a_slice(make_series, content):
    folder, _ = make_series()
    (folder / "3.dcm").write_bytes(content)
    assert list(scan(folder).unreadable) == ["3.dcm"] and not scan(folder).others
    with pytest.raises(VolumeError, match="3.dcm is damaged: it .*it may be a slice of the series"):
        read_series(folder)


def test_a_damaged_file_stops_its_own_series_only(make_series):
    """Its series is known by its UID or, where that is lost, by the folder it lies in."""
    folder, pixels = make_series(folder="study", SeriesInstanceUID="1.2.30")
    make_series(folder="study", SeriesInstanceUID="1.2.31", names=["a", "b", "c", "d"])
    data = (folder / "1.dcm").read_bytes()
    place = data.index(b"\x28\0\x10\0US")  # Rows, behind the UID
    (folder / "1.dcm").write_bytes(data[:place] + b"\xff" * 40)
    assert list(scan(folder).unreadable) == ["1.dcm"]
    assert np.array_equal(read_series(folder, "1.2.31").array, pixels - 1024.0)
    with pytest.raises(VolumeError, match="1.dcm is damaged.*it may be a slice of the series"):
        read_series(folder, "1.2.30")
    (folder / "1.dcm").write_bytes(data[:140] + b"\xff" * 40)
    for uid in ("1.2.30", "1.2.31"):
        with pytest.raises(VolumeError, match="1.dcm"):
            read_series(folder, uid)
    (folder / "elsewhere").mkdir()
    (folder / "1.dcm").rename(folder / "elsewhere" / "1.dcm")
    assert np.array_equal(read_series(folder, "1.2.31").array, pixels - 1024.0)


@pytest.mark.parametrize(
    ("modality", "advice"),
    [
        ("SEG", "1 SEG; labels of a SEG are read if you give its file"),
        ("RTSTRUCT", "1 RTSTRUCT; contours of an RTSTRUCT are not read, save them as a NIfTI"),
        ("RTDOSE", "1 RTDOSE$"),
    ],
)
def test_folders_of_segmentations_and_of_radiotherapy(tmp_path, make_series, modality, advice):
    rows = None if modality == "RTSTRUCT" else 4
    folder = one_file(tmp_path / "objects", Modality=modality, SeriesInstanceUID="9", Rows=rows)
    with pytest.raises(VolumeError, match=f"no DICOM images found, of files there are: {advice}"):
        read_series(folder)
    images, pixels = make_series()
    (folder / "slice.dcm").rename(images / "object.dcm")
    assert np.array_equal(read_series(images).array, pixels - 1024.0)


def test_files_beside_a_series_that_are_not_dicom_are_named(make_series):
    """A slice may be among them, such as one that somebody packed."""
    folder, pixels = make_series()
    (folder / "notes.txt").write_text("not DICOM")
    (folder / "4.dcm.gz").write_bytes(b"\x1f\x8b")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "more.txt").write_text("not DICOM")
    message = "2 files beside the series are not DICOM and were left out: 4.dcm.gz, notes.txt"
    with pytest.warns(UserWarning, match=message):
        assert np.array_equal(read_series(folder).array, pixels - 1024.0)


def test_hidden_files_of_a_mac_are_no_damaged_slices(make_series, recwarn):
    folder, pixels = make_series()
    for k in range(4):
        (folder / f"._{k}.dcm").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    assert np.array_equal(read_series(folder).array, pixels - 1024.0)
    assert len(scan(folder).others) == 4 and not recwarn


def test_a_folder_of_many_series_is_told_in_one_line(make_series):
    folder, _ = make_series(
        lambda k, tags: tags.update(SeriesInstanceUID=f"1.2.{k}"), heights=range(12)
    )
    message = "several series, .*each has one image: did an anonymizer .*; and 4 more$"
    with pytest.raises(VolumeError, match=message):
        read_series(folder)


def test_echoes_in_one_series_are_counted(make_series):
    heights = [z for z in (0, 2.5, 5) for _ in range(2)]
    folder, _ = make_series(heights=heights)
    message = "same position: 0.dcm and 1.dcm; 6 images lie at 3 positions: if they are echoes"
    with pytest.raises(VolumeError, match=message):
        read_series(folder)


def write_bomb(path):
    """A file of about 80 KiB that inflates to 80 MiB."""
    base = (one_file(path.parent, syntax=DEFLATED) / "slice.dcm").read_bytes()
    path.write_bytes(deflate_bomb(base, 80))


def test_deflate_bombs_are_refused(tmp_path):
    write_bomb(tmp_path / "slice.dcm")
    assert (tmp_path / "slice.dcm").stat().st_size < 1 << 20
    with pytest.raises(VolumeError, match="slice.dcm inflates to more than 64 MiB"):
        read_series(tmp_path)


def test_segmentations_are_read_with_bounded_memory_too(tmp_path):
    write_bomb(tmp_path / "slice.dcm")
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
    folder, _ = noisy_file(tmp_path)
    change_frame(folder, lambda frame: [frame[:keep]], compress=JPEG_LS)
    with pytest.raises(VolumeError, match="slice.dcm is damaged: its compressed pixels are cut"):
        read_series(folder)


@pytest.mark.parametrize("place", [100, 1000, 4000])
def test_damaged_lossless_jpeg_is_refused_in_silence(tmp_path, place, capfd):
    """GDCM fills up what is missing, and prints that it did."""
    pytest.importorskip("gdcm")
    folder, _ = noisy_file(tmp_path)
    lossless_jpeg(folder / "slice.dcm", JPEG_LOSSLESS)
    change_frame(folder, lambda frame: [frame[:place] + b"\xff\xd9"])
    with pytest.raises(VolumeError, match="slice.dcm is damaged: its pixels cannot be decoded"):
        read_series(folder)
    assert capfd.readouterr() == ("", "")


def test_excess_frames_of_compressed_images_are_refused(tmp_path):
    folder = one_file(
        tmp_path, np.zeros((16, 20), np.uint16), Rows=16, Columns=20, PixelRepresentation=0
    )
    change_frame(folder, lambda frame: [frame, frame], compress=RLE)
    with pytest.raises(VolumeError, match="slice.dcm"):
        read_series(folder)


@pytest.mark.parametrize(
    ("syntax", "lost", "package"),
    [
        (JPEG_LS, ("gdcm", "pyjpegls"), r"'segedu\[medical\]'"),
        (J2K, ("gdcm", "pillow", "pylibjpeg"), r"'segedu\[medical\]'"),
        (JPEG_LOSSLESS, ("gdcm", "pylibjpeg"), r"'segedu\[medical\]'"),
        (JPEG_12_BIT, ("pylibjpeg",), "pylibjpeg pylibjpeg-libjpeg"),
    ],
)
def test_a_missing_decoder_is_named(tmp_path, monkeypatch, syntax, lost, package):
    """JPEG of 12 bits counted as damaged, for Pillow and GDCM decode its 8 bits only."""
    from pydicom.pixels import get_decoder

    decoder = get_decoder(syntax)
    left = tuple(plugin for plugin in decoder.available_plugins if plugin not in lost)
    monkeypatch.setattr(type(decoder), "available_plugins", left)
    data = pydicom.encaps.encapsulate([b"\xff\xd8" + b"\0" * 48 + b"\xff\xd9"])
    folder = one_file(tmp_path, data, syntax=syntax, BitsStored=12, HighBit=11)
    with pytest.raises(VolumeError, match=rf"slice.dcm is compressed.*pip install {package}"):
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


def test_scouts_of_a_ct_are_no_slices(make_series):
    """Two parallel projections look like a volume; those of an MR are slices."""
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    folder, _ = make_series(heights=(0, 5), ImageType=kind)
    with pytest.raises(VolumeError, match=r"[01]\.dcm is a scout \(LOCALIZER\): a projection"):
        read_series(folder)
    folder, pixels = make_series(folder="mr", heights=(0, 5), ImageType=kind, Modality="MR")
    assert read_series(folder).shape == pixels.shape


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
