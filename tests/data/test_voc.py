import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from segedu.data.voc import CLASSES, CLASSES_ZH, VOCSegmentation, colormap

DATA = os.environ.get("SEGEDU_DATA")
REAL = Path(DATA or "absent") / "voc_layout"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs SEGEDU_DATA with voc_layout")


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
    with pytest.raises(ValueError, match="split must be one of train, val, trainval; got 'test'"):
        VOCSegmentation(root, "test")
    with pytest.raises(FileNotFoundError, match="trainval.txt: no such file"):
        VOCSegmentation(root, "trainval")
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
    with pytest.raises(ValueError, match="2007_000001.png: a label file must hold one class index"):
        VOCSegmentation(root, "train")[0]


@needs_real
def test_real_files():
    train, val = VOCSegmentation(REAL, "train"), VOCSegmentation(REAL, "val")
    assert len(train) + len(val) == len(VOCSegmentation(REAL, "trainval")) == 3
    found = {train.classes[label] for label in train[0]["mask"].unique().tolist() if label < 255}
    assert found == {"background", "bottle", "person"}
    for sample in (*train, *val):
        assert sample["image"].shape[1:] == sample["mask"].shape
