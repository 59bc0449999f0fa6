"""Every layout through the one function that opens them, on small files and on real ones."""

import base64
import io
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segedu.data import LAYOUTS, find_splits, open_dataset
from segedu.data.classes import class_table
from segedu.data.labelme import shape_to_mask
from tests.data import tiny
from tests.real_data import REAL, needs

SHIPPED = Path(__file__).parents[2] / "data"


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)
    return path


def own_data(root, names="abcdefghij", masks="masks/{}.png", images="images/{}.png", value=1):
    """Images of their number's grey, masks with one object pixel there."""
    for number, name in enumerate(names):
        save(root / images.format(name), np.full((4, 5), number))
        mask = np.zeros((4, 5))
        mask.flat[number % 20] = value
        save(root / masks.format(name), mask)
    return root


def position(sample):
    """(grey of the image, place of the object): equal if image and mask belong together."""
    return int(sample["image"][0, 0, 0]), int(sample["mask"].flatten().argmax())


# ---------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    "images, masks",
    [
        ("images/{}.png", "masks/{}.png"),
        ("images/{}.PNG", "masks/{}_mask.png"),
        ("images/{}_image.bmp", "masks/{}-label.TIF"),
        ("images/{}.webp", "masks/{}_GT.gif"),
    ],
)
def test_names_are_matched_by_stem(tmp_path, images, masks):
    own_data(tmp_path, "ab", masks, images)
    data = open_dataset("folders", tmp_path, "all", classes=["back", "object"])
    assert len(data) == 2 and not data.skipped
    assert data.classes == data.classes_zh == ("back", "object") and data.num_classes == 2
    if "webp" not in images:
        assert [position(sample) for sample in data] == [(0, 0), (1, 1)]


def test_what_has_no_partner_is_counted(tmp_path):
    own_data(tmp_path, "ab")
    save(tmp_path / "images/lonely.PNG", np.zeros((4, 5)))
    save(tmp_path / "masks/other_mask.png", np.zeros((4, 5)))
    (tmp_path / "images/notes.txt").write_text("")
    with pytest.warns(UserWarning, match="3 left out"):
        data = open_dataset("folders", tmp_path, "all", classes=["back", "object"])
    assert len(data) == 2
    assert {(entry.path.name, entry.reason) for entry in data.skipped} == {
        ("lonely.PNG", "no mask"),
        ("other_mask.png", "a mask without an image"),
        ("notes.txt", "not an image"),
    }


def test_classes_that_are_missing_are_told_by_their_values(tmp_path):
    own_data(tmp_path / "a", "ab", value=7)
    with pytest.raises(ValueError, match="for each value; the masks hold 0, 7$"):
        open_dataset("folders", tmp_path / "a", "all")
    data = open_dataset("folders", tmp_path / "a", "all", classes=["back", "object"])
    with pytest.raises(ValueError, match="the value 7 that is no label here; .* or void=7 to"):
        data[0]
    own_data(tmp_path / "b", "ab", value=255)
    with pytest.raises(ValueError, match=r"hold 0 and 255: .* \(masks='binary'\)"):
        open_dataset("folders", tmp_path / "b", "all")


def test_names_that_do_not_match(tmp_path):
    save(tmp_path / "images/a.png", np.zeros((4, 5)))
    save(tmp_path / "masks/b.png", np.zeros((4, 5)))
    with pytest.raises(ValueError, match="no image has a mask; .* 'a', .* 'b'"):
        open_dataset("folders", tmp_path, "all", classes=["x"])
    save(tmp_path / "masks/a.png", np.zeros((4, 5)))
    save(tmp_path / "masks/a_mask.png", np.zeros((4, 5)))
    with pytest.raises(ValueError, match="a_mask.png: a.png would be the same sample"):
        open_dataset("folders", tmp_path, "all", classes=["x"])
    data = open_dataset("folders", tmp_path, "all", classes=["x"], mask_suffix="_mask")
    assert [path.name for _, path in data.pairs] == ["a_mask.png"]


