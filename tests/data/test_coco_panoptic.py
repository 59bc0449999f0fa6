import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from segedu.data import transforms
from segedu.data.coco_panoptic import CocoPanoptic
from segedu.data.images import read_colors
from segedu.metrics import PanopticQuality
from tests.real_data import REAL, needs

FOLDER = REAL / "coco_panoptic_sample"
SHIPPED = Path(__file__).parents[2] / "data" / "coco"
needs_real = needs("coco_panoptic_sample")
FAR = 256 * 2 + 65536 * 9 + 5  # an id that needs all three channels


def save_ids(ids: np.ndarray, path: Path) -> None:
    channels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
    Image.fromarray(channels.astype(np.uint8)).save(path)


@pytest.fixture
def content():
    """One image of 4 x 6: sky above, two dogs, the second a crowd; void in the last column."""
    return {
        "images": [{"id": 42, "file_name": "a.jpg", "height": 4, "width": 6}],
        "categories": [
            {"id": 187, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
            {"id": 18, "name": "dog", "isthing": 1, "color": [1, 2, 3]},
        ],
        "annotations": [
            {
                "image_id": 42,
                "file_name": "a.png",
                "segments_info": [
                    {"id": FAR, "category_id": 187, "area": 10, "iscrowd": 0},
                    {"id": 7, "category_id": 18, "area": 4, "iscrowd": 0},
                    {"id": 6, "category_id": 18, "area": 6, "iscrowd": 1},
                ],
            }
        ],
    }


@pytest.fixture
def load(content, tmp_path):
    """Writes the files and opens them."""
    ids = np.full((4, 6), FAR)
    ids[2:, :2], ids[2:, 2:] = 7, 6
    ids[:, 5] = 0
    (tmp_path / "panoptic").mkdir()
    save_ids(ids, tmp_path / "panoptic/a.png")
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg")

    def open_files(**settings) -> CocoPanoptic:
        (tmp_path / "panoptic.json").write_text(json.dumps(content))
        return CocoPanoptic(tmp_path, tmp_path / "panoptic.json", **settings)

    return open_files


def test_sample(load):
    data = load()
    sample = data[0]
    assert isinstance(sample["panoptic_seg"], tv_tensors.Mask) and sample["image_id"] == 42
    assert sample["panoptic_seg"].dtype == torch.int32
    assert sample["panoptic_seg"][0].tolist() == [FAR] * 5 + [0]
    # in the order of the json: with several crowds the last one counts
    assert sample["segments_info"] == [
        {"id": FAR, "category_id": 1, "isthing": False, "iscrowd": 0, "area": 10},
        {"id": 7, "category_id": 0, "isthing": True, "iscrowd": 0, "area": 4},
        {"id": 6, "category_id": 0, "isthing": True, "iscrowd": 1, "area": 6},
    ]
    assert data.category_ids == (18, 187) and data.isthing == {0: True, 1: False}
    assert data.classes == ("dog", "sky") and data.colors == ((1, 2, 3), (70, 130, 180))


def test_things_as_instances(load):
    data = load(task="instance")
    sample = data[0]
    assert data.classes == ("background", "dog") and data.num_classes == 2
    assert sample["labels"].tolist() == [1, 1] and sample["iscrowd"].tolist() == [0, 1]
    assert sample["boxes"].tolist() == [[0, 2, 2, 4], [2, 2, 5, 4]]
    assert sample["area"].tolist() == [4, 6]


def test_transforms_move_the_map_with_the_image(load):
    sample = load(transforms=transforms.evaluation((8, 12)))[0]
    assert sample["panoptic_seg"].shape == (8, 12)
    assert [segment["area"] for segment in sample["segments_info"]] == [40, 16, 24]


BAD = [
    (lambda s: s.pop(), "a.png: holds ids that panoptic.json does not list .*: 6 .1 in all"),
    (lambda s: s.append({"id": 99, "category_id": 18}), "a.png: has no pixel of ids .*: 99 .1 in"),
    (
        lambda s: s[0].update(id=0),
        "panoptic.json: a segment of image 42 has the id 0; .*1..16777215",
    ),
    (lambda s: s[0].update(id=7), "image 42 has the id 7; ids must be unique"),
    (lambda s: s[1].update(category_id=3), "image 42, 7, has the category_id 3, of which"),
    (lambda s: s[1].pop("category_id"), "a segment of image 42 must have .*no 'category_id'"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_errors_name_file_id_and_value(load, content, spoil, message):
    spoil(content["annotations"][0]["segments_info"])
    with pytest.raises(ValueError, match=message):
        load()[0]


def test_ids_without_an_image_or_with_two_annotations(load, content):
    content["annotations"].append(content["annotations"][0])
    with pytest.raises(ValueError, match="panoptic.json: image 42 has two annotations"):
        load()
    content["annotations"] = [{**content["annotations"][0], "image_id": 43}]
    with pytest.raises(ValueError, match="annotation number 0 has the unknown image 43"):
        load()
    content["annotations"] = []
    content["categories"][0].pop("isthing")
    with pytest.raises(ValueError, match="category number 0 must have .*no 'isthing'"):
        load()


def test_wrong_files(load, tmp_path):
    with pytest.raises(ValueError, match="task must be one of semantic, instance, .*'boxes'"):
        load(task="boxes")
    with pytest.raises(FileNotFoundError, match="elsewhere: no such folder"):
        load(segments=tmp_path / "elsewhere")
    png = tmp_path / "panoptic/a.png"
    save_ids(np.full((4, 4), 7), png)
    with pytest.raises(ValueError, match="a.png: has no pixel"):
        load()[0]
    Image.fromarray(read_colors(png).astype(np.uint8)).save(png)
    with pytest.raises(ValueError, match="a.png: must be an RGB image.*got mode 'L'"):
        load()[0]
    png.unlink()
    with pytest.raises(FileNotFoundError, match=r"a.png: no such file \(1 of 2"):
        load()


def test_other_size_than_the_image(load, content, tmp_path):
    content["annotations"][0]["segments_info"] = [{"id": 7, "category_id": 18}]
    data = load()
    save_ids(np.full((4, 4), 7), tmp_path / "panoptic/a.png")
    with pytest.raises(ValueError, match="a.png: is 4 x 4 pixels, but its image a.jpg is 6 x 4"):
        data[0]


@needs_real
def test_real_samples_have_the_areas_of_the_json():
    file = FOLDER / "sample_data/panoptic_examples.json"
    data = CocoPanoptic(FOLDER / "sample_data/input_images", file)
    entries = {row["image_id"]: row for row in json.loads(file.read_text())["annotations"]}
    for sample, count, crowds in zip(data, (18, 32), (1, 2), strict=True):
        expected = entries[sample["image_id"]]["segments_info"]
        assert len(sample["segments_info"]) == count
        for segment, row in zip(sample["segments_info"], expected, strict=True):
            assert data.category_ids[segment["category_id"]] == row["category_id"]
            assert [segment[k] for k in ("id", "area", "iscrowd")] == [
                row[k] for k in ("id", "area", "iscrowd")
            ]
        assert sum(segment["iscrowd"] for segment in sample["segments_info"]) == crowds
    assert all(" ｜ " in label for label in data.labels)  # every class has a Chinese name
    assert data.num_classes == 133 and sum(data.isthing.values()) == 80


@needs_real
def test_real_samples_give_the_official_score():
    images = FOLDER / "sample_data/input_images"
    truth = CocoPanoptic(images, FOLDER / "sample_data/panoptic_examples.json")
    metric = PanopticQuality(truth.isthing)
    metric.update([truth[0], truth[1]], [truth[0], truth[1]])
    assert (metric.compute()["pq"], metric.compute()["num_categories"]) == (1, 8)

    folder = FOLDER / "predictions_perturbed"
    rows = json.loads((folder / "panoptic_pred.json").read_text())["annotations"]
    place_of = {category: place for place, category in enumerate(truth.category_ids)}
    metric.reset()
    for sample in truth:
        (row,) = (row for row in rows if row["image_id"] == sample["image_id"])
        segments = [
            {"id": s["id"], "category_id": place_of[s["category_id"]]} for s in row["segments_info"]
        ]
        ids = read_colors(folder / "panoptic_pred" / row["file_name"])
        metric.update({"panoptic_seg": ids, "segments_info": segments}, sample)
    assert metric.compute()["pq"] == pytest.approx(0.61272, abs=5e-6)


def test_shipped_samples_agree_with_their_instances():
    from segedu.data.coco import CocoInstances

    things = CocoPanoptic(
        SHIPPED / "val2017", SHIPPED / "annotations/panoptic_val2017.json", task="instance"
    )
    objects = CocoInstances(SHIPPED / "val2017", SHIPPED / "annotations/instances_val2017.json")
    assert len(things) == len(objects) == 8
    assert things.classes == objects.classes
    for one, two in zip(things, objects, strict=True):
        assert one["image_id"] == two["image_id"]
        first, second = (
            sorted(
                (label, *box)
                for label, box in zip(s["labels"].tolist(), s["boxes"].tolist(), strict=True)
            )
            for s in (one, two)
        )
        assert first == second
