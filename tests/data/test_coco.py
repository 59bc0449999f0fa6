import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from segedu.data import transforms
from segedu.data.coco import CocoInstances, draw_polygon
from segedu.metrics import AveragePrecision
from segedu.ops import rle
from tests.real_data import REAL, needs

SHIPPED = Path(__file__).parents[2] / "data" / "coco"
CROWD = {"size": [8, 10], "counts": [0, 8, 72]}  # the leftmost column


@pytest.fixture
def content():
    """Images 3 and 7; categories 4 and 9; a polygon, two run-length codes, one crowd."""
    square = np.zeros((8, 10), dtype=bool)
    square[5:8, 4:9] = True
    code = rle.encode(square)
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "height": 8, "width": 10},
            {"id": 3, "file_name": "a.png", "height": 6, "width": 6},
        ],
        "categories": [{"id": 9, "name": "cup"}, {"id": 4, "name": "dog"}],
        "annotations": [
            {
                **{"id": 1, "image_id": 7, "category_id": 9, "area": 12.5, "iscrowd": 0},
                "bbox": [1, 2, 4, 3],
                "segmentation": [[1, 2, 5, 2, 5, 5, 1, 5]],
            },
            {
                **{"id": 2, "image_id": 7, "category_id": 4, "area": 8, "iscrowd": 1},
                "bbox": [0, 0, 1, 8],
                "segmentation": CROWD,
            },
            {
                **{"id": 5, "image_id": 7, "category_id": 4},
                "segmentation": {**code, "counts": code["counts"].decode("ascii")},
            },
        ],
    }


@pytest.fixture
def load(content, tmp_path):
    """Writes the files and opens them."""
    Image.new("RGB", (10, 8), "red").save(tmp_path / "b.png")
    Image.new("L", (6, 6), 77).save(tmp_path / "a.png")

    def open_files(**settings) -> CocoInstances:
        (tmp_path / "some.json").write_text(json.dumps(content))
        return CocoInstances(tmp_path, tmp_path / "some.json", **settings)

    return open_files


def test_sample(load):
    data = load()
    assert data.image_ids == [3, 7] and len(data) == 2
    sample = data[1]
    assert sample["image"].shape == (3, 8, 10) and sample["image_id"] == 7
    assert isinstance(sample["boxes"], tv_tensors.BoundingBoxes)
    assert isinstance(sample["masks"], tv_tensors.Mask) and sample["masks"].dtype == torch.bool
    assert sample["boxes"].tolist() == [[1, 2, 5, 5], [0, 0, 1, 8], [4, 5, 9, 8]]
    assert sample["labels"].tolist() == [2, 1, 1] and sample["labels"].dtype == torch.int64
    assert sample["iscrowd"].tolist() == [0, 1, 0]
    assert sample["area"].tolist() == [12.5, 8, 15] and sample["area"].dtype == torch.float32
    assert sample["masks"].flatten(1).sum(1).tolist() == [12, 8, 15]
    assert sample["masks"][1, :, 0].all() and sample["masks"][2, 5:, 4:9].all()


def test_image_without_objects(load):
    sample = load()[0]
    assert sample["image"].unique().tolist() == [77]  # grey becomes three equal channels
    assert sample["boxes"].shape == (0, 4) and sample["boxes"].dtype == torch.float32
    assert sample["masks"].shape == (0, 6, 6) and sample["masks"].dtype == torch.bool
    for key, dtype in (("labels", torch.int64), ("iscrowd", torch.int64), ("area", torch.float32)):
        assert sample[key].shape == (0,) and sample[key].dtype == dtype
    assert transforms.training(4)(sample)["boxes"].shape == (0, 4)


def test_labels_and_category_ids(load):
    data = load()
    assert data.classes == ("background", "dog", "cup")
    assert data.category_ids == (0, 4, 9)
    assert data.num_classes == len(data.colors) == 3
    assert data.labels == ("background ｜ 背景", "dog ｜ 狗", "cup ｜ 杯子")
    data = load(contiguous=False)
    assert data[1]["labels"].tolist() == [9, 4, 4]
    assert data.num_classes == 10 and len(data.colors) == 10
    assert data.classes[4] == "dog" and data.classes[9] == "cup" and data.classes[8] == "N/A"
    assert data.labels[8] == "N/A"  # the same in both languages


def test_crowds_can_be_left_out(load):
    assert load(crowd=False)[1]["labels"].tolist() == [2, 1]


