import json
from dataclasses import replace

import pytest

from segedu.medical.config import ProjectConfig
from segedu.medical.patients import describe_split, patients_of, split_scans

CONFIG = ProjectConfig(shares=(0.6, 0.2, 0.2))
NAMES = [f"p{patient:02d}_scan{number}" for patient in range(10) for number in range(2)]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("p00_scan1", "p00"),
        ("p1-a", "p1"),
        ("LIDC-IDRI-0001", "LIDC-IDRI-0001"),
        ("TCGA-DU-5800", "TCGA-DU-5800"),
        ("TCGA-02-0001-01", "TCGA-02-0001"),  # 02 is a hospital
        ("sub-01_T1w", "sub-01"),
        ("sub-control_ses-2_T1w", "sub-control"),
        ("hippocampus_003", "hippocampus_003"),
        ("BraTS-GLI-00005-001", "BraTS-GLI-00005"),
        ("volume-7", "volume-7"),
        ("ann", "ann"),
    ],
)
def test_common_names_say_whose_a_scan_is(name, patient):
    assert patients_of([name]) == [patient]


def test_patients_by_a_pattern_or_a_file(tmp_path):
    names = [f"1.2.840.{number}" for number in range(1, 5)]
    assert set(patients_of(names)) == {"1"}  # the first number says nothing here
    assert patients_of(names, r"[0-9]+$") == ["1", "2", "3", "4"]
    assert patients_of(["a_1_x", "a_1_y"], "^(a_[0-9])_") == ["a_1", "a_1"]
    table = tmp_path / "patients.csv"
    table.write_text("name,patient\n" + "".join(f"{n},{k // 2}\n" for k, n in enumerate(names)))
    assert patients_of(names, str(table)) == ["0", "0", "1", "1"]
    with pytest.raises(ValueError, match="does not say whose the scan 'b' is"):
        patients_of(["b"], str(table))
    with pytest.raises(ValueError, match=r"pattern or a CSV file, got '\('"):
        patients_of(["b"], "(")


def test_no_patient_is_in_two_subsets():
    split = split_scans(NAMES, CONFIG)
    owners = [set(patients_of(scans)) for scans in split.values()]
    assert sum(map(len, split.values())) == 20 and sum(map(len, owners)) == 10


def test_in_cross_validation_every_scan_tests_once():
    folds = [split_scans(NAMES, replace(CONFIG, folds=5, fold=k)) for k in range(5)]
    assert sorted(name for fold in folds for name in fold["test"]) == NAMES
    for fold in folds:
        assert [len(fold[subset]) for subset in ("train", "val", "test")] == [10, 6, 4]
        owners = [set(patients_of(scans)) for scans in fold.values()]
        assert sum(map(len, owners)) == 10
    with pytest.raises(ValueError, match="belong to 10 patients .* at least 11 are needed"):
        split_scans(NAMES, replace(CONFIG, folds=11))


@pytest.mark.parametrize(("folds", "patients"), [(2, 4), (3, 3), (4, 4), (10, 10)])
def test_as_few_patients_as_folds_are_enough(folds, patients):
    names = NAMES[: 2 * patients]
    for fold in range(folds):
        split = split_scans(names, replace(CONFIG, folds=folds, fold=fold))
        assert all(split.values()) and sum(map(len, split.values())) == len(names)
    with pytest.raises(ValueError, match=f"at least {patients} are needed"):
        split_scans(names[2:], replace(CONFIG, folds=folds))


def test_a_file_splits(tmp_path):
    path = tmp_path / "splits.json"
    fold = {"train": ["p00_scan0", "p00_scan1"], "val": ["p01_scan0"]}
    path.write_text(json.dumps([{"train": ["p02_scan0"], "val": ["p03_scan0"]}, fold]))
    config = replace(CONFIG, splits=str(path), fold=1)
    split = split_scans(NAMES, config)
    assert split == fold | {"test": []}
    assert describe_split(split, NAMES, config) == [
        "20 scans of 10 patients (a patient is the name up to its first number)",
        "train: 2 scans of 1 patients: p00",
        "val: 1 scans of 1 patients: p01",
        "test: 0 scans of 0 patients: none",
        "in no subset: 17 scans",
    ]
    assert split_scans(NAMES, replace(config, fold=0))["val"] == ["p03_scan0"]
    with pytest.raises(ValueError, match="has 2 folds, no fold 2"):
        split_scans(NAMES, replace(config, fold=2))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ([], "has 0 folds"),
        ({"train": ["p00_scan0"]}, "must hold"),
        ({"train": ["p00_scan0"], "val": "p01_scan0"}, "must hold"),
        ({"train": ["p00_scan0"], "validation": ["p01_scan0"], "val": []}, "must hold"),
        ({"train": ["p00_scan0"], "val": []}, "must name scans to train and to validate"),
        ({"train": ["p00_scan0"], "val": ["q"]}, "scans that are not there: q"),
        (
            {"train": ["p00_scan0"], "val": ["p00_scan1"]},
            "the patients p00 are in train and in val",
        ),
        ({"train": ["p00_scan0"] * 2, "val": ["p01_scan0"]}, "names p00_scan0 twice"),
    ],
)
def test_a_file_that_does_not_split_the_scans_is_refused(tmp_path, split, message):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(split))
    with pytest.raises(ValueError, match=message):
        split_scans(NAMES, replace(CONFIG, splits=str(path)))


def test_what_is_shown_of_many_patients_is_short():
    (_, train, *_) = describe_split(split_scans(NAMES, CONFIG), NAMES, CONFIG)
    assert train.startswith("train: 10 scans of 5 patients: p0")
    many = [f"p{number}" for number in range(40)]
    (_, train, *_) = describe_split({"train": many}, many, CONFIG)
    assert train.endswith("... (34 more)")
