"""Folders of scans as the Decathlon and nnU-Net lay them out."""

import json

import numpy as np
import pytest

from segedu.medical.__main__ import main
from segedu.medical.nifti import write_nifti
from segedu.medical.scans import (
    check_channels,
    find_scans,
    read_classes,
    read_pair,
    write_decathlon,
)
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
    assert [(name, path.name) for name, (path,), _ in scans] == [("a", "a.NII.GZ")]


def test_the_layout_of_nnu_net_is_read(folder):
    number_channels(folder, 0)
    labels = {"background": 0, "liver": 1, "tumour": 2}
    about = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about))
    assert read_classes(folder) == ("background", "liver", "tumour")
    scans = find_scans(folder)
    assert [(name, path.name, truth.name) for name, (path,), truth in scans] == [
        ("a", "a_0000.nii.gz", "a.nii.gz")
    ]


def test_numbers_that_are_no_channels_stay_in_the_name(folder):
    for part in ("imagesTr", "labelsTr"):
        (folder / part / "a.nii.gz").rename(folder / part / "a_0000.nii.gz")
    assert [name for name, *_ in find_scans(folder)] == ["a_0000"]


def test_channels_in_files_of_their_own_are_read_in_their_order(folder):
    number_channels(folder, 1, 0)
    (scan,) = find_scans(folder)
    assert [path.name for path in scan.images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    write_nifti(image().with_array(-image().array).reorient("IPR"), scan.images[1])
    (first, second), truth = read_pair(scan.images, scan.labels)
    assert first.same_grid(second) and first.same_grid(truth)
    assert np.array_equal(second.array, -first.array)


def test_channels_along_a_fourth_axis_are_read(folder):
    nibabel = pytest.importorskip("nibabel")
    path = folder / "imagesTr" / "a.nii.gz"
    single = nibabel.load(path)
    both = np.stack([single.get_fdata(), 100 + single.get_fdata()], axis=-1).astype(np.float32)
    nibabel.Nifti1Image(both, single.affine).to_filename(path)
    channels, truth = read_pair(*find_scans(folder)[0][1:])
    assert [np.array_equal(c.array, image().array + 100 * k) for k, c in enumerate(channels)] == [
        True, True
    ]  # fmt: skip
    assert all(channel.same_grid(truth) for channel in channels)
    nibabel.Nifti1Image(both[..., None, :], single.affine).to_filename(path)
    with pytest.raises(ValueError, match="3-D images of one grid, got shape .4, 3, 2, 1, 2."):
        read_pair(*find_scans(folder)[0][1:])


def test_what_is_wrong_with_channels_is_named(folder):
    number_channels(folder, 0, 2)
    with pytest.raises(FileNotFoundError, match="imagesTr/a_0001.nii.gz is not in"):
        find_scans(folder)
    (folder / "imagesTr" / "a_0002.nii.gz").rename(folder / "imagesTr" / "a_0001.nii.gz")
    write_nifti(image().crop((0, 0, 0), (1, 3, 4)), folder / "imagesTr" / "a_0001.nii.gz")
    with pytest.raises(ValueError, match="a_0000.nii.gz, a_0001.nii.gz: the channels .* grids"):
        read_pair(*find_scans(folder)[0][1:])
    (folder / "imagesTr" / "a.nii.gz").write_bytes(
        (folder / "imagesTr" / "a_0000.nii.gz").read_bytes()
    )
    with pytest.raises(ValueError, match="a has two images, a.nii.gz and a_0000.nii.gz"):
        find_scans(folder)


@pytest.mark.parametrize(
    ("about", "count", "named"),
    [
        ({}, 2, 1),
        ({"channel_names": {"0": "T1", "1": "T2"}}, 1, 2),
        ({"modality": {"0": "MRI"}}, 190, 1),
        ({"modality": "MRI"}, 3, 1),
        ([], 3, 1),
    ],
)
def test_channels_that_no_one_has_named_are_refused(folder, about, count, named):
    (folder / "dataset.json").write_text(json.dumps(about))
    check_channels(folder, named)
    with pytest.raises(ValueError, match=f"have {count} channels, but dataset.json names {named}"):
        check_channels(folder, count)


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
    (scan,), labels = read_pair(*find_scans(folder)[0][1:])
    path = folder / "labelsTr" / "a.nii.gz"
    for axes in ("IPR", "LSA", "PIL"):
        write_nifti(labels.reorient(axes), path)
        turned = read_pair(*find_scans(folder)[0][1:])[1]
        assert turned.same_grid(scan) and np.array_equal(turned.array, labels.array), axes


def test_labels_on_another_grid_are_refused_with_the_cure(folder):
    write_nifti(image().crop((0, 0, 0), (1, 3, 4)), folder / "labelsTr" / "a.nii.gz")
    with pytest.raises(ValueError, match="a.nii.gz: image and labels .*convert LABELS .*--like"):
        read_pair(*find_scans(folder)[0][1:])


def test_inspect_looks_through_a_folder_of_scans_with_labels(folder, capsys):
    assert main(["inspect", str(folder)]) == 0
    first, total = capsys.readouterr().out.splitlines()
    assert first == "a: 2 slices of 3 x 4, spacing 3 x 1 x 2 mm, axes SPL, labels 0 1"
    assert total == "1 scans with labels, 0 problems"
    halves = image().with_array(image().array * 0 + 0.5)
    write_nifti(halves, folder / "labelsTr" / "a.nii.gz")
    assert main(["inspect", str(folder)]) == 1
    assert "labels must be whole numbers from 0, got values from 0.5" in capsys.readouterr().out
    (folder / "labelsTr" / "a.nii.gz").write_bytes(b"no image")
    assert main(["inspect", str(folder)]) == 1
    told = capsys.readouterr().out
    assert "a: problem: a.nii.gz" in told and "1 scans with labels, 1 problems" in told


def test_inspect_says_how_nifti_files_are_given(folder, capsys):
    assert main(["inspect", str(folder / "imagesTr")]) == 2
    told = capsys.readouterr().err
    assert "1 that are not DICOM (a.nii.gz); give a NIfTI file itself, or the folder in" in told
