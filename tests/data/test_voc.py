from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from segedu.data.voc import CLASSES, CLASSES_ZH, VOCObjects, VOCSegmentation, colormap
from tests.real_data import REAL, needs

FOLDER = REAL / "voc_layout"
SHIPPED = Path(__file__).parents[2] / "data" / "voc"
needs_real = needs("voc_layout")


@pytest.fixture
def root(tmp_path):
    """Two small pictures in the layout of the devkit."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for number, name in enumerate(("2007_000001", "2007_000002")):
        labels = np.zeros((8, 10), dtype=np.uint8)
        labels[2:5, 2:5] = 15 + number
        labels[5, 2:5] = 255
        picture = Image.fromarray(labels).convert("P")
        picture.putpalette([channel for color in colormap(256) for channel in color])
        picture.save(folder / "SegmentationClass" / f"{name}.png")
        Image.new("RGB", (10, 8), "gray").save(folder / "JPEGImages" / f"{name}.jpg")
    (folder / "ImageSets/Segmentation/train.txt").write_text("2007_000001\n2007_000002\n")
    (folder / "ImageSets/Segmentation/val.txt").write_text("\n")
    return tmp_path


def test_sample(root):
    data = VOCSegmentation(root, "train")
    assert len(data) == 2
    assert data[1]["mask"].unique().tolist() == [0, 16, 255]
    assert data[0]["image"].shape == (3, 8, 10)
    assert data.num_classes == len(data.classes) == len(data.classes_zh) == len(data.colors) == 21


def test_same_pixels_as_torchvision(root):
    ours = VOCSegmentation(root, "train")
    theirs = datasets.VOCSegmentation(root, year="2012", image_set="train")
    for sample, (image, labels) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), np.array(image))
        np.testing.assert_array_equal(sample["mask"], np.array(labels))


def test_colormap_is_the_published_one():
    palette = colormap(256)
    assert palette[:3] == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    assert palette[15] == (192, 128, 128)
    assert palette[255] == (224, 224, 192)
    assert len(set(palette)) == 256
    assert len(CLASSES) == len(CLASSES_ZH) == 21


def test_other_classes_in_this_layout(root):
    data = VOCSegmentation(root, "train", classes=["sky"] * 16 + ["car"])
    assert data.num_classes == 17
    with pytest.raises(
        ValueError, match=r"000002.png: holds the value 16 .*allowed are 0\.\.15, 255"
    ):
        VOCSegmentation(root, "train", classes=["sky"] * 16)[1]


def test_errors_name_what_is_wrong(root, tmp_path):
    with pytest.raises(ValueError, match="split must be one of train, val, .*; got 'test'"):
        VOCSegmentation(root, "test")
    with pytest.raises(ValueError, match="val.txt: is empty"):
        VOCSegmentation(root, "val")
    with pytest.raises(FileNotFoundError, match="VOC2007: no such folder"):
        VOCSegmentation(root, "train", year="2007")
    next(tmp_path.rglob("2007_000002.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"2007_000002.png: no such file \(1 of 4"):
        VOCSegmentation(root, "train")


def test_labels_saved_as_colors_are_refused(root, tmp_path):
    path = next(tmp_path.rglob("2007_000001.png"))
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(ValueError, match="2007_000001.png: a label file must hold one number"):
        VOCSegmentation(root, "train")[0]


@needs_real
def test_real_files():
    train, val = VOCSegmentation(FOLDER, "train"), VOCSegmentation(FOLDER, "val")
    assert len(train) + len(val) == len(VOCSegmentation(FOLDER, "trainval")) == 3
    found = {train.classes[label] for label in train[0]["mask"].unique().tolist() if label < 255}
    assert found == {"background", "bottle", "person"}
    for sample in (*train, *val):
        assert sample["image"].shape[1:] == sample["mask"].shape


@pytest.fixture
def objects(root):
    """The same pictures with object numbers: 1 and 2 of one class each, void between."""
    folder = root / "VOCdevkit" / "VOC2012"
    (folder / "SegmentationObject").mkdir()
    for name in ("2007_000001", "2007_000002"):
        numbers = np.array(Image.open(folder / "SegmentationClass" / f"{name}.png"))
        numbers[2:5, 2:5] = 2
        numbers[2, 2] = 1
        Image.fromarray(numbers).save(folder / "SegmentationObject" / f"{name}.png")
    return root


def test_objects(objects):
    data = VOCObjects(objects, "train")
    assert data.classes == CLASSES and data.num_classes == 21
    sample = data[1]
    assert sample["labels"].tolist() == [16, 16] and sample["area"].tolist() == [1, 8]
    assert sample["boxes"].tolist() == [[2, 2, 3, 3], [2, 2, 5, 5]]


def test_panoptic_background_and_void(objects):
    data = VOCObjects(objects, "train", task="panoptic")
    sample = data[0]
    assert sample["panoptic_seg"][5].tolist() == [256] * 2 + [0] * 3 + [256] * 5
    assert [(s["category_id"], s["area"]) for s in sample["segments_info"]] == [
        *((15, 1), (15, 8), (0, 68)),
    ]
    assert data.isthing[15] and not data.isthing[0]


def test_objects_without_one_class(objects):
    folder = objects / "VOCdevkit" / "VOC2012"
    path = folder / "SegmentationObject" / "2007_000001.png"
    numbers = np.array(Image.open(path))
    numbers[4, 2:8] = 3
    Image.fromarray(numbers).save(path)
    with pytest.raises(ValueError, match=r"000001.png: object 3 has the classes \[0, 15\]"):
        VOCObjects(objects, "train")[0]
    numbers[2:5] = 0
    Image.fromarray(numbers).save(path)
    with pytest.raises(ValueError, match=r"000001.png: object 0 has the classes \[0, 15\]"):
        VOCObjects(objects, "train")[0]
    Image.fromarray(numbers[:5]).save(path)
    with pytest.raises(ValueError, match="SegmentationObject.*is 10 x 5 pixels, but .* is 10 x 8"):
        VOCObjects(objects, "train")[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"Object.2007_000001.png: no such file \(1 of 6"):
        VOCObjects(objects, "train")


def test_shipped_objects():
    for task in ("instance", "panoptic"):
        data = VOCObjects(SHIPPED, "val", task=task)
        assert len(data) == 8
        semantic = VOCSegmentation(SHIPPED, "val")
        for sample, truth in zip(data, semantic, strict=True):
            if task == "panoptic":
                area = sum(s["area"] for s in sample["segments_info"])
                assert area == (truth["mask"] != 255).sum()
            else:
                for mask, label in zip(sample["masks"], sample["labels"], strict=True):
                    assert (truth["mask"][mask] == label).all()


@needs_real
def test_real_objects():
    # two of the three pictures have void, and only in the file of classes
    void = 0
    for sample, labels in zip(
        VOCObjects(FOLDER, "trainval", task="panoptic"),
        VOCSegmentation(FOLDER, "trainval"),
        strict=True,
    ):
        assert torch.equal(sample["panoptic_seg"] == 0, labels["mask"] == 255)
        void += bool((labels["mask"] == 255).any())
    assert void == 2
    data = VOCObjects(FOLDER, "train")
    assert sorted(data.classes[label] for label in data[0]["labels"]) == [
        *("bottle", "person", "person"),
    ]
