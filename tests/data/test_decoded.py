"""Data sets kept decoded in a file: the same samples, of the same data set, whole or absent."""

import errno
import os
import warnings

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from segedu.data import LAYOUTS, decoded, open_dataset
from segedu.data.decoded import Decoded
from segedu.data.scenes import SceneDataset
from segedu.data.transforms import training
from segedu.data.views import Part, SingleClass, Transformed
from tests.data import tiny

WITH_FILES = [name for name in LAYOUTS if name != "scenes"]


def opened(layout, folder, **more):
    found = tiny.write(layout, folder)
    return open_dataset(found.layout, found.root, found.split, **found.options, **more)


def check_same(found, expected):
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert type(found[key]) is type(value)
        if not isinstance(value, torch.Tensor):
            assert found[key] == value
            continue
        assert found[key].dtype == value.dtype and torch.equal(found[key], value)
        if isinstance(value, tv_tensors.BoundingBoxes):
            assert found[key].format == value.format
            assert found[key].canvas_size == value.canvas_size


@pytest.mark.parametrize("layout", WITH_FILES)
def test_samples_of_every_layout_and_task_are_the_same(layout, tmp_path):
    every = LAYOUTS[layout].tasks
    without = ("voc", "cityscapes")  # their tiny data sets have no objects
    for task in every[:1] if layout in without else every:
        whole = opened(layout, tmp_path / task, task=task)
        for kept in (Decoded(whole, tmp_path / "kept"), Decoded(whole, tmp_path / "kept")):
            assert kept.classes == whole.classes and len(kept) == len(whole)
            for index in range(len(whole)):
                check_same(kept[index], whole[index])


def test_an_image_without_objects_has_empty_parts(tmp_path):
    whole = opened("coco", tmp_path / "coco", task="instance")
    empty = [{**whole[0], **{k: whole[0][k][:0] for k in ("labels", "area", "iscrowd")}}]
    empty[0]["masks"] = tv_tensors.Mask(whole[0]["masks"][:0])
    empty[0]["boxes"] = tv_tensors.wrap(whole[0]["boxes"][:0], like=whole[0]["boxes"])
    [data] = [decoded._packed(sample) for sample in empty]
    path = tmp_path / "one.bin"
    path.write_bytes(data)
    found = decoded._unpacked(decoded.np.memmap(path, "u1", "c", 0, (len(data),)))
    check_same(found, empty[0])


def test_a_file_is_read_and_not_decoded_again(tmp_path, monkeypatch):
    whole = opened("folders", tmp_path / "own")
    kept = Decoded(whole, tmp_path / "kept")
    before = kept[0]
    monkeypatch.setattr(type(whole), "__getitem__", None)  # calling it would fail
    check_same(Decoded(whole, tmp_path / "kept")[0], before)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [kept.path.name]


def test_what_is_changed_in_a_sample_stays_there(tmp_path):
    kept = Decoded(opened("folders", tmp_path / "own"), tmp_path / "kept")
    data, first = kept.path.read_bytes(), kept[0]
    first["image"].fill_(7)
    assert kept[0]["image"].max() > 7 and kept.path.read_bytes() == data
    with pytest.raises(IndexError):
        kept[len(kept)]


def test_worker_processes_share_the_file(tmp_path):
    kept = Decoded(opened("folders", tmp_path / "own"), tmp_path / "kept")
    whole = Transformed(
        Part(kept, [0] * 8), training((4, 6), scale=(1, 1), flip=False, color=False)
    )
    alone = [batch["image"] for batch in DataLoader(whole, 2)]
    shared = [batch["image"] for batch in DataLoader(whole, 2, num_workers=2)]
    assert torch.equal(torch.cat(alone), torch.cat(shared))


def test_changed_files_are_decoded_anew_and_the_old_ones_named(tmp_path):
    whole = opened("folders", tmp_path / "own")
    first = Decoded(whole, tmp_path / "kept")
    os.utime(whole.image_paths[0], ns=(1, 1))
    with pytest.warns(UserWarning, match=f"{first.path.name}: the files of the data set have"):
        second = Decoded(whole, tmp_path / "kept")
    assert second.path != first.path and first.path.exists()
    check_same(first[0], second[0])


def test_another_data_set_is_another_file(tmp_path):
    coco = opened("coco", tmp_path / "coco", task="instance")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of them is an older state of another
        kept = [
            Decoded(coco, tmp_path),
            Decoded(coco, tmp_path, white=255),
            Decoded(SingleClass(coco, "thing"), tmp_path),
            Decoded(opened("coco", tmp_path / "coco", task="semantic"), tmp_path),
            Decoded(opened("coco", tmp_path / "other", task="instance"), tmp_path),
        ]
    assert len({each.path for each in kept}) == 5


def test_random_numbers_are_not_frozen(tmp_path):
    transform = training(4)
    with pytest.raises(ValueError, match="dataset has transforms, .* the same in every epoch"):
        Decoded(opened("folders", tmp_path / "a", transforms=transform), tmp_path / "kept")
    whole = opened("folders", tmp_path / "b")
    with pytest.raises(ValueError, match="dataset has transforms"):
        Decoded(Part(Transformed(whole, transform), [0]), tmp_path / "kept")
    with pytest.raises(ValueError, match="dataset has no files"):
        Decoded(SceneDataset(1), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    whole = Part(opened("folders", tmp_path / "own"), [0] * 4)
    packed, written = decoded._packed, []

    def full(sample):
        written.append(1)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return packed(sample)

    monkeypatch.setattr(decoded, "_packed", full)
    with pytest.raises(OSError, match="no space left after 2 of 4 decoded samples, about 0 MiB"):
        Decoded(whole, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_damaged_file_is_named(tmp_path):
    whole = opened("folders", tmp_path / "own")
    path = Decoded(whole, tmp_path / "kept").path
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=f"{path.name}: does not hold 1 decoded samples; delete"):
        Decoded(whole, tmp_path / "kept")


def test_what_cannot_be_kept_is_named(tmp_path):
    whole = opened("folders", tmp_path / "own")

    def broken(value):
        class Broken(Part):
            def __getitem__(self, index):
                return {**super().__getitem__(index), "more": value}

        return Broken(whole, [0])

    with pytest.raises(TypeError, match="neither tensors nor plain values alone: .*complex"):
        Decoded(broken(1j), tmp_path / "kept")
    with pytest.raises(TypeError, match="more is a Parameter, which cannot be kept"):
        Decoded(broken(torch.nn.Parameter(torch.zeros(2))), tmp_path / "kept")