def test_boxes_are_clipped_and_those_outside_left_out(load, content):
    content["annotations"][0]["bbox"] = [-2, 6.5, 30, 30]
    content["annotations"][1]["bbox"] = [10, 1, 5, 5]  # right of the image
    content["annotations"][2]["bbox"] = [4, 4, 3, 0]  # no height
    sample = load()[1]
    assert sample["boxes"].tolist() == [[0, 6.5, 10, 8]]
    assert len(sample["masks"]) == len(sample["labels"]) == len(sample["area"]) == 1


def test_polygons_that_enclose_nothing(load, content):
    line = content["annotations"][0]
    line["segmentation"] = [[1, 1, 5, 1, 3, 1]]
    sample = load()[1]
    assert not sample["masks"][0].any() and sample["boxes"][0].tolist() == [1, 2, 5, 5]
    del line["bbox"]
    with pytest.raises(ValueError, match="some.json: annotation 1: it encloses no pixel.*bbox"):
        load()[1]
    line["segmentation"].append([6, 1, 8, 1, 8, 3, 6, 3])
    assert load()[1]["boxes"][0].tolist() == [6, 1, 8, 3]


def test_objects_that_a_crop_moves_out_of_sight_leave_every_part(load):
    torch.manual_seed(0)
    crop = transforms.training(4, scale=(1, 1), color=False)
    data = load(transforms=crop)
    counts = set()
    for _ in range(20):
        sample = data[1]
        counts.add(len(sample["labels"]))
        for key in ("boxes", "masks", "iscrowd", "area"):
            assert len(sample[key]) == len(sample["labels"])
        assert sample["area"].tolist() == sample["masks"].flatten(1).sum(1).tolist()
    assert len(counts) > 1


BAD = [
    (lambda c: c.pop("categories"), r"some.json: .*no 'categories'"),
    (lambda c: c["images"][0].pop("width"), r"some.json: image number 0 .*no 'width'"),
    (lambda c: c["images"][0].update(id=3), r"some.json: the image id 3 occurs twice"),
    (lambda c: c["categories"][0].update(id=4), r"some.json: the category id 4 occurs twice"),
    (lambda c: c["annotations"][2].pop("segmentation"), "annotation number 2 .*no 'segmentation'"),
    (lambda c: c["annotations"][2].update(image_id=8), "annotation 5 has the image_id 8, of which"),
    (lambda c: c["annotations"][0].update(category_id=1), "annotation 1 has the category_id 1"),
    (lambda c: c["images"][0].update(file_name="../b.png"), "'../b.png' leads out"),
    (
        lambda c: c["images"][0].update(height=9),
        "some.json for image 7: is 10 x 9 pixels, but its image b.png is 10 x 8",
    ),
    (
        lambda c: c["annotations"][0].update(bbox=[1, 2, -3, 1]),
        r"annotation 1: bbox .*\[1, 2, -3, 1\]",
    ),
    (lambda c: c["annotations"][0].update(bbox=[1, 2]), r"annotation 1: bbox .*\[1, 2\]"),
    (
        lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 1]),
        r"annotation 1: bbox .*nan",
    ),
    (lambda c: c["annotations"][0].update(segmentation=[]), r"annotation 1: segmentation .*\[\]"),
    (lambda c: c["annotations"][0].update(segmentation=[1, 2, 3]), r"annotation 1: .*\[1, 2, 3\]"),
    (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "1: polygon .*4 numbers"),
    (lambda c: c["annotations"][0].update(segmentation=[[0] * 7]), "1: polygon .*7 numbers"),
    (
        lambda c: c["annotations"][0].update(segmentation=[[0, 1, 2, 3, 4, float("inf")]]),
        "1: polygon must be finite, got inf",
    ),
    (
        lambda c: c["annotations"][1].update(segmentation={"size": [10, 8], "counts": [80]}),
        r"annotation 2: .*\[8, 10\], got .*\[10, 8\]",
    ),
    (
        lambda c: c["annotations"][1].update(segmentation={"size": [8, 10], "counts": [80, 1]}),
        "annotation 2: the counts must add up to 8 x 10, got 81",
    ),
    (
        lambda c: c["annotations"][1].update(segmentation={"size": [8, 10], "counts": "zz"}),
        "annotation 2: the counts must add up to 8 x 10",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_errors_name_file_id_and_value(load, content, spoil, message):
    spoil(content)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load()[1]


def test_missing_and_unreadable_files(load, tmp_path):
    load()
    with pytest.raises(FileNotFoundError, match="none.json: no such file"):
        CocoInstances(tmp_path, tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="pictures: no such folder"):
        CocoInstances(tmp_path / "pictures", tmp_path / "some.json")
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"a.png: no such file \(1 of 2 files"):
        load()
    (tmp_path / "some.json").write_text("{")
    with pytest.raises(ValueError, match="some.json: not a readable JSON file"):
        CocoInstances(tmp_path, tmp_path / "some.json")


