"""Scanners' own files. What they are, and where from: see README.md of the data folder."""

import json

import numpy as np
import pytest
import torch

from segedu.medical import (
    Volume,
    read_nifti,
    read_segmentation,
    read_series,
    scan,
    write_nifti,
    write_series,
)
from segedu.medical.__main__ import main
from segedu.medical.scores import compare
from segedu.metrics import surface_distances

pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

SEG_FAST = "example_seg_fast"


@pytest.fixture(scope="module")
def ct(real_data):
    """20 slices, JPEG 2000, instance numbers against the order, SliceThickness 3 but 2 mm apart."""
    return read_series(real_data / "totalsegmentator_example" / "example_ct_dicom")


@pytest.fixture(scope="module")
def small_ct(real_data):
    with pytest.warns(UserWarning, match="167316 voxels hold PixelPaddingValue"):
        return read_series(real_data / "dcmqi_ct3slice")


def test_dicom_and_its_nifti_companion_have_the_same_geometry(ct, real_data, tmp_path):
    companion = read_nifti(real_data / "totalsegmentator_example" / "example_seg_dicom.nii.gz")
    assert ct.shape == companion.shape == (20, 512, 512)
    assert ct.spacing == (2.0, 0.9765625, 0.9765625)
    assert companion.reorient(ct.axes).same_grid(ct, tolerance=1e-4)
    write_nifti(ct.reorient(companion.axes), tmp_path / "ct.nii")
    ours = nibabel.load(tmp_path / "ct.nii")
    theirs = nibabel.load(real_data / "totalsegmentator_example" / "example_seg_dicom.nii.gz")
    assert ours.shape == theirs.shape
    assert np.allclose(ours.affine, theirs.affine, rtol=0, atol=1e-6)


def test_the_companion_labels_lie_on_the_right_organs(ct, real_data):
    """Orientation is right only if soft tissue is where the liver is, and for no other flip."""
    labels = read_nifti(real_data / "totalsegmentator_example" / "example_seg_dicom.nii.gz")
    liver = labels.reorient(ct.axes).array == 5
    assert liver.sum() > 10000

    def spread(mask):
        return np.percentile(ct.array[mask], 95) - np.percentile(ct.array[mask], 5)

    flips = [spread(np.flip(liver, axes)) for axes in ((0,), (1,), (2,), (1, 2))]
    assert 60 < np.median(ct.array[liver]) < 160  # with contrast agent
    assert spread(liver) < 150 and spread(liver) < 0.5 * min(flips[1:])


@pytest.mark.oracle
def test_voxels_equal_simpleitk(small_ct, real_data):
    """An independent reader, but for the padding, which it leaves at -2000 - 1024 HU."""
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    folder = str(real_data / "dcmqi_ct3slice" / "ct-3slice")
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    image = reader.Execute()
    values = sitk.GetArrayFromImage(image)
    padded = values == -3024
    assert 0.05 < padded.mean() < 0.5
    assert np.array_equal(small_ct.array[~padded], values[~padded])
    assert (small_ct.array[padded] == values[~padded].min()).all()
    assert small_ct.spacing == pytest.approx(image.GetSpacing()[::-1], abs=1e-6)
    assert small_ct.origin == pytest.approx(image.GetOrigin())


def test_dicom_segmentation_equals_its_nrrd(small_ct, real_data):
    """The same liver as DICOM-SEG and as NRRD, both on the grid of the images."""
    labels, names = read_segmentation(real_data / "dcmqi_ct3slice" / "liver.dcm")
    assert names == {1: "Liver"}
    on_images = labels.reorient().place_on(small_ct)
    sitk = pytest.importorskip("SimpleITK")
    nrrd = sitk.ReadImage(str(real_data / "dcmqi_ct3slice" / "liver_seg.nrrd"))
    expected = sitk.GetArrayFromImage(nrrd)
    direction = np.reshape(nrrd.GetDirection(), (3, 3))[:, ::-1]
    grid = Volume(expected, nrrd.GetSpacing()[::-1], nrrd.GetOrigin(), direction)
    assert np.array_equal(on_images.array, grid.resample_to(small_ct, labels=True).array)
    liver = on_images.array == 1
    assert 0 < np.median(small_ct.array[liver]) < 200


