import gzip

import numpy as np
import pytest

from segedu.medical import find_series, read_nifti, read_series
from segedu.medical.__main__ import main
from tests.medical.dicom_files import SENTINELS, dicom_tags, write_dicom

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")


def test_inspect_lists_series_and_problems(make_series, capsys):
    folder, _ = make_series(SeriesInstanceUID="1.2.30")
    make_series(heights=(0, 2, 4, 9), names="wxyz", SeriesInstanceUID="1.2.31")
    write_dicom(
        folder / "report",
        {**dicom_tags((0, 0, 0), uid="1.2.9"), "Modality": "SR", "Rows": None},
        None,
    )
    (folder / "notes.txt").write_text("hello")
    assert main(["inspect", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "1.2.30: 4 files, CT\n  4 slices of 4 x 6, spacing 2.5 x 0.8 x 0.7 mm, axes SPL" in out
    assert "1.2.31: 4 files, CT\n  problem: slices are unevenly spaced: 5.000 mm" in out
    assert "1.2.9: 1 files, SR\n  no series of images" in out
    assert "3 series, 1 problems, 1 other files (notes.txt)" in out
    assert not [s for s in SENTINELS if s in out]


def test_inspect_finds_damaged_pixels_unless_it_looks_at_headers_only(make_series, capsys):
    folder, pixels = make_series()
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"values {pixels.min() - 1024} to {pixels.max() - 1024}" in out
    (folder / "1.dcm").write_bytes((folder / "1.dcm").read_bytes()[:-4])
    assert main(["inspect", str(folder), "--headers"]) == 0
    assert main(["inspect", str(folder)]) == 1
    assert "problem: 1.dcm claims" in capsys.readouterr().out


def test_convert_there_and_back(make_series, tmp_path, capsys):
    folder, pixels = make_series()
    assert main(["convert", str(folder), str(tmp_path / "a.nii.gz")]) == 0
    assert main(["convert", str(tmp_path / "a.nii.gz"), str(tmp_path / "dicom")]) == 0
    image, series = read_nifti(tmp_path / "a.nii.gz"), read_series(tmp_path / "dicom")
    assert image.array.dtype == np.int16
    assert np.array_equal(image.array, pixels - 1024)
    assert np.array_equal(series.array, pixels - 1024)
    assert series.same_grid(read_series(folder))
    assert image.same_grid(series)
    written = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
    written += b"".join(path.read_bytes() for path in (tmp_path / "dicom").iterdir())
    assert not [s for s in SENTINELS if s.encode() in written]
    assert main(["inspect", str(tmp_path / "a.nii.gz")]) == 0
    assert "a.nii.gz: 4 slices of 4 x 6" in capsys.readouterr().out


def test_dicom_to_dicom_stays_in_the_study_and_frame_of_reference(make_series, tmp_path):
    folder, pixels = make_series(Modality="MR")
    assert main(["convert", str(folder), str(tmp_path / "copy")]) == 0
    copy, original = find_series(tmp_path / "copy"), find_series(folder)
    assert (copy.study_uid, copy.frame_uid) == (original.study_uid, original.frame_uid)
    assert copy.modality == "MR" and copy.uid != original.uid
    assert np.array_equal(read_series(tmp_path / "copy").array, pixels - 1024)


def test_missing_slices_need_a_word(make_series, tmp_path, capsys):
    folder, _ = make_series(heights=(0, 2.5, 7.5, 10))
    out = tmp_path / "a.nii"
    assert main(["convert", str(folder), str(out)]) == 2
    assert not out.exists()
    assert main(["convert", str(folder), str(out), "--allow-missing"]) == 0
    assert read_nifti(out).shape == (5, 4, 6)
    assert main(["inspect", str(folder), "--allow-missing"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "{0}/absent"], "there is no file or folder"),
        (["inspect", "{0}/empty"], "no DICOM images found, of files there are: none"),
        (["convert", "{0}/series", "{0}/a.nii"], "several series, choose one by its UID: 1.2.30"),
        (["convert", "{0}/series", "{0}/a.nii", "--series", "7"], "no series has this UID"),
        (["convert", "{0}/empty", "{0}/a.nii"], "no DICOM images found"),
        (["convert", "{0}/series/0.dcm", "{0}/a.nii"], "0.dcm is one image of a series"),
    ],
)
def test_mistakes_become_one_sentence(make_series, tmp_path, capsys, arguments, message):
    make_series(SeriesInstanceUID="1.2.30")
    make_series(SeriesInstanceUID="1.2.31", names=["a", "b", "c", "d"])
    (tmp_path / "empty").mkdir()
    assert main([word.format(tmp_path) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("segedu.medical: error: ") and message in error
    assert error.count("\n") == 1 and "Traceback" not in error
    assert not [s for s in SENTINELS if s in error]
    assert not (tmp_path / "a.nii").exists()


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    assert "inspect" in out and "convert" in out and "Not for clinical use" in out


def spoiled(name, make_series, tmp_path):
    """A folder of a kind, and the options with which it is read."""
    options = []
    if name == "missing":
        folder, _ = make_series(heights=(0, 2.5, 7.5, 10))
    elif name == "missing, allowed":
        folder, _ = make_series(heights=(0, 2.5, 7.5, 10))
        options = ["--allow-missing"]
    elif name == "half missing":
        folder, _ = make_series(heights=(0, 2.5, 15, 17.5))
        options = ["--allow-missing"]
    else:
        folder, _ = make_series(Modality="SEG" if name == "segmentation" else "CT")
    victim = folder / "1.dcm"
    if name == "cut":
        victim.write_bytes(victim.read_bytes()[:-4])
    if name == "damaged":
        victim.write_bytes(victim.read_bytes()[:150] + b"\xff" * 50)
    if name == "empty":
        victim.write_bytes(b"")
    if name == "nothing":
        folder = tmp_path / "nothing"
        folder.mkdir()
    return folder, options


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("whole", True),
        ("missing", False),
        ("missing, allowed", True),
        ("half missing", False),
        ("cut", False),
        ("damaged", False),
        ("empty", False),
        ("segmentation", False),
        ("nothing", False),
    ],
)
def test_inspect_and_convert_agree(make_series, tmp_path, capsys, name, good):
    folder, options = spoiled(name, make_series, tmp_path)
    inspected = main(["inspect", str(folder), *options])
    converted = main(["convert", str(folder), str(tmp_path / "a.nii"), *options])
    assert (inspected == 0, converted == 0) == (good, good)


