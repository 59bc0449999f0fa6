"""Folders of scans as the Decathlon and nnU-Net lay them out."""

import json

import numpy as np
import pytest

from segedu.medical.nifti import write_nifti
from segedu.medical.scans import find_scans, read_classes, read_pair, write_decathlon
from segedu.medical.volume import Volume

pytest.importorskip("nibabel")


def image():
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    return Volume(array, (3, 1, 2), (10, 20, 30))


@pytest.fixture
def folder(tmp_path):
    """One scan, ``a``, in the layout of the Decathlon."""
    scan = image()
    labels = scan.with_array((scan.array > 12).astype(np.uint8))
    write_decathlon(tmp_path, [("a", scan, labels)], ("background", "organ"))
    return tmp_path


def number_channels(folder, *channels):
    """The layout of nnU-Net, in which several images belong to one file of labels."""
    first = folder / "imagesTr" / "a.nii.gz"
    for channel in channels:
        (folder / "imagesTr" / f"a_{channel:04d}.nii.gz").write_bytes(first.read_bytes())
    first.unlink()


def test_files_beside_the_scans_are_counted(folder):
    (folder / "imagesTr/a.nii.gz").rename(folder / "imagesTr/a.NII.GZ")
    (folder / "imagesTr/notes.txt").write_text("")
    with pytest.warns(UserWarning, match="1 left out .notes.txt: not a NIfTI file"):
        scans = find_scans(folder)
    assert [(name, path.name) for name, path, _ in scans] == [("a", "a.NII.GZ")]


def test_the_layout_of_nnu_net_is_read(folder):
    number_channels(folder, 0)
    labels = {"background": 0, "liver": 1, "tumour": 2}
    about = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about))
    assert read_classes(folder) == ("background", "liver", "tumour")
    scans = find_scans(folder)
    assert [(name, path.name, truth.name) for name, path, truth in scans] == [
        ("a", "a_0000.nii.gz", "a.nii.gz")
    ]


def test_numbers_that_are_no_channels_stay_in_the_name(folder):
    for part in ("imagesTr", "labelsTr"):
        (folder / part / "a.nii.gz").rename(folder / part / "a_0000.nii.gz")
    assert [name for name, *_ in find_scans(folder)] == ["a_0000"]


def test_several_channels_are_refused(folder):
    number_channels(folder, 0, 1)
    message = "a has several channels, a_0000.nii.gz and a_0001.nii.gz, .*: keep the files of one"
    with pytest.raises(ValueError, match=message):
        find_scans(folder)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, '"labels" is missing'),
        ({}, '"labels" is missing'),
        ({"0": "background", "2": "organ"}, "it has the numbers 0, 2"),
        ({"background": 0, "whole": [1, 2], "core": 2}, "regions of several labels"),
        ({"background": 0, "organ": 1, "ignore": 2}, 'the label "ignore" is not handled'),
    ],
)
def test_labels_that_name_no_classes_are_refused(folder, labels, message):
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(ValueError, match=f"dataset.json.*{message}"):
        read_classes(folder)


def test_labels_stored_in_another_direction_are_turned(folder):
    scan, labels = read_pair(*find_scans(folder)[0][1:])
    path = folder / "labelsTr" / "a.nii.gz"
    for axes in ("IPR", "LSA", "PIL"):
        write_nifti(labels.reorient(axes), path)
        turned = read_pair(*find_scans(folder)[0][1:])[1]
        assert turned.same_grid(scan) and np.array_equal(turned.array, labels.array), axes


def test_labels_on_another_grid_are_refused_with_the_cure(folder):
    write_nifti(image().crop((0, 0, 0), (1, 3, 4)), folder / "labelsTr" / "a.nii.gz")
    with pytest.raises(ValueError, match="a.nii.gz: image and labels .*convert LABELS .*--like"):
        read_pair(*find_scans(folder)[0][1:])