@pytest.fixture(scope="module")
def organs(real_data):
    """Two segmentations of a CT of 3 mm, and what others measured between them."""
    root = real_data / "totalsegmentator_example"
    truth, found = (read_nifti(root / f"{name}.nii.gz") for name in ("example_seg", SEG_FAST))
    assert truth.same_grid(found) and truth.axes == "SAR" and truth.spacing == (3.0, 3.0, 3.0)
    expected = json.loads((root / "expected_overlap_seg_vs_fast.json").read_text())["organs"]
    return truth, found, {row["label"]: (name, row) for name, row in expected.items()}


def test_overlap_and_volume_of_all_organs_are_the_known_ones(organs, tmp_path):
    """The prediction takes the way through a DICOM series and another orientation."""
    truth, found, expected = organs
    write_series(found.reorient("LIP"), tmp_path / "labels")
    found = read_series(tmp_path / "labels").reorient(truth.axes)
    rows = {row["class"]: row for row in compare("ct", found, truth, 118)}
    assert rows.keys() >= expected.keys() and len(expected) == 40
    assert all(rows[label]["dice"] == 0 for label in rows.keys() - expected.keys())
    for label, (name, organ) in expected.items():
        row = rows[label]
        assert row["dice"] == pytest.approx(organ["dice"], abs=1e-12), name
        assert row["iou"] == pytest.approx(organ["iou"], abs=1e-12), name
        assert row["true_volume_ml"] == pytest.approx(organ["volume_ml_example_seg"]), name
        volume_ml = organ["voxels_example_seg_fast"] * truth.voxel_ml
        assert row["volume_ml"] == pytest.approx(volume_ml), name
        assert row["hd95"] <= organ["hausdorff_mm_voxel_centres_SimpleITK"], name


def test_hausdorff_distances_of_single_organ_files_are_the_known_ones(organs, real_data):
    truth, found, expected = organs
    seen = 0
    for label, (name, organ) in expected.items():
        path = real_data / "totalsegmentator_example" / SEG_FAST / f"{name}.nii.gz"
        if not path.exists():
            continue
        mask = read_nifti(path)
        assert mask.same_grid(truth) and np.array_equal(mask.array > 0, found.array == label)
        masks = (torch.from_numpy(np.array(a)) for a in (mask.array > 0, truth.array == label))
        measured = surface_distances(*masks, truth.spacing).hausdorff()
        assert measured == pytest.approx(organ["hausdorff_mm_voxel_centres_SimpleITK"]), name
        seen += 1
    assert seen == 9


def test_two_mr_series_are_told_apart(real_data):
    found = scan(real_data / "hippocrop_dicom")
    assert [(s.modality, len(s.files)) for s in found.series] == [("MR", 32), ("MR", 35)]
    for series in found.series:
        volume = read_series(real_data / "hippocrop_dicom", series.uid)
        assert volume.shape[0] == len(series.files)
        assert volume.spacing == (1, 1, 1)


def test_every_nifti_file_is_read_as_nibabel_reads_it(real_data):
    files = sorted(real_data.rglob("*.nii.gz"))
    assert len(files) > 100
    for path in [*files[::20], *sorted((real_data / "totalsegmentator_example").glob("*.nii.gz"))]:
        volume, image = read_nifti(path), nibabel.load(path)
        assert np.array_equal(volume.array, np.asarray(image.dataobj).T), path.name
        assert np.allclose(volume.affine("RAS")[:, [2, 1, 0, 3]], image.affine, atol=1e-4)
        assert volume.axes[::-1] == "".join(nibabel.aff2axcodes(image.affine))


def test_the_commands_work_on_a_scanner_s_folder(real_data, tmp_path, capsys):
    folder = str(real_data / "dcmqi_ct3slice")
    assert main(["inspect", folder]) == 0
    out, warning = capsys.readouterr()
    assert "167316 voxels hold PixelPaddingValue" in warning
    assert "3 slices of 512 x 512, spacing 1 x 0.8105 x 0.8105 mm, axes SPL" in out
    assert "SEG\n  no series of images" in out
    assert main(["convert", folder, str(tmp_path / "ct.nii.gz")]) == 0
    assert nibabel.load(tmp_path / "ct.nii.gz").shape == (512, 512, 3)
