import json
import re

import numpy as np
import pytest

from segedu.medical.config import ProjectConfig
from segedu.medical.fingerprint import (
    Fingerprint,
    Range,
    fit_settings,
    guess_intensity,
    read_labelled,
    survey,
)
from segedu.medical.nifti import read_nifti, write_nifti
from segedu.medical.scans import find_scans, write_decathlon
from segedu.medical.volume import Volume

CLASSES = ("background", "organ")


def ct(seed, spacing=(5.0, 0.8, 0.8), organ=60.0, air=-1000.0):
    """Air around a body of fat with an organ of ``organ`` HU in it."""
    array = np.full((10, 30, 20), air, np.float32)
    array[:, 5:25, 4:16] = -90
    truth = np.zeros(array.shape, np.uint8)
    truth[3:7, 10:20, 6:12] = 1
    array[truth == 1] = organ
    array += np.random.default_rng(seed).normal(0, 15, array.shape)
    image = Volume(array, spacing)
    return image, image.with_array(truth)


def fingerprint_of(cases, folder):
    write_decathlon(folder, [(f"p{k}", *case) for k, case in enumerate(cases)], CLASSES)
    return survey(find_scans(folder), len(CLASSES))


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory):
    """Five CTs of different slices, two of them stored in other directions."""
    cases = [ct(k, (2.0 + k, 0.8, 0.8)) for k in range(5)]
    cases[1] = tuple(part.reorient("IPR") for part in cases[1])
    cases[2] = tuple(part.reorient("LIP") for part in cases[2])
    return fingerprint_of(cases, tmp_path_factory.mktemp("ct"))


def test_a_fingerprint_measures_the_scans(fingerprint):
    assert fingerprint.scans == 5 and fingerprint.axes == {"IPR": 1, "LIP": 1, "SPL": 3}
    assert fingerprint.spacing.low == pytest.approx([2.0, 0.8, 0.8])
    assert fingerprint.spacing.median == pytest.approx([4.0, 0.8, 0.8])
    assert fingerprint.size == Range(*[[10, 30, 20]] * 3)
    assert fingerprint.extent.high == pytest.approx([60.0, 24.0, 16.0])
    assert fingerprint.channels == 1
    assert fingerprint.values.low[0][0] < -1000 < fingerprint.values.median[0][1] < 60
    assert fingerprint.foreground.median[0] == pytest.approx([30, 90], abs=8)
    assert "median spacing 4 x 0.8 x 0.8 mm, median size 10 x 30 x 20" in fingerprint.describe()


def test_it_comes_back_from_its_file_and_damage_is_named(fingerprint, tmp_path):
    path = tmp_path / "fingerprint.json"
    fingerprint.save(path)
    assert Fingerprint.load(path) == fingerprint
    for text in ("{}", "[]", json.dumps(dict.fromkeys(json.loads(path.read_text()), 3))):
        path.write_text(text)
        with pytest.raises(ValueError, match="no fingerprint of a training set"):
            Fingerprint.load(path)


def test_what_is_left_open_follows_from_it(fingerprint):
    fitted = fit_settings(ProjectConfig(classes=CLASSES), fingerprint)
    assert fitted.spacing == pytest.approx((4.0, 0.8, 0.8)) and fitted.intensity == ("soft_tissue",)
    chosen = ProjectConfig(classes=CLASSES, channels=1, spacing=(1.0, 1, 1), intensity="bone")
    assert fit_settings(chosen, fingerprint) == chosen


@pytest.mark.parametrize(
    ("organ", "intensity"),
    [(-850, "lung"), (60, "soft_tissue"), (900, "bone"), (205, "mediastinum")],
)
def test_the_window_of_a_ct_shows_the_labelled_voxels(organ, intensity, tmp_path):
    assert guess_intensity(fingerprint_of([ct(0, organ=organ)], tmp_path)) == intensity


