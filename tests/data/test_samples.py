"""The sample data sets in data/ are reproducible and readable by the usual loaders."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from segedu.data import cityscapes, voc

DATA = Path(__file__).parents[2] / "data"
FOLDERS = ("voc", "cityscapes", "coco")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_samples", DATA / "make_samples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(root: Path) -> dict[str, bytes]:
    paths = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_script_reproduces_every_byte(script, tmp_path):
    script.write(tmp_path)
    made, stored = files(tmp_path), files(DATA)
    assert sorted(made) == sorted(stored)
    assert [name for name in made if made[name] != stored[name]] == []
    assert sum(len(content) for content in stored.values()) < 6 * 2**20


def test_voc_in_torchvision_and_segedu():
    for split, count in (("train", 16), ("val", 8)):
        reference = torchvision.datasets.VOCSegmentation(DATA / "voc", "2012", split)
        ours = voc.VOCSegmentation(DATA / "voc", split)
        assert len(reference) == len(ours) == count
        for (image, labels), sample in zip(reference, ours, strict=True):
            assert np.array_equal(np.asarray(image).transpose(2, 0, 1), sample["image"])
            assert np.array_equal(np.asarray(labels), sample["mask"])
            assert set(np.unique(labels)) <= {0, 3, 7, 10, 12, 15, 255}


def test_voc_objects_agree_with_classes():
    folder = DATA / "voc/VOCdevkit/VOC2012"
    for file in sorted((folder / "SegmentationClass").iterdir()):
        classes = np.asarray(Image.open(file))
        objects = np.asarray(Image.open(folder / "SegmentationObject" / file.name))
        assert np.array_equal(classes == 0, objects == 0)
        assert np.array_equal(classes == 255, objects == 255)
        for number in set(np.unique(objects)) - {0, 255}:
            assert len(np.unique(classes[objects == number])) == 1


def test_cityscapes_in_torchvision_and_segedu():
    reference = torchvision.datasets.Cityscapes(
        DATA / "cityscapes", "train", target_type=["semantic", "instance", "color"]
    )
    ours = cityscapes.Cityscapes(DATA / "cityscapes", "train")
    assert len(reference) == len(ours) == 16
    by_name = np.argsort(reference.images)  # torchvision takes the order of the directory
    for (image, (labels, instances, _)), sample in zip(
        (reference[i] for i in by_name), ours, strict=True
    ):
        labels, instances = np.asarray(labels), np.asarray(instances)
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1), sample["image"])
        things = instances >= 1000
        assert set(np.unique(labels[things])) <= {24, 26}
        assert np.array_equal(instances[things] // 1000, labels[things])
        assert np.array_equal(instances[~things], labels[~things])
        train_ids = np.vectorize(cityscapes.TRAIN_ID_OF.get)(labels)
        assert np.array_equal(train_ids, sample["mask"])


@pytest.mark.oracle
def test_coco_masks_in_pycocotools_equal_the_panoptic_map(capsys):
    from pycocotools.coco import COCO

    folder = DATA / "coco/annotations"
    for split in ("train2017", "val2017"):
        coco = COCO(folder / f"instances_{split}.json")
        panoptic = json.loads((folder / f"panoptic_{split}.json").read_text())
        isthing = {c["id"]: c["isthing"] for c in panoptic["categories"]}
        for entry in panoptic["annotations"]:
            png = np.asarray(Image.open(folder / f"panoptic_{split}" / entry["file_name"]), int)
            ids = png[..., 0] + 256 * png[..., 1] + 65536 * png[..., 2]
            areas = {segment["id"]: segment["area"] for segment in entry["segments_info"]}
            values, counts = np.unique(ids[ids > 0], return_counts=True)
            assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == areas
            things = [s for s in entry["segments_info"] if isthing[s["category_id"]]]
            objects = coco.loadAnns(coco.getAnnIds(entry["image_id"]))
            assert len(objects) == len(things) > 0
            for thing, annotation in zip(things, objects, strict=True):
                mask = coco.annToMask(annotation)
                assert np.array_equal(mask, ids == thing["id"])
                assert annotation["category_id"] == thing["category_id"]
                assert annotation["area"] == mask.sum() and annotation["bbox"] == thing["bbox"]
                x, y, width, height = annotation["bbox"]
                assert mask[y : y + height, x : x + width].sum() == mask.sum()
                assert mask[y].any() and mask[:, x].any()
                assert mask[y + height - 1].any() and mask[:, x + width - 1].any()
            image = Image.open(DATA / "coco" / split / entry["file_name"].replace("png", "jpg"))
            assert image.size == ids.shape[::-1]


def test_run_lengths_begin_with_the_background(script):
    mask = np.array([[1, 0], [1, 1]], bool)
    assert script.run_lengths(mask) == {"size": [2, 2], "counts": [0, 2, 1, 1]}
    assert script.run_lengths(~mask)["counts"] == [2, 1, 1]
    assert script.run_lengths(np.zeros((2, 2), bool))["counts"] == [4]
