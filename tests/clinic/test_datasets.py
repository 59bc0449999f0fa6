import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from segedu.clinic import examine, examine_datasets
from segedu.data import open_dataset
from tests.real_data import REAL, needs

SHIPPED = Path(__file__).parents[2] / "data"
OWN = {"classes": ["back", "cat", "dog"]}


def save(path, array, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path, **settings)


@pytest.fixture
def root(tmp_path):
    """Four sound training images and two of validation, each with all three classes."""
    rng = np.random.default_rng(0)
    for split, names in (("train", "abcd"), ("val", "ef")):
        for name in names:
            save(tmp_path / split / "images" / f"{name}.png", rng.integers(0, 256, (8, 9, 3)))
            mask = np.zeros((8, 9))
            mask[:2], mask[2:5], mask[7] = 1, 2, 255
            save(tmp_path / split / "masks" / f"{name}.png", mask)
    return tmp_path


def kinds(result):
    return {(finding.level, finding.kind) for finding in result.findings}


def test_sound_data(root, tmp_path):
    result = examine("folders", root, picture=tmp_path / "sheet.png", **OWN)
    assert result.verdict == "ok" and result.findings == []
    train = result.splits["train"]
    assert (train.images, train.usable, train.sizes) == (4, 4, {"9 x 8": 4})
    assert [(c.name, c.images, c.pixels) for c in train.classes] == [
        *(("back", 4, 4 * 18), ("cat", 4, 4 * 18), ("dog", 4, 4 * 27)),
    ]
    assert train.void == 1 / 8
    assert json.loads(json.dumps(result.to_dict()))["verdict"] == "ok"
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 400 and len(sheet.getcolors(10**6)) > 50


def blob(value, *places):
    """A mask of 20 x 24 pixels: 0, and a value in these rectangles (top, left, bottom, right)."""
    mask = np.zeros((20, 24))
    for top, left, bottom, right in places:
        mask[top:bottom, left:right] = value
    return mask


BORDERED = blob(255, (4, 4, 14, 16)) + blob(1 - 255, (5, 5, 13, 15))  # as in VOC
FRAMED = blob(1, (5, 5, 13, 15)) + blob(255, (18, 0, 20, 24))  # as in Cityscapes
OBJECT = blob(255, (6, 7, 12, 14))


@pytest.mark.parametrize(
    ("others", "mask", "named"),
    [
        (blob(1, (2, 2, 9, 9)), OBJECT, True),
        (blob(1, (2, 2, 9, 9)), blob(255, (0, 0, 5, 9)), True),  # it leaves the image
        (blob(1, (2, 2, 9, 9)), blob(255, (6, 7, 7, 8)), True),  # of one pixel
        (BORDERED, OBJECT, True),
        (FRAMED, OBJECT, True),
        (BORDERED, blob(255, (0, 0, 20, 2)), False),
        (FRAMED, blob(255, (18, 0, 20, 24)), False),
        (FRAMED, blob(255, (18, 0, 20, 24), (9, 3, 10, 20)), False),  # a line
        (FRAMED, np.zeros((20, 24)), False),
        (BORDERED, BORDERED, False),
    ],
)
def test_one_black_and_white_mask_among_others_is_named(tmp_path, others, mask, named):
    rng = np.random.default_rng(0)
    for number in range(4):
        save(tmp_path / "images" / f"{number}.png", rng.integers(0, 256, (20, 24, 3)))
        save(tmp_path / "masks" / f"{number}.png", mask if number == 2 else others)
    found = {f.kind: f for f in examine("folders", tmp_path, classes=["back", "car"]).findings}
    assert ("black and white" in found) == named
    if named:
        finding = found["black and white"]
        assert finding.examples == ("2.png",) and "1 of 4 masks hold 0 and 255" in finding.message
        assert "masks='binary'" in finding.cure


def test_all_masks_black_and_white_are_told_once(tmp_path):
    for number in range(4):
        save(tmp_path / "images" / f"{number}.png", np.full((20, 24, 3), 50 * number))
        save(tmp_path / "masks" / f"{number}.png", OBJECT)
    found = {f.kind: f for f in examine("folders", tmp_path, classes=["back", "car"]).findings}
    assert len(found["unusable"].examples) == 1
    assert "the 4 label files hold 0 and 255 alone" in found["unusable"].examples[0]
    found = examine("folders", tmp_path, masks="binary", classes=["back", "car"]).findings
    assert not any(f.kind in ("unusable", "black and white") for f in found)


@pytest.mark.filterwarnings("ignore:.*left out")
def test_every_fault_is_found(root):
    images, masks = root / "train/images", root / "train/masks"
    save(masks / "a.png", np.full((8, 9), 7))  # no class
    save(masks / "b.png", np.full((8, 9), 255))  # refused: it may be a black and white mask
    (images / "c.png").write_bytes(b"broken")
    save(images / "alone.png", np.zeros((8, 9)))  # no mask
    save(root / "val/images/g.png", np.array(Image.open(images / "d.png")))  # a leak
    save(root / "val/masks/g.png", np.array(Image.open(masks / "d.png")))
    result = examine("folders", root, **OWN)
    assert result.verdict == "errors"
    assert kinds(result) == {
        *(("error", "unusable"), ("error", "leak"), ("warning", "skipped")),
    }
    assert [finding.level for finding in result.findings] == ["error", "error", "warning"]
    unusable = next(f for f in result.findings if f.kind == "unusable")
    assert unusable.message == "train: 3 of 4 samples cannot be used"
    for text, part in zip(unusable.examples, ("value 7", "255", "not a readable"), strict=True):
        assert part in text
    leak = next(f for f in result.findings if f.kind == "leak")
    assert leak.message.startswith("1 images occur in train and in val")
    assert leak.examples == ("d.png = g.png",)


