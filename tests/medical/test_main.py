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
    assert "3 series, 1 problems, 1 other files" in out
    assert not [s for s in SENTINELS if s in out]


def test_inspect_finds_damaged_pixels_when_asked(make_series, capsys):
    folder, pixels = make_series()
    assert main(["inspect", str(folder), "--pixels"]) == 0
    out = capsys.readouterr().out
    assert f"values {pixels.min() - 1024} to {pixels.max() - 1024}" in out
    (folder / "1.dcm").write_bytes((folder / "1.dcm").read_bytes()[:-4])
    assert main(["inspect", str(folder)]) == 0
    assert main(["inspect", str(folder), "--pixels"]) == 1
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
        (["inspect", "{0}/empty"], "empty holds no DICOM files"),
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
