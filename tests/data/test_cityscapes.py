import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from segedu.data.cityscapes import TRAIN_CLASSES, TRAIN_ID_OF, Cityscapes
from segedu.data.pairs import read_values

DATA = os.environ.get("SEGEDU_DATA")
REAL = Path(DATA or "absent") / "cityscapes_layout_from_camvid"
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="needs SEGEDU_DATA with cityscapes_layout_from_camvid"
)


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
    assert len(Cityscapes(REAL, "train")) == 4
    data = Cityscapes(REAL, "val")
    assert len(data) == 2
    for (_, label_path), sample in zip(data.pairs, data, strict=True):
        official = label_path.with_name(label_path.name.replace("labelIds", "labelTrainIds"))
        np.testing.assert_array_equal(sample["mask"], read_values(official))