@pytest.mark.parametrize("order", ["{split}/images/{name}", "images/{split}/{name}"])
def test_splits_as_folders(tmp_path, order):
    masks = order.replace("images", "masks")
    for split, names in (("train", "abc"), ("val", "d"), ("test", "ef")):
        own_data(
            tmp_path,
            names,
            masks.format(split=split, name="{}.png"),
            order.format(split=split, name="{}.png"),
        )
    assert find_splits("folders", tmp_path) == ("test", "train", "val")
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        data = open_dataset("folders", tmp_path, split, classes=["a", "b"], val_split=0.5)
        assert len(data) == count  # its own val counts, not the share
    with pytest.raises(ValueError, match="split must be one of test, train, val; got 'all'"):
        open_dataset("folders", tmp_path, "all", classes=["a", "b"])


def test_splits_as_lists(tmp_path):
    own_data(tmp_path)
    (tmp_path / "train.txt").write_text("b\na.png\n")
    (tmp_path / "val.txt").write_text("c\nmissing\n")
    data = open_dataset("folders", tmp_path, "train", classes=["a", "b"])
    assert data.names == ["b", "a"]
    with pytest.raises(FileNotFoundError, match="val.txt: no image and mask .* 'missing' .1 of 2"):
        open_dataset("folders", tmp_path, "val", classes=["a", "b"])


def test_a_list_may_leave_out_what_the_names_do_not_share(tmp_path):
    own_data(tmp_path, "01", "masks/{}_mask.png", "images/{}_image.png")
    (tmp_path / "train.txt").write_text("1\n0_image\n")
    assert open_dataset("folders", tmp_path, "train", classes=["a", "b"]).names == [
        "1_image",
        "0_image",
    ]


@pytest.mark.parametrize("order", ["{split}/{folder}/a.png", "{folder}/{split}/a.png"])
def test_splits_of_nested_folders(tmp_path, order):
    options = {"image_folder": "img/rgb", "mask_folder": "img/truth"}
    for split in ("train", "val"):
        images, masks = (
            order.format(split=split, folder=folder) for folder in ("img/rgb", "img/truth")
        )
        own_data(tmp_path, "a", masks, images)
    assert find_splits("folders", tmp_path, **options) == ("train", "val")
    assert len(open_dataset("folders", tmp_path, "val", classes=["a", "b"], **options)) == 1


def test_a_folder_below_the_images_alone_is_no_split(tmp_path):
    own_data(tmp_path)
    save(tmp_path / "images" / "thumbnails" / "a.png", [[0]])
    assert find_splits("folders", tmp_path) == ()


def test_csv_of_pairs(tmp_path):
    own_data(tmp_path, "abc", "x/{}.png", "y/{}.jpg")
    table = tmp_path / "pairs.csv"
    table.write_text("image,mask,split\ny/a.jpg,x/a.png,train\ny/c.JPG,x/c.png,val\n")
    assert find_splits("folders", table) == ("train", "val")
    data = open_dataset("folders", table, "val", classes=["a", "b"])
    assert data.names == ["c"] and position(data[0]) == (2, 2)
    table.write_text("image,mask\ny/a.jpg,x/a.png\n")
    assert len(open_dataset("folders", table, "all", classes=["a", "b"])) == 1
    table.write_text("image,label\ny/a.jpg,x/a.png\n")
    with pytest.raises(ValueError, match="line 2 must have image and mask, .* image, label"):
        open_dataset("folders", table, "all", classes=["a", "b"])


def test_masks_of_three_kinds(tmp_path):
    own_data(tmp_path / "white", "ab", value=255)
    with pytest.raises(ValueError, match="0 and 255 alone.*binary"):
        open_dataset("folders", tmp_path / "white", "all", classes=["a", "b"])[0]
    data = open_dataset("folders", tmp_path / "white", "all", masks="binary")
    assert data.classes == ("background", "object") and position(data[1]) == (1, 1)
    own_data(tmp_path / "rgb", "ab")
    for name in "ab":
        path = tmp_path / f"rgb/masks/{name}.png"
        save(path, np.array([[0, 0, 0], [255, 0, 128]])[np.array(Image.open(path))])
    rows = ["back 0 0 0", "thing 255 0 128"]
    data = open_dataset("folders", tmp_path / "rgb", "all", masks="color", classes=rows)
    assert data.colors == ((0, 0, 0), (255, 0, 128)) and position(data[1]) == (1, 1)
    with pytest.raises(ValueError, match="must hold one number per pixel"):
        open_dataset("folders", tmp_path / "rgb", "all", classes=["a", "b"])[0]