def test_inspect_looks_into_one_series_when_asked(make_series, capsys):
    folder, _ = make_series(folder="both", SeriesInstanceUID="1.2.30")
    make_series(folder="both", SeriesInstanceUID="1.2.31", names="abcd", heights=(0, 2, 4, 9))
    assert main(["inspect", str(folder)]) == 1
    assert main(["inspect", str(folder), "--series", "1.2.30"]) == 0
    assert main(["inspect", str(folder), "--series", "1.2.31"]) == 1
    assert main(["inspect", str(folder), "--series", "7"]) == 2
    assert "no series has this UID" in capsys.readouterr().err


@pytest.mark.parametrize("slices", [(0, 2.5, 15, 17.5), (0, 2.5, 15)])
def test_allow_missing_is_not_promised_where_it_does_not_help(
    make_series, tmp_path, capsys, slices
):
    folder, _ = make_series(heights=slices)
    for options in ([], ["--allow-missing"]):
        assert main(["convert", str(folder), str(tmp_path / "a.nii"), *options]) == 2
        error = capsys.readouterr().err
        assert "as many as there are, or more" in error and "allow_missing" not in error


@pytest.mark.parametrize("name", ["ct.mha", "ct.nrrd", "ct.nii.bz2", "ct.img"])
def test_endings_of_other_formats_make_no_folder(make_series, tmp_path, capsys, name):
    folder, _ = make_series()
    assert main(["convert", str(folder), str(tmp_path / name)]) == 2
    assert f"{name} must end in .nii, .nii.gz or, for labels, .dcm" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
    (tmp_path / name).write_text("x")
    assert main(["convert", str(tmp_path / name), str(tmp_path / "a.nii")]) == 2
    assert f"{name} is neither NIfTI (.nii, .nii.gz) nor DICOM" in capsys.readouterr().err


def test_a_folder_of_a_dotted_name_is_written_when_it_is_there(make_series, tmp_path):
    folder, pixels = make_series()
    for name in ("2026.11.30", "ct.final"):
        (tmp_path / name).mkdir()
        assert main(["convert", str(folder), str(tmp_path / name)]) == 0
        assert np.array_equal(read_series(tmp_path / name).array, pixels - 1024)


def test_padding_is_counted_and_may_be_kept(make_series, tmp_path, capsys):
    folder, pixels = make_series()
    pixels[:, 0] = 3000
    for k, layer in enumerate(pixels):
        write_dicom(
            folder / f"{k}.dcm",
            {**dicom_tags((-10, 20, 2.5 * k)), "PixelPaddingValue": 3000, "RescaleIntercept": 0},
            layer,
        )
    assert main(["convert", str(folder), str(tmp_path / "a.nii")]) == 0
    assert "warning: 24 voxels hold PixelPaddingValue" in capsys.readouterr().err
    assert (read_nifti(tmp_path / "a.nii").array[:, 0] == pixels[:, 1:].min()).all()
    assert main(["convert", str(folder), str(tmp_path / "a.nii"), "--keep-padding"]) == 0
    assert np.array_equal(read_nifti(tmp_path / "a.nii").array, pixels)
    assert not capsys.readouterr().err


def test_the_modality_of_a_new_series_is_not_guessed_in_silence(make_series, tmp_path, capsys):
    folder, _ = make_series()
    assert main(["convert", str(folder), str(tmp_path / "a.nii.gz")]) == 0
    nifti = str(tmp_path / "a.nii.gz")
    assert main(["convert", nifti, str(tmp_path / "ct")]) == 0
    assert "written as CT in Hounsfield units" in capsys.readouterr().err
    assert main(["convert", nifti, str(tmp_path / "mr"), "--modality", "MR"]) == 0
    assert find_series(tmp_path / "mr").modality == "MR"
    assert not capsys.readouterr().err
    pet, _ = make_series(folder="pet", Modality="PT")
    assert main(["convert", str(pet), str(tmp_path / "pt")]) == 2
    assert "the modality PT are not written, only CT and MR" in capsys.readouterr().err
    assert not (tmp_path / "pt").exists()