def test_what_is_not_in_hounsfield_units_is_normalised(tmp_path):
    mr = [(image.with_array(image.array + 1100), truth) for image, truth in (ct(0), ct(1))]
    assert guess_intensity(fingerprint_of(mr, tmp_path / "mr")) == "mr"


def test_scans_of_two_kinds_are_warned_of(tmp_path):
    image, truth = ct(0)
    found = fingerprint_of([(image.with_array(image.array + 1100), truth), ct(1)], tmp_path)
    with pytest.warns(UserWarning, match="some scans have values below -200, as CT"):
        assert guess_intensity(found) == "mr"


def test_a_scan_like_those_of_the_training_passes(fingerprint):
    for axes in ("SPL", "LIP"):
        alike = ct(9, (3.5, 0.8, 0.8))[0].reorient(axes)
        assert fingerprint.unlike([alike], ["soft_tissue"]) == {}


@pytest.mark.parametrize(
    ("scan", "message"),
    [
        (ct(9, (4.0, 0.4, 0.4))[0], "^spacing 4 x 0.4 x 0.4 mm .2 x 0.8 x 0.8 – 6 x 0.8 x 0.8"),
        (ct(9, (5.0, 0.8, 0.8))[0].crop((0, 0, 0), (3, 30, 20)), "^extent 15 x 24 x 16 mm .20 x"),
        (ct(9)[0].with_array(ct(9)[0].array + 1024), "^values .* / .* / 110[0-9] .-10"),
        (ct(9)[0].with_array(ct(9)[0].array / 1000), "^values -1"),
    ],
)  # fmt: skip
def test_a_scan_unlike_those_of_the_training_is_told(fingerprint, scan, message):
    found = fingerprint.unlike([scan], ["soft_tissue"])
    assert any(re.search(message, f"{kind} {text}") for kind, text in found.items()), found


def test_the_scale_of_mr_says_nothing_but_its_sign_does(tmp_path):
    image, truth = ct(0)
    mr = image.with_array(image.array + 1200)
    known = fingerprint_of([(mr, truth)], tmp_path)
    assert known.unlike([mr.with_array(mr.array * 20)], ["mr"]) == {}
    assert known.unlike([image], ["mr"]).keys() == {"values"}


def two_channels(folder, count=2):
    """A CT and something like a PET on its grid, in the layout of nnU-Net."""
    write_decathlon(folder, [(f"p{k}", *ct(k)) for k in range(count)], CLASSES)
    for path in sorted((folder / "imagesTr").iterdir()):
        name = path.name.removesuffix(".nii.gz")
        image = read_nifti(path)
        write_nifti(image.with_array(image.array + 1100), path.with_name(f"{name}_0001.nii.gz"))
        path.rename(path.with_name(f"{name}_0000.nii.gz"))
    return folder


def test_each_channel_is_measured_and_guessed_by_itself(tmp_path):
    scans = find_scans(two_channels(tmp_path))
    found = survey(scans, len(CLASSES))
    assert found.channels == 2 and "2 scans of 2 channels" in found.describe()
    fitted = fit_settings(ProjectConfig(classes=CLASSES), found)
    assert fitted.channels == 2 and fitted.intensity == ("soft_tissue", "mr")
    kept = fit_settings(ProjectConfig(classes=CLASSES, intensity=("auto", "lung")), found)
    assert kept.intensity == ("soft_tissue", "lung")
    scan, _ = read_labelled(scans[0].images, scans[0].labels, len(CLASSES))
    assert found.unlike(scan, fitted.intensity) == {}
    assert re.match("channel 1: -10", found.unlike([scan[0]] * 2, fitted.intensity)["values"])
    with pytest.raises(ValueError, match="channels is 1, but the scans have 2"):
        fit_settings(ProjectConfig(classes=CLASSES, channels=1), found)


def test_scans_with_other_channels_are_refused(tmp_path):
    two_channels(tmp_path)
    (tmp_path / "imagesTr" / "p1_0001.nii.gz").unlink()
    with pytest.raises(ValueError, match="p1 has 1 channels, others have 2"):
        survey(find_scans(tmp_path), len(CLASSES))