def test_folders_of_single_images_are_another_layout(tmp_path):
    for name in "abcdefg":
        for folder in ("images", "masks"):
            (tmp_path / name / folder).mkdir(parents=True)
    message = r"split must be one of a, b, c, d, e, ... \(7\); got 'train'; .*layout is objects"
    with pytest.raises(ValueError, match=message):
        open_dataset("folders", tmp_path, "train", classes=["x", "y"], val_split=0.2)


def test_a_map_of_objects_knows_one_class_of_them(tmp_path):
    own_data(tmp_path, "ab", "images/{}.png", "masks/{}.png")
    message = "numbers objects knows two classes, .* got 3: ground, car, bus"
    with pytest.raises(ValueError, match=message):
        open_dataset("folders", tmp_path, "all", task="instance", classes=["ground", "car", "bus"])


def test_channels_and_16_bits(tmp_path):
    own_data(tmp_path, "ab")
    Image.fromarray(np.full((4, 5), 65535, dtype=np.uint16)).save(tmp_path / "images/a.png")
    data = open_dataset("folders", tmp_path, "all", classes=["a", "b"], channels=1)
    assert data[0]["image"].shape == (1, 4, 5) and data[0]["image"].unique() == 255


def test_maps_that_number_objects(tmp_path):
    save(tmp_path / "images/a.png", np.zeros((4, 5)))
    save(tmp_path / "masks/a.png", [[0, 0, 3, 3, 0]] * 2 + [[9, 9, 0, 0, 0]] * 2)
    sample = open_dataset("folders", tmp_path, "all", task="instance", classes=["rest", "cell"])[0]
    assert sample["labels"].tolist() == [1, 1] and sample["area"].tolist() == [4, 4]
    sample = open_dataset("folders", tmp_path, "all", task="panoptic")[0]
    assert [s["category_id"] for s in sample["segments_info"]] == [1, 1, 0]
    save(tmp_path / "masks/a.png", [[0, 0, 255, 255, 0]] * 4)
    with pytest.raises(ValueError, match="all its objects would be one"):
        open_dataset("folders", tmp_path, "all", task="instance")[0]


# ---------------------------------------------------------------------- val_split


def parts(root, **settings):
    return [
        open_dataset("folders", root, split, classes=["a", "b"], **settings).names
        for split in ("train", "val")
    ]


def test_val_split_is_a_partition_that_the_seed_decides(tmp_path):
    own_data(tmp_path)
    train, val = parts(tmp_path, val_split=0.3)
    assert sorted(train + val) == list("abcdefghij") and len(val) == 3
    assert parts(tmp_path, val_split=0.3) == [train, val]
    assert any(parts(tmp_path, val_split=0.3, seed=seed)[1] != val for seed in range(1, 5))
    # one image more moves at most one of the others
    own_data(tmp_path, "k")
    assert len(set(val) - set(parts(tmp_path, val_split=0.3)[1])) <= 1
    data = open_dataset("folders", tmp_path, "val", classes=["a", "b"], val_split=0.3)
    assert data.num_classes == 2 and len(data.image_paths) == len(data)


def test_val_split_keeps_groups_together(tmp_path):
    names = [f"p{patient}_{slice_}" for patient in range(5) for slice_ in range(3)]
    own_data(tmp_path, names)
    train, val = parts(tmp_path, val_split=0.2, group=r"p\d+")
    assert len(val) == 3 and len({name[:2] for name in val}) == 1
    assert not {name[:2] for name in train} & {name[:2] for name in val}
    assert parts(tmp_path, val_split=0.2, group=r"(p\d+)_") == [train, val]
    with pytest.raises(ValueError, match="'x' is not found in the name 'p0_0'"):
        parts(tmp_path, val_split=0.2, group="x")
    with pytest.raises(ValueError, match="15 images cannot be split .* pattern 'p' .* one|group"):
        parts(tmp_path, val_split=0.2, group="p")


def test_every_nth_image_is_of_val(tmp_path):
    own_data(tmp_path)
    assert parts(tmp_path, val_split=4) == [list("bcdfghj"), list("aei")]
    assert parts(tmp_path, val_split=4, seed=1) == parts(tmp_path, val_split=4)
    names = [f"p{patient}_{slice_}" for patient in range(5) for slice_ in range(3)]
    own_data(tmp_path / "grouped", names)
    _, val = parts(tmp_path / "grouped", val_split=3, group=r"p\d+")
    assert {name[:2] for name in val} == {"p0", "p3"} and len(val) == 6


