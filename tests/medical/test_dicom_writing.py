"""Series that are written, and read back by ourselves and by others."""

import itertools
import re

import numpy as np
import pytest

from segedu.medical.dicom import (
    read_series,
    scan,
    write_series,
    writing,
)
from segedu.medical.volume import Volume
from tests.medical.dicom_files import (
    SENTINELS,
)

pydicom = pytest.importorskip("pydicom")


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
