from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segedu.data.object_folders import ObjectFolders
from segedu.metrics import AveragePrecision, PanopticQuality
from tests.real_data import REAL, needs

FOLDER = REAL / "dsb2018_nuclei" / "stage1_train"
GOLDEN = Path(__file__).parent / "golden" / "nuclei"
needs_real = needs("dsb2018_nuclei/stage1_train")


def save_mask(path: Path, rows: slice, columns: slice, value: int = 255) -> None:
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[rows, columns] = value
    Image.fromarray(mask).save(path)


@pytest.fixture
def root(tmp_path):
    """Folders a (two objects) and b (none); the images have an alpha channel."""
    for name in "ab":
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "masks").mkdir()
        Image.new("RGBA", (8, 6), (10, 20, 30, 0)).save(tmp_path / name / "images" / f"{name}.png")
    save_mask(tmp_path / "a/masks/1.png", slice(0, 2), slice(0, 3))
    save_mask(tmp_path / "a/masks/2.png", slice(3, 6), slice(5, 8), value=1)
    return tmp_path


def test_instances(root):
    data = ObjectFolders(root)
    assert data.names == ["a", "b"] and data.classes == ("background", "nucleus")
    sample = data[0]
    assert sample["image"][:, 0, 0].tolist() == [10, 20, 30]  # transparency is dropped
    assert sample["boxes"].tolist() == [[0, 0, 3, 2], [5, 3, 8, 6]]
    assert sample["labels"].tolist() == [1, 1] and sample["area"].tolist() == [6, 9]
    assert data[1]["masks"].shape == (0, 6, 8)


def test_panoptic(root):
    sample = ObjectFolders(root, ["a"], task="panoptic")[0]
    assert [(s["id"], s["category_id"], s["area"]) for s in sample["segments_info"]] == [
        *((1, 1, 6), (2, 1, 9), (3, 0, 33)),
    ]
    assert sample["panoptic_seg"][0].tolist() == [1, 1, 1, 3, 3, 3, 3, 3]


def test_overlapping_objects_have_no_panoptic_map(root):
    save_mask(root / "a/masks/3.png", slice(0, 1), slice(0, 8))
    assert ObjectFolders(root)[0]["area"].tolist() == [6, 9, 8]
    with pytest.raises(ValueError, match="3.png: overlaps with 1.png"):
        ObjectFolders(root, task="panoptic")[0]


def test_errors_name_what_is_wrong(root):
    with pytest.raises(FileNotFoundError, match="c.images: no such folder; .* one image"):
        ObjectFolders(root, ["c"])
    with pytest.raises(ValueError, match="task must be one of semantic, instance, .*'boxes'"):
        ObjectFolders(root, task="boxes")
    with pytest.raises(FileNotFoundError, match="no folder of an image"):
        ObjectFolders(root / "a" / "masks")
    mask = root / "a/masks/2.png"
    save_mask(mask, slice(0), slice(0))
    with pytest.raises(ValueError, match=r"2.png: holds the values \[0\]; .* one value besides 0"):
        ObjectFolders(root)[0]
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(mask)
    with pytest.raises(ValueError, match=r"2.png: holds the values \[0, 1, 2, 3, 4\]"):
        ObjectFolders(root)[0]
    Image.new("L", (8, 7), 1).save(mask)
    with pytest.raises(ValueError, match="2.png: is 8 x 7 pixels, but its image a.png is 8 x 6"):
        ObjectFolders(root)[0]
    (root / "a/images/a.png").unlink()
    with pytest.raises(ValueError, match="a.images: must hold one image, holds 0"):
        ObjectFolders(root)


def test_golden_nuclei():
    data = ObjectFolders(GOLDEN)
    sample = data[0]
    assert sample["image"].shape == (3, 256, 256) and len(sample["labels"]) == 19
    path = next(GOLDEN.glob("*/images/*.png"))
    assert Image.open(path).mode == "RGBA"
    counts = [np.count_nonzero(Image.open(p)) for p in sorted(GOLDEN.glob("*/masks/*.png"))]
    assert sample["area"].tolist() == counts
    scores = {"scores": sample["area"] / sample["area"].max()}
    metric = AveragePrecision()
    metric.update([{**sample, **scores}], [sample])
    assert metric.compute()["AP"] == 1

    data = ObjectFolders(GOLDEN, task="panoptic")
    metric = PanopticQuality(data.isthing)
    metric.update(data[0], data[0])
    assert metric.compute()["pq"] == 1


@needs_real
def test_real_files():
    data = ObjectFolders(FOLDER)
    assert len(data) == 78
    assert sum(len(masks) for masks in data.label_paths) == 3630
    # one image of each small size: grey of 256, colour of 320 x 256, grey of 360 and 347 x 260
    seen = {}
    for index, image in enumerate(data.image_paths):
        with Image.open(image) as opened:
            seen.setdefault(opened.size, index)
    assert len(seen) == 7
    for index in (index for size, index in seen.items() if size[0] < 500):
        sample = data[index]
        assert sample["image"].shape[0] == 3
        assert (sample["masks"].sum(0) <= 1).all()  # no two nuclei overlap
        panoptic = ObjectFolders(FOLDER, data.names[index : index + 1], task="panoptic")[0]
        assert len(panoptic["segments_info"]) == len(sample["labels"]) + 1