def test_all_objects_as_one_class(tmp_path):
    tiny_coco = tiny.write("coco", tmp_path)
    data = open_dataset("coco", tiny_coco.root, "train", single_class="animal")
    assert data.classes == ("background", "animal") and data[0]["labels"].tolist() == [1]
    with pytest.raises(ValueError, match="single class is for the task 'instance'"):
        open_dataset("coco", tiny_coco.root, "train", task="panoptic", single_class="animal")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "scenes"])
def test_every_layout_names_the_files_of_its_labels(layout, tmp_path):
    """Those without which a sample would be another one; the run's fingerprint looks at them."""
    small = tiny.write(layout, tmp_path)
    data = open_dataset(layout, small.root, small.split, **small.options)
    files = {path for paths in data.label_paths for path in paths}
    others = {path for path in tmp_path.rglob("*") if path.is_file()} - set(data.image_paths)
    lists = {path for path in others if path.suffix == ".txt" and layout in ("voc", "camvid")}
    assert len(data.label_paths) == len(data) and files == others - lists


def test_splits_are_never_guessed(tmp_path):
    own_data(tmp_path, "ab")
    with pytest.raises(ValueError, match="no splits of its own; give val_split=0.2"):
        open_dataset("folders", tmp_path, "train", classes=["a", "b"])
    with pytest.raises(ValueError, match="val_split must be a share"):
        open_dataset("folders", tmp_path, "train", classes=["a", "b"], val_split=1.5)
    with pytest.raises(ValueError, match="a whole number n > 1 for every n-th image, got 1"):
        open_dataset("folders", tmp_path, "train", classes=["a", "b"], val_split=1)
    own_data(tmp_path / "one", "a")
    with pytest.raises(ValueError, match="1 images cannot be split"):
        open_dataset("folders", tmp_path / "one", "val", classes=["a", "b"], val_split=0.5)


# ---------------------------------------------------------------------- labelme, yolo


def polygon(label, *points, **more):
    return {"label": label, "points": points, "shape_type": "polygon", **more}


@pytest.fixture
def labelme(tmp_path):
    save(tmp_path / "a.PNG", np.zeros((6, 8)))
    shapes = [
        polygon("cat", (1, 1), (4, 1), (4, 3), (1, 3)),
        {"label": "dog", "points": [[5, 0], [8, 2]], "shape_type": "rectangle", "group_id": 1},
        {"label": "dog", "points": [[5, 4], [8, 6]], "shape_type": "rectangle", "group_id": 1},
        {"label": "dog", "points": [[2, 5], [2, 6]], "shape_type": "circle"},
        {"label": "cat", "points": [[2, 5]], "shape_type": "point"},
        polygon("__ignore__", (0, 0), (2, 0), (2, 2), (0, 2)),
    ]
    content = {"shapes": shapes, "imageHeight": 6, "imageWidth": 8, "imagePath": "a.PNG"}
    (tmp_path / "a.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*left out")
def test_labelme_shapes(labelme):
    data = open_dataset("labelme", labelme, "all", classes=["__ignore__", "cat", "dog"])
    sample = data[0]
    assert data.classes == ("background", "cat", "dog")
    assert sample["labels"].tolist() == [1, 2, 2]
    assert sample["area"].tolist() == [6, 12, 4]  # one group is one object
    assert sample["boxes"].tolist() == [[1, 1, 4, 3], [5, 0, 8, 6], [1, 4, 3, 6]]
    assert [e.reason for e in data.skipped] == ["a point has no area"]
    # a pixel of the ignored square belongs to the cat
    mask = open_dataset("labelme", labelme, "all", task="semantic", classes=["cat", "dog"])[0]
    values, counts = mask["mask"].unique(return_counts=True)
    assert values.tolist() == [0, 1, 2, 255] and counts.tolist() == [48 - 22 - 3, 6, 16, 3]
    sample = open_dataset("labelme", labelme, "all", task="panoptic", classes=["cat", "dog"])[0]
    assert (sample["panoptic_seg"] == 0).sum() == 3
    assert sum(segment["area"] for segment in sample["segments_info"]) == 45


