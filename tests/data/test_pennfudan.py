import numpy as np
import pytest
import torch
from PIL import Image

from segedu.data.pennfudan import PennFudan
from segedu.data.segments import Category

CELL = Category("cell", "细胞", (1, 2, 3), isthing=True)


@pytest.fixture
def root(tmp_path):
    """Two images; the first with the objects 1 and 4, the second with none."""
    numbers = np.zeros((6, 8), dtype=np.uint8)
    numbers[1:3, 1:4], numbers[4, 7] = 4, 1
    for name, mask in (("A", numbers), ("B", 0 * numbers)):
        for folder, file, picture in (
            ("PNGImages", f"{name}.png", np.full((6, 8, 3), 9, dtype=np.uint8)),
            ("PedMasks", f"{name}_mask.png", mask),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / folder / file)
    return tmp_path


def test_instances(root):
    data = PennFudan(root)
    assert len(data) == 2 and data.classes == ("background", "person")
    assert data.num_classes == 2 and data.classes_zh == ("背景", "行人")
    sample = data[0]
    assert sample["labels"].tolist() == [1, 1]
    assert sample["boxes"].tolist() == [[7, 4, 8, 5], [1, 1, 4, 3]]
    assert sample["area"].tolist() == [1, 6] and sample["masks"].dtype == torch.bool
    assert data[1]["masks"].shape == (0, 6, 8) and data[1]["image_id"] == 1


def test_panoptic(root):
    data = PennFudan(root, task="panoptic", category=CELL)
    assert data.isthing == {0: False, 1: True} and data.classes == ("background", "cell")
    sample = data[0]
    assert sample["panoptic_seg"].unique().tolist() == [1, 4, 5]
    assert [(s["id"], s["category_id"], s["area"]) for s in sample["segments_info"]] == [
        *((1, 1, 1), (4, 1, 6), (5, 0, 41)),
    ]
    assert [segment["category_id"] for segment in data[1]["segments_info"]] == [0]


def test_an_object_that_fills_the_image_leaves_no_background(root):
    Image.fromarray(np.full((6, 8), 300, dtype=np.uint16)).save(root / "PedMasks/B_mask.png")
    sample = PennFudan(root, task="panoptic")[1]
    assert sample["segments_info"] == [
        {"id": 300, "category_id": 1, "isthing": True, "iscrowd": 0, "area": 48}
    ]


def test_errors_name_what_is_wrong(root):
    with pytest.raises(
        ValueError, match="task must be one of semantic, instance, panoptic; got 'boxes'"
    ):
        PennFudan(root, task="boxes")
    mask = root / "PedMasks/A_mask.png"
    Image.new("RGB", (8, 6), "red").save(mask)
    with pytest.raises(ValueError, match="A_mask.png: a label file must hold one number per pixel"):
        PennFudan(root)[0]
    Image.new("L", (6, 8)).save(mask)
    with pytest.raises(ValueError, match="A_mask.png: is 6 x 8 pixels, but its image A.png is 8 x"):
        PennFudan(root)[0]
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=r"A_mask.png: no such file \(1 of 4"):
        PennFudan(root)
    for image in (root / "PNGImages").iterdir():
        image.unlink()
    with pytest.raises(FileNotFoundError, match="no image in this folder"):
        PennFudan(root)
    with pytest.raises(FileNotFoundError, match="none.PNGImages: no such folder"):
        PennFudan(root / "none")