def test_category_zero_needs_contiguous_labels(load, content):
    content["categories"][1]["id"] = content["annotations"][1]["category_id"] = 0
    content["annotations"][2]["category_id"] = 0
    assert load()[1]["labels"].tolist() == [2, 1, 1]
    with pytest.raises(ValueError, match="category id 0, but labels are 1 or more"):
        load(contiguous=False)


coordinate = st.one_of(st.integers(-3, 30), st.floats(-3, 30, allow_nan=False, width=32))


@pytest.mark.oracle
@given(
    st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9),
    st.integers(1, 24),
    st.integers(1, 24),
)
@settings(deadline=None, max_examples=300)
def test_polygons_are_filled_as_by_pycocotools(corners, height, width):
    from pycocotools import mask as reference

    polygon = [float(value) for corner in corners for value in corner]
    expected = reference.decode(reference.frPyObjects([polygon], height, width))[:, :, 0]
    np.testing.assert_array_equal(draw_polygon(polygon, height, width), expected)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("images", "file"),
    [
        pytest.param(
            "coco128_seg/images/train2017",
            "coco128_seg/annotations_derived/instances_train2017_from_yolo.json",
            marks=needs("coco128_seg"),
        ),
        pytest.param(
            "coco_panoptic_sample/sample_data/input_images",
            "coco_panoptic_sample/sample_data/panoptic_coco_detection_format.json",
            marks=needs("coco_panoptic_sample"),
        ),
        pytest.param(
            "voc_layout/labelme_coco",
            "voc_layout/labelme_coco/annotations.json",
            marks=needs("voc_layout"),
        ),
        (SHIPPED / "val2017", SHIPPED / "annotations/instances_val2017.json"),
    ],
)
def test_same_objects_as_pycocotools(images, file):
    from pycocotools.coco import COCO

    data, reference = CocoInstances(REAL / images, REAL / file), COCO(REAL / file)
    assert data.image_ids == sorted(reference.getImgIds())
    for index in range(0, len(data), 7 if len(data) > 50 else 1):
        sample = data[index]
        rows = reference.loadAnns(reference.getAnnIds(data.image_ids[index]))
        assert len(rows) == len(sample["labels"])
        for mask, label, row in zip(sample["masks"], sample["labels"], rows, strict=True):
            np.testing.assert_array_equal(mask, reference.annToMask(row))
            assert data.category_ids[label] == row["category_id"]


@needs("coco128_seg")
def test_real_coco128():
    folder = REAL / "coco128_seg"
    data = CocoInstances(
        folder / "images/train2017",
        folder / "annotations_derived/instances_train2017_from_yolo.json",
    )
    assert len(data) == 108 and data.num_classes == 81 and data.category_ids[-1] == 90
    # 000000000250 has no label file: it stays, without objects
    empty = data[data.image_ids.index(250)]
    assert empty["masks"].shape == (0, *empty["image"].shape[1:])
    grey = [i for i, f in enumerate(data.image_paths) if Image.open(f).mode == "L"]
    assert len(grey) == 1 and data[grey[0]]["image"].shape[0] == 3
    # the parts of an object are one polygon that touches itself: its mask still has the area
    sample = data[data.image_ids.index(9)]
    assert sample["masks"].flatten(1).sum(1).tolist() == sample["area"].tolist()
    assert [data.classes[label] for label in sample["labels"]].count("orange") == 4


@needs("coco_panoptic_sample")
def test_real_crowds():
    folder = REAL / "coco_panoptic_sample/sample_data"
    data = CocoInstances(
        folder / "input_images", folder / "panoptic_coco_detection_format.json", contiguous=False
    )
    assert [int(sample["iscrowd"].sum()) for sample in data] == [1, 2]
    for sample in data:
        masks = sample["masks"].flatten(1)
        assert masks.sum(1).tolist() == sample["area"].tolist()
        assert (masks.sum(0) <= 1).all()  # segments of a panoptic map do not overlap


@needs("voc_layout")
def test_real_ids_from_zero():
    folder = REAL / "voc_layout/labelme_coco"
    data = CocoInstances(folder, folder / "annotations.json")
    assert data.image_ids == [0, 1, 2]
    assert data.category_ids[1] == 0 and data.classes[1] == "_background_"
    assert {data.classes[label] for label in data[0]["labels"]} == {"bottle", "person"}


def test_shipped_samples_score_1_against_themselves():
    data = CocoInstances(SHIPPED / "val2017", SHIPPED / "annotations/instances_val2017.json")
    metric = AveragePrecision()
    for sample in data:
        metric.update([{**sample, "scores": torch.ones(len(sample["labels"]))}], [sample])
    assert metric.compute()["AP"] == 1