@pytest.mark.filterwarnings("ignore:.*left out")
def test_labelme_errors(labelme):
    with pytest.raises(ValueError, match="classes is missing; the files hold __ignore__, cat, dog"):
        open_dataset("labelme", labelme, "all")
    with pytest.raises(ValueError, match="a.json: holds the label 'dog'; classes are cat"):
        open_dataset("labelme", labelme, "all", classes=["cat"])
    content = json.loads((labelme / "a.json").read_text()) | {"imageWidth": 9}
    (labelme / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="a.json: is 9 x 6 pixels, but its image a.PNG is 8 x 6"):
        open_dataset("labelme", labelme, "all", classes=["cat", "dog"])[0]


def test_labelme_mask_shape():
    """A PNG in base64 that lies where its two corners say, cut off at the image's end."""
    patch = io.BytesIO()
    Image.fromarray(np.array([[True, False], [True, True]])).save(patch, format="PNG")
    shape = {
        "shape_type": "mask",
        "points": [[2, 1], [3, 2]],
        "mask": base64.b64encode(patch.getvalue()).decode(),
    }
    found = shape_to_mask(shape, (4, 5))
    assert np.argwhere(found).tolist() == [[1, 2], [2, 2], [2, 3]]
    assert np.argwhere(shape_to_mask(shape, (2, 3))).tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="shape must be one of polygon"):
        shape_to_mask({"shape_type": "point", "points": [[1, 1]]}, (4, 5))


def test_yolo_polygons(tmp_path):
    for name in ("a.JPG", "empty.png"):
        save(tmp_path / "images/train" / name, np.zeros((6, 8)))
    labels = tmp_path / "labels/train"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("1 0 0 .5 0 .5 .5 0 .5\n0 .5 .5 1 .5 1 1 .5 1\n1 0 0 0 0 0 1\n")
    (labels / "gone.txt").write_text("")
    with pytest.warns(UserWarning, match="2 left out"):
        data = open_dataset("yolo", tmp_path, "train", classes=["cat", "dog"])
    assert len(data) == 2 and data.classes == ("background", "cat", "dog")
    assert data[0]["labels"].tolist() == [2, 1] and data[0]["area"].tolist() == [12, 12]
    assert data[0]["boxes"].tolist() == [[0, 0, 4, 3], [4, 3, 8, 6]]
    assert data[1]["masks"].shape == (0, 6, 8)
    assert {e.reason for e in data.skipped} == {"no image", "a polygon without area"}


def test_yolo_lists_of_images(tmp_path):
    """A list says which images a split has; the others are not taken along."""
    (tmp_path / "labels").mkdir()
    for name in "abc":
        save(tmp_path / f"images/{name}.png", np.zeros((6, 8)))
        (tmp_path / f"labels/{name}.txt").write_text("0 0 0 .5 0 .5 .5 0 .5\n")
    (tmp_path / "train.txt").write_text("./images/c.png\n./images/a.png\n")
    (tmp_path / "val.txt").write_text("./images/b.png\n./images/gone.png\n")
    assert find_splits("yolo", tmp_path) == ("train", "val")
    data = open_dataset("yolo", tmp_path, "train", classes=["cat"])
    assert data.names == ["c", "a"] and len(data[1]["labels"]) == 1 and not data.skipped
    with pytest.raises(FileNotFoundError, match="val.txt: no image of the name 'gone' .1 of 2"):
        open_dataset("yolo", tmp_path, "val", classes=["cat"])


@pytest.mark.parametrize(
    "line, message",
    [
        ("0 .1 .1 .2 .2", "line 1 holds a box"),
        ("0 .1 .1 .2 .2 .3", "3 vertices or more, got 6"),
        ("2 0 0 1 0 1 1", "class 2; there are 2"),
        ("0 0 0 1 0 1 100", r"shares in 0\.\.1"),
        ("cat 0 0 1 0 1 1", "must hold numbers"),
    ],
)
def test_yolo_lines_that_are_wrong(tmp_path, line, message):
    save(tmp_path / "images/a.png", np.zeros((6, 8)))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(line)
    with pytest.raises(ValueError, match=f"a.txt: line 1.*{message}|{message}"):
        open_dataset("yolo", tmp_path, "all", classes=["cat", "dog"])


# ---------------------------------------------------------------------- all