def test_warnings(root):
    images, masks = root / "train/images", root / "train/masks"
    mask = np.full((8, 9), 255)
    mask[0, 0] = 1
    save(masks / "a.png", mask)
    save(images / "a.png", np.full((8, 9), 3))  # one value
    dark = np.full((8, 9), 3)
    dark[0, 0] = 9
    save(images / "b.png", dark)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    save(images / "c.png", np.arange(72).reshape(8, 9), exif=exif)
    save(images / "d.png", np.arange(72).reshape(8, 9)[::-1, ::-1])  # what c is when turned
    for name in "ef":
        save(root / f"val/masks/{name}.png", np.eye(8, 9))
    result = examine("folders", root, **OWN)
    assert result.verdict == "warnings"
    assert kinds(result) == {
        *(("warning", "flat"), ("warning", "dark"), ("warning", "turned"), ("warning", "copies")),
        ("note", "absent"),  # class 2 in val
    }


def test_label_files_without_any_class(root):
    data = open_dataset("folders", root, "train", classes=["void=0", "a=1", "b=2"])
    save(root / "train/masks/a.png", np.zeros((8, 9)))
    result = examine_datasets({"train": data})
    assert [(f.kind, f.examples) for f in result.findings] == [("void", ("a.png",))]
    assert result.splits["train"].classes[0].images == 3


def test_black_and_white_masks(root):
    for path in root.glob("*/masks/*.png"):
        save(path, np.eye(8, 9) * 255)
    result = examine("folders", root, **OWN)
    unusable = [f for f in result.findings if f.kind == "unusable"]
    assert [f.message[:20] for f in unusable] == [
        "train: 4 of 4 samples"[:20],
        "val: 2 of 2 samples ",
    ]
    assert "masks='binary'" in unusable[0].examples[0]
    assert examine("folders", root, masks="binary").verdict == "ok"


def test_turned_labels_are_unusable_and_the_reason_is_said(root):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    save(root / "val/images/e.png", np.arange(72).reshape(8, 9), exif=exif)
    result = examine("folders", root, **OWN)
    assert "EXIF" in next(f for f in result.findings if f.kind == "unusable").examples[0]


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_objects_are_counted(task, tmp_path):
    result = examine("coco", SHIPPED / "coco", task=task, picture=tmp_path / "sheet.png")
    person = result.splits["train"].classes[1]
    assert person.name == "person" and person.images == 16 and person.objects == 45
    assert result.verdict == "ok" and (tmp_path / "sheet.png").stat().st_size > 10_000


def test_parts_of_a_set_without_splits(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abcdef":
        save(tmp_path / f"images/{name}.png", rng.integers(0, 256, (8, 9)))
        save(tmp_path / f"masks/{name}.png", np.eye(8, 9))
    classes = ["back", "line"]
    assert examine("folders", tmp_path, classes=classes).splits["all"].images == 6
    divided = examine("folders", tmp_path, classes=classes, val_split=0.34, channels=1).splits
    assert {split: count.images for split, count in divided.items()} == {"train": 3, "val": 3}


def test_nothing_to_examine():
    with pytest.raises(ValueError, match="one split or more"):
        examine_datasets({})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        examine("voc", "nowhere")


@needs("isbi2012_em")
def test_real_membranes():
    places = {"image_folder": "image", "mask_folder": "label", "val_split": 0.2}
    root = REAL / "isbi2012_em/membrane/train"
    assert examine("folders", root, classes=["a", "b"], **places).verdict == "errors"
    result = examine("folders", root, classes=["membrane=0", "cell=255"], channels=1, **places)
    assert result.verdict == "ok"
    membrane = result.splits["train"].classes[0]
    assert 0.18 < membrane.pixels / (19 * 512 * 512) < 0.27


@needs("coco128_seg")
def test_real_yolo_text():
    classes = [f"class {k}" for k in range(80)]
    result = examine("yolo", REAL / "coco128_seg", classes=classes)
    split = result.splits["train2017"]
    assert split.images == split.usable == 108
    assert sum(count.objects for count in split.classes) == 825
    assert sum(count.images > 0 for count in split.classes) == 71
    assert ("note", "without objects") in kinds(result)


def shapes(number, size=24):
    """An image of three grey bands of random widths, and its labels."""
    rng = np.random.default_rng(number)
    mask = np.repeat(np.arange(3), rng.multinomial(size, [1 / 3] * 3))[:, None].repeat(size, 1)
    return 60 * mask[..., None].repeat(3, 2) + rng.integers(0, 40, (size, size, 3)), mask


@pytest.mark.parametrize("fault", [None, "pairs", "interpolated labels", "one label"])
def test_labels_are_judged_by_the_rules_of_a_checkup(fault, tmp_path):
    for number in range(12):
        image, mask = shapes(number)
        if fault == "pairs":
            mask = shapes(number + 1)[1]
        if fault == "interpolated labels":  # between 0 and 2 lies a line of 1
            mask = np.where(mask > 0, 2, 0)
            mask = np.maximum(mask, np.roll(mask, -1, 0) // 2)
        if fault == "one label":
            mask = np.zeros_like(mask)
        save(tmp_path / f"images/{number:02}.png", image)
        save(tmp_path / f"masks/{number:02}.png", mask)
    found = examine("folders", tmp_path, **OWN).findings
    assert [f.kind for f in found if f.kind != "absent"] == ([fault] if fault else [])
    assert all(f.message.startswith("all: ") for f in found)
