from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from segedu.data.cityscapes import (
    FIRST_THING,
    TRAIN_CLASSES,
    TRAIN_ID_OF,
    Cityscapes,
    CityscapesObjects,
)
from segedu.data.images import read_values
from tests.real_data import REAL, needs

FOLDER = REAL / "cityscapes_layout_from_camvid"
SHIPPED = Path(__file__).parents[2] / "data" / "cityscapes"
needs_real = needs("cityscapes_layout_from_camvid")


@pytest.fixture
def root(tmp_path):
    """A picture in each of two cities; the values 0..33 in each."""
    for city in ("bonn", "aachen"):
        images = tmp_path / "leftImg8bit" / "val" / city
        labels = tmp_path / "gtFine" / "val" / city
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        Image.new("RGB", (17, 2)).save(images / f"{city}_000000_000019_leftImg8bit.png")
        values = np.arange(34, dtype=np.uint8).reshape(2, 17)
        Image.fromarray(values).save(labels / f"{city}_000000_000019_gtFine_labelIds.png")
    return tmp_path


def test_label_ids_become_train_ids(root):
    data = Cityscapes(root, "val")
    assert [image.parent.name for image, _ in data.pairs] == ["aachen", "bonn"]
    mask = data[0]["mask"].flatten().tolist()
    assert [mask[label_id] for label_id in (7, 8, 26, 33)] == [0, 1, 13, 18]
    assert mask.count(255) == 34 - 19
    assert data.num_classes == len(data.classes) == len(data.classes_zh) == len(data.colors) == 19


@pytest.mark.oracle
def test_table_is_the_official_one():
    official = [entry for entry in datasets.Cityscapes.classes if entry.id >= 0]
    trained = {entry.id: entry.train_id for entry in official if not entry.ignore_in_eval}
    assert {key: value for key, value in TRAIN_ID_OF.items() if value != 255} == trained
    assert set(TRAIN_ID_OF) == {entry.id for entry in official}
    by_id = {entry.id: entry for entry in official}
    for item in TRAIN_CLASSES:
        assert item.name == by_id[item.label_id].name
        assert item.color == by_id[item.label_id].color


def test_errors_name_what_is_wrong(root):
    with pytest.raises(ValueError, match="split must be one of train, val, test; got 'demo'"):
        Cityscapes(root, "demo")
    with pytest.raises(FileNotFoundError, match="train: no such folder"):
        Cityscapes(root, "train")
    label = root / "gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png"
    Image.fromarray(np.full((2, 17), 34, dtype=np.uint8)).save(label)
    with pytest.raises(ValueError, match=r"labelIds.png: holds the value 34 .*allowed are 0\.\.33"):
        Cityscapes(root, "val")[1]
    label.unlink()
    with pytest.raises(FileNotFoundError, match="bonn_000000_000019_gtFine_labelIds.png: no such"):
        Cityscapes(root, "val")
    for folder in ("leftImg8bit", "gtFine"):
        (root / folder / "test").mkdir()
    with pytest.raises(FileNotFoundError, match="no .*leftImg8bit.png below"):
        Cityscapes(root, "test")


@needs_real
def test_real_files_agree_with_their_train_ids():
    assert len(Cityscapes(FOLDER, "train")) == 4
    data = Cityscapes(FOLDER, "val")
    assert len(data) == 2
    for (_, label_path), sample in zip(data.pairs, data, strict=True):
        official = label_path.with_name(label_path.name.replace("labelIds", "labelTrainIds"))
        np.testing.assert_array_equal(sample["mask"], read_values(official))


@pytest.fixture
def objects(root):
    """The picture of aachen with instance ids: road, a person, two cars, a group of cars, ..."""
    for city in ("aachen", "bonn"):
        ids = np.full((2, 17), 7, dtype=np.uint16)
        ids[0, :8] = [24000, 26001, 26001, 26002, 26, 29000, 4, 0]  # 29: caravan, not evaluated
        path = root / "gtFine/val" / city / f"{city}_000000_000019_gtFine_instanceIds.png"
        Image.fromarray(ids).save(path)
    return root


def test_panoptic_segments(objects):
    data = CityscapesObjects(objects, "val", task="panoptic")
    sample = data[0]
    assert sample["panoptic_seg"][0, :9].tolist() == [24000, 26001, 26001, 26002, 26, 0, 0, 0, 7]
    found = {s["id"]: (s["category_id"], s["iscrowd"], s["area"]) for s in sample["segments_info"]}
    assert found == {
        **{7: (0, 0, 26), 26: (13, 1, 1), 24000: (11, 0, 1)},
        **{26001: (13, 0, 2), 26002: (13, 0, 1)},
    }
    assert data.num_classes == 19
    assert [data.classes[i] for i, thing in data.isthing.items() if thing] == [
        *("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ]


@pytest.mark.oracle
def test_things_are_the_official_ones():
    official = {e.train_id: e.has_instances for e in datasets.Cityscapes.classes}
    assert all(official[i] == (i >= FIRST_THING) for i in range(19))


def test_instances(objects):
    data = CityscapesObjects(objects, "val")
    sample = data[0]
    assert data.classes[:4] == ("background", "person", "rider", "car") and data.num_classes == 9
    assert sample["labels"].tolist() == [3, 1, 3, 3]
    assert sample["iscrowd"].tolist() == [1, 0, 0, 0] and sample["area"].tolist() == [1, 1, 2, 1]


def test_object_errors_name_what_is_wrong(objects):
    path = objects / "gtFine/val/aachen/aachen_000000_000019_gtFine_instanceIds.png"
    for wrong in (34, 999, 34000):
        Image.fromarray(np.full((2, 17), wrong, dtype=np.uint16)).save(path)
        with pytest.raises(ValueError, match=rf"instanceIds.png: holds the id {wrong}; allowed"):
            CityscapesObjects(objects, "val")[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match="aachen_000000_000019_gtFine_instanceIds.png: no"):
        CityscapesObjects(objects, "val")
    with pytest.raises(ValueError, match="split must be one of train, val, test; got 'demo'"):
        CityscapesObjects(objects, "demo")


def test_shipped_objects_agree_with_their_labels():
    semantic = Cityscapes(SHIPPED, "val")
    panoptic = CityscapesObjects(SHIPPED, "val", task="panoptic")
    for one, two, three in zip(semantic, panoptic, CityscapesObjects(SHIPPED, "val"), strict=True):
        mask = torch.full_like(one["mask"], 255)
        for segment in two["segments_info"]:
            mask[two["panoptic_seg"] == segment["id"]] = segment["category_id"]
        assert torch.equal(mask, one["mask"])
        things = [s for s in two["segments_info"] if s["isthing"]]
        assert len(three["labels"]) == len(things) and three["area"].tolist() == [
            s["area"] for s in things
        ]


@needs_real
def test_real_layout_without_instance_ids():
    with pytest.raises(FileNotFoundError, match=r"_gtFine_instanceIds.png: no such file \(2 of 4"):
        CityscapesObjects(FOLDER, "val")