def test_objects_that_overlap_have_one_owner_per_pixel(tmp_path):
    """Small ones lie on large ones, whatever their order in the file."""
    save(tmp_path / "images/a.png", np.zeros((4, 4)))
    (tmp_path / "labels").mkdir()
    lines = ["0 0 0 .5 0 .5 .5 0 .5", "1 0 0 1 0 1 1 0 1"]
    for order in (lines, lines[::-1]):
        (tmp_path / "labels/a.txt").write_text("\n".join(order))
        for task in ("semantic", "panoptic"):
            sample = open_dataset("yolo", tmp_path, "all", task=task, classes=["small", "large"])[0]
            if task == "panoptic":
                areas = {s["category_id"]: s["area"] for s in sample["segments_info"]}
                assert areas == {1: 4, 2: 12}
            else:
                assert sample["mask"].sum() == 4 * 1 + 12 * 2


SHIPPED_LAYOUTS = [
    *(("voc", "voc", task) for task in LAYOUTS["voc"].tasks),
    *(("cityscapes", "cityscapes", task) for task in LAYOUTS["cityscapes"].tasks),
    *(("coco", "coco", task) for task in LAYOUTS["coco"].tasks),
    *(("coco-panoptic", "coco", task) for task in LAYOUTS["coco-panoptic"].tasks),
]
PARTS = {
    "semantic": {"image", "mask"},
    "instance": {"image", "boxes", "masks", "labels", "iscrowd", "area", "image_id"},
    "panoptic": {"image", "panoptic_seg", "segments_info", "image_id"},
}


@pytest.mark.parametrize("layout, folder, task", SHIPPED_LAYOUTS)
def test_shipped_samples_for_every_task(layout, folder, task):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = open_dataset(layout, SHIPPED / folder, "val", task=task)
    assert data.task == task and len(data) == len(data.names) == len(data.image_paths)
    assert len(data.classes) == len(data.classes_zh) == len(data.colors) == data.num_classes
    sample = data[0]
    assert set(sample) == PARTS[task]
    if task == "semantic":
        assert set(sample["mask"].unique().tolist()) <= {*range(data.num_classes), 255}
    elif task == "instance":
        assert sample["labels"].min() >= 1 and sample["labels"].max() < data.num_classes


def test_semantic_views_agree_with_the_panoptic_map():
    panoptic = open_dataset("coco-panoptic", SHIPPED / "coco", "val", task="panoptic")
    semantic = open_dataset("coco-panoptic", SHIPPED / "coco", "val", task="semantic")
    for one, other in zip(panoptic, semantic, strict=True):
        for segment in one["segments_info"]:
            values = other["mask"][one["panoptic_seg"] == segment["id"]].unique()
            assert values.tolist() == [segment["category_id"]]
        assert torch.equal(one["panoptic_seg"] == 0, other["mask"] == 255)


def test_scenes_need_no_root():
    data = open_dataset("scenes", split="val", task="instance")
    assert len(data) == 64 and data.num_classes == 6  # the background and five things


def test_scenes_are_as_many_as_wanted_to_train_on_and_the_same_to_judge_by():
    few, usual = (open_dataset("scenes", **said) for said in ({"scenes": 3}, {}))
    assert (len(few), len(usual)) == (3, 512)
    assert torch.equal(few[2]["image"], usual[2]["image"])
    assert len(open_dataset("scenes", split="val", scenes=3)) == 64
    with pytest.raises(ValueError, match="scenes must be at least 1, got 0"):
        open_dataset("scenes", scenes=0)


@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"scenes"}))
def test_hidden_folders_are_not_data(tmp_path, layout):
    """As Jupyter leaves them: a copy of each file in a hidden folder beside it."""
    data = tiny.write(layout, tmp_path)
    before = find_splits(layout, data.root, **data.options)
    names = open_dataset(layout, data.root, data.split, **data.options).names
    for folder in [path for path in tmp_path.rglob("*") if path.is_dir()] + [tmp_path]:
        files = [path for path in folder.iterdir() if path.is_file()]
        hidden = folder / ".ipynb_checkpoints"
        (hidden / "images").mkdir(parents=True)
        (hidden / "x" / "images").mkdir(parents=True)
        for path in files:
            shutil.copy(path, hidden)
    assert find_splits(layout, data.root, **data.options) == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out is reported
        opened = open_dataset(layout, data.root, data.split, **data.options)
    assert opened.names == names


