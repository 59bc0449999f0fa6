"""Labels between the forms in which they lie on the disk, and on the grid of their image."""

import numpy as np
import pytest

from segedu.medical import find_series, read_nifti, read_segmentation, read_series, write_nifti
from segedu.medical.__main__ import main
from segedu.medical.dicom import write_segmentation
from segedu.medical.io import put_on
from segedu.medical.volume import Volume, VolumeError
from tests.medical.dicom_files import SENTINELS

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")
pytest.importorskip("highdicom")


def labels_of(image):
    """Two labels in the middle slices of the four, so that a DICOM-SEG stores two."""
    array = np.zeros(image.shape, np.uint8)
    array[1, 1:3, 2:5] = 1
    array[2, 0, 0] = 2
    return image.with_array(array)


@pytest.fixture
def study(make_series, tmp_path):
    """A folder of images, and their labels as NIfTI in another direction of storage."""
    folder, _ = make_series()
    labels = labels_of(read_series(folder))
    write_nifti(labels.reorient("IAR"), tmp_path / "labels.nii.gz")
    return folder, labels


def convert(*words):
    return main(["convert", *map(str, words)])


def test_labels_become_a_segmentation_with_names_and_come_back(study, tmp_path):
    folder, labels = study
    file, back = tmp_path / "labels.dcm", tmp_path / "back.nii.gz"
    names = ["--names", "liver ｜ 肝", "tumour"]
    assert convert(tmp_path / "labels.nii.gz", file, "--like", folder, *names) == 0
    assert read_segmentation(file)[1] == {1: "liver ｜ 肝", 2: "tumour"}
    assert read_segmentation(file)[0].shape == (2, 4, 6)  # empty slices are not stored
    assert convert(file, back, "--like", folder) == 0
    assert read_nifti(back).same_grid(labels)
    assert np.array_equal(read_nifti(back).array, labels.array)


def test_a_segmentation_refers_to_its_images_and_names_nobody(study, tmp_path):
    import pydicom

    folder, _ = study
    assert convert(tmp_path / "labels.nii.gz", tmp_path / "labels.dcm", "--like", folder) == 0
    file = pydicom.dcmread(tmp_path / "labels.dcm")
    series = find_series(folder)
    assert file.StudyInstanceUID == series.study_uid
    assert file.FrameOfReferenceUID == series.frame_uid
    (referenced,) = file.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == series.uid
    data = (tmp_path / "labels.dcm").read_bytes()
    assert not [s for s in SENTINELS if s.encode() in data]


def test_names_go_from_one_segmentation_to_another(study, tmp_path):
    folder, _ = study
    for source, target in (("labels.nii.gz", "a.dcm"), ("a.dcm", "b.dcm")):
        names = ["--names", "liver", "tumour"] if target == "a.dcm" else []
        assert convert(tmp_path / source, tmp_path / target, "--like", folder, *names) == 0
    assert read_segmentation(tmp_path / "b.dcm")[1] == {1: "liver", 2: "tumour"}


def test_a_segmentation_needs_its_images(study, tmp_path, capsys):
    assert convert(tmp_path / "labels.nii.gz", tmp_path / "labels.dcm") == 2
    assert "belongs to a series of DICOM images: give its folder" in capsys.readouterr().err
    assert not (tmp_path / "labels.dcm").exists()


@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        (lambda a: a - 1.0, {}, "labels must be whole numbers from 0 to 255, got values from -1"),
        (lambda a: a / 2, {}, "labels must be whole numbers"),
        (lambda a: a.astype(int) * 200, {}, "from 0 to 255, got values from 0 to 400"),
        (lambda a: a, {1: "x" * 65}, "names must have 1 to 64 letters"),
        (lambda a: a, {1: ""}, "names must have 1 to 64 letters"),
    ],
)
def test_what_a_segmentation_cannot_hold_is_refused(study, tmp_path, change, names, message):
    folder, labels = study
    labels = labels.with_array(change(labels.array))
    with pytest.raises(ValueError, match=message):
        write_segmentation(labels, tmp_path / "a.dcm", find_series(folder), names)
    assert not (tmp_path / "a.dcm").exists()


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"])
def test_images_without_uids_have_no_segmentation(make_series, tmp_path, keyword, capsys):
    """Anonymizers remove them; a DICOM-SEG file has nothing else to refer to its images."""

    def spoil(_, tags):
        tags[keyword] = None

    folder, _ = make_series(spoil)
    write_nifti(labels_of(read_series(folder)), tmp_path / "labels.nii.gz")
    assert convert(tmp_path / "labels.nii.gz", tmp_path / "labels.dcm", "--like", folder) == 2
    assert "the images lack UIDs" in capsys.readouterr().err
    assert not (tmp_path / "labels.dcm").exists()


def test_labels_are_put_on_the_grid_of_their_image_without_change(study):
    folder, labels = study
    image = read_series(folder)
    part = labels.crop((1, 0, 0), (3, 4, 6)).reorient("LAI")
    assert np.array_equal(put_on(part, image).array, labels.array)


def test_the_nearest_label_is_taken_where_voxels_do_not_coincide():
    grid = Volume(np.zeros((4, 4, 6)), (2, 1, 1))
    fine = Volume(np.zeros((8, 8, 12), np.uint8), (1, 0.5, 0.5), (-0.25, -0.25, -0.5))
    fine.array[2:4, 2:4, 4:6] = 3
    with pytest.warns(UserWarning, match="the nearest label is taken"):
        found = put_on(fine, grid)
    assert np.argwhere(found.array).tolist() == [[1, 1, 2]] and found.array.max() == 3


def test_labels_outside_the_image_are_counted():
    grid = Volume(np.zeros((4, 4, 6)))
    labels = Volume(np.ones((4, 4, 6), np.uint8), origin=(0, 0, 1))
    with pytest.warns(UserWarning, match="24 of 96 labelled voxels lie outside the image"):
        assert put_on(labels, grid).array.sum() == 72
    with pytest.raises(VolumeError, match="no label lies in the image"):
        put_on(Volume(np.ones((4, 4, 6), np.uint8), origin=(0, 0, 50)), grid)


def test_an_image_is_not_brought_to_another_grid_as_labels(study, tmp_path, capsys):
    folder, _ = study
    assert convert(folder, tmp_path / "a.nii", "--like", tmp_path / "labels.nii.gz") == 2
    assert "only labels are brought to another grid" in capsys.readouterr().err
