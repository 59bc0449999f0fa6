import pytest

from segedu.medical.patients import patients_of


def test_scans_of_a_patient_stay_together():
    assert patients_of(["p1-a", "p1-b", "hippocampus_003"]) == ["p1", "p1", "hippocampus_003"]


def test_patients_by_a_pattern_or_a_file(tmp_path):
    names = [f"LIDC-IDRI-000{number}" for number in range(1, 5)]
    assert set(patients_of(names)) == {"LIDC-IDRI"}  # the hyphen says nothing here
    assert patients_of(names, "LIDC-IDRI-[0-9]+") == names
    assert patients_of(["a_1_x", "a_1_y"], "^(a_[0-9])_") == ["a_1", "a_1"]
    table = tmp_path / "patients.csv"
    table.write_text("name,patient\n" + "".join(f"{n},{k // 2}\n" for k, n in enumerate(names)))
    assert patients_of(names, str(table)) == ["0", "0", "1", "1"]
    with pytest.raises(ValueError, match="does not say whose the scan 'b' is"):
        patients_of(["b"], str(table))
    with pytest.raises(ValueError, match=r"pattern or a CSV file, got '\('"):
        patients_of(["b"], "(")