@pytest.mark.parametrize(
    ("layout", "folder", "missing"),
    [
        ("voc", "VOCdevkit/VOC2012/ImageSets/Segmentation", "Segmentation: .* train.txt"),
        ("camvid", ".", "train.txt"),
        ("cityscapes", "leftImg8bit", "leftImg8bit: .* train"),
        ("coco", "annotations", "annotations: .* instances_train2017.json; or give images"),
        ("coco-panoptic", "annotations", "annotations: .* panoptic_train2017.json; or give"),
    ],
)
def test_a_root_without_any_split_says_what_is_missing(tmp_path, layout, folder, missing):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for split in ("train", "all"):
        with pytest.raises(FileNotFoundError, match=missing):
            open_dataset(layout, tmp_path, split)
    with pytest.raises(FileNotFoundError, match=missing):
        find_splits(layout, tmp_path)


def test_errors():
    with pytest.raises(ValueError, match="layout must be one of folders, voc, .*; got 'png'"):
        open_dataset("png", "x")
    with pytest.raises(ValueError, match="layout camvid is for semantic; got the task 'instance'"):
        open_dataset("camvid", "x", task="instance")
    with pytest.raises(ValueError, match="layout voc has no option 'crowd'; .* year, classes"):
        open_dataset("voc", "x", crowd=True)
    with pytest.raises(ValueError, match="root is missing"):
        open_dataset("voc")
    for layout in ("voc", "folders", "yolo", "objects", "labelme"):
        with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
            open_dataset(layout, "nowhere")


@needs("camvid")
def test_camvid_as_folders():
    from segedu.data.camvid import CLASSES

    places = {"image_folder": "{split}", "mask_folder": "{split}annot"}
    root = REAL / "camvid/CamVid_240x180"
    own = open_dataset("folders", root, "val", classes=[*CLASSES, "ignore"], **places)
    known = open_dataset("camvid", root, "val")
    assert len(own) == len(known) == 101 and own.classes == known.classes
    for index in (0, 50, 100):
        other = known[known.names.index(own.names[index])]
        assert torch.equal(own[index]["mask"], other["mask"])
        assert torch.equal(own[index]["image"], other["image"])


@needs("coco128_seg")
def test_yolo_and_coco_files_of_the_same_objects():
    files = {
        "images": "images/train2017",
        "annotations": "annotations_derived/instances_train2017_from_yolo.json",
    }
    coco = open_dataset("coco", REAL / "coco128_seg", "all", **files)
    yolo = open_dataset(
        "yolo", REAL / "coco128_seg", "train2017", classes=coco.classes[1:], val_split=0
    )
    assert len(yolo) == len(coco) == 108
    assert sum(len(polygons) for polygons in yolo._polygons) == 825
    differing = area = 0
    for index in range(0, 108, 9):
        one, other = yolo[index], coco[coco.names.index(yolo.names[index])]
        assert one["labels"].tolist() == other["labels"].tolist()
        assert torch.allclose(one["boxes"].float(), other["boxes"].float(), atol=0.02)
        differing += (one["masks"] != other["masks"]).sum()
        area += one["masks"].sum()
    assert differing < area / 1000  # the json has rounded coordinates


@needs("isbi2012_em")
def test_membranes_whose_255_is_a_class():
    data = open_dataset(
        *("folders", REAL / "isbi2012_em/membrane/train", "train"),
        **{"classes": ["membrane=0", "cell=255"], "channels": 1, "val_split": 0.2},
        **{"image_folder": "image", "mask_folder": "label"},
    )
    assert len(data) == 19
    assert 0.18 < (data[0]["mask"] == 0).float().mean() < 0.27


@needs("voc_layout")
@pytest.mark.filterwarnings("ignore:.*left out")
def test_labelme_of_the_real_tool_against_its_own_conversion():
    """labelme's converter puts objects in the order of the file; we put small ones on top."""
    root = REAL / "voc_layout"
    ours = open_dataset(
        *("labelme", root / "labelme_raw", "all"),
        task="semantic",
        classes=root / "labelme_raw/labels.txt",
    )
    theirs = open_dataset("voc", root, "trainval", classes=root / "class_names.txt")
    assert ours.classes[1:] == class_table(root / "class_names.txt").names[1:]
    for sample, name in zip(ours, ours.names, strict=True):
        mask = theirs[theirs.names.index(name)]["mask"]
        inside = mask != 255
        assert (sample["mask"] == mask)[inside].float().mean() > 0.97


@needs("dsb2018_nuclei")
def test_nuclei_in_parts():
    root = REAL / "dsb2018_nuclei/stage1_train"
    counts = [
        len(open_dataset("objects", root, split, classes=["nucleus"], val_split=0.25))
        for split in ("train", "val")
    ]
    assert counts == [58, 20]
