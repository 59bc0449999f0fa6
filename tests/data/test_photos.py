import builtins
import json
import sys
from importlib import resources

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segedu.data import photos
from segedu.ops import segmentation_to_mask

ANNOTATIONS = json.loads(
    (resources.files("segedu.data") / "annotations" / "photos.json").read_text(encoding="utf-8")
)
IMAGES = {image["id"]: image for image in ANNOTATIONS["images"]}
CATEGORIES = {category["id"]: category for category in ANNOTATIONS["categories"]}
NAMES = photos.names()


@pytest.fixture(scope="module", params=NAMES)
def annotated(request):
    """The name of a photograph, its annotations and their masks, straight from the json."""
    image = next(image for image in ANNOTATIONS["images"] if image["name"] == request.param)
    rows = [row for row in ANNOTATIONS["annotations"] if row["image_id"] == image["id"]]
    size = image["height"], image["width"]
    masks = [segmentation_to_mask(row["segmentation"], *size) for row in rows]
    return request.param, rows, masks


class TestContents:
    def test_enough_photographs_objects_and_stuff(self):
        is_stuff = {i for i, category in CATEGORIES.items() if not category["isthing"]}
        stuff = [row for row in ANNOTATIONS["annotations"] if row["category_id"] in is_stuff]
        assert len(NAMES) >= 10
        assert len(ANNOTATIONS["annotations"]) - len(stuff) >= 60
        assert len({row["image_id"] for row in stuff}) >= 5

    def test_the_coins_are_24(self):
        sample = photos.load("coins", "instance")
        assert len(sample["masks"]) == 24
        assert {photos.categories()[label].name for label in sample["labels"]} == {"coin"}

    def test_ids_are_consistent(self):
        for key in ("images", "annotations", "categories", "licenses"):
            ids = [row["id"] for row in ANNOTATIONS[key]]
            assert len(set(ids)) == len(ids)
        for row in ANNOTATIONS["annotations"]:
            assert row["image_id"] in IMAGES
            assert row["category_id"] in CATEGORIES
            assert row["iscrowd"] == 0
            assert row["made"].endswith("checked")

    def test_every_category_is_used_and_has_its_own_name_and_color(self):
        categories = photos.categories()
        assert {row["category_id"] for row in ANNOTATIONS["annotations"]} == set(CATEGORIES)
        assert [c.id for c in categories] == list(range(len(categories)))
        things = [c.isthing for c in categories]
        assert things == sorted(things), "stuff comes first"
        for field in ("name", "name_zh", "color"):
            assert len({getattr(c, field) for c in categories}) == len(categories)

    def test_info(self):
        for name in NAMES:
            info = photos.info(name)
            english, chinese = info.title.split(" ｜ ")
            assert english.isascii() and not chinese.isascii()
            assert info.source and info.license
            assert photos.load(name)["image"].shape == (3, info.height, info.width)
        assert photos.info("coffee").categories[-3:] == ("cup", "saucer", "spoon")


class TestEveryPhotograph:
    def test_polygons_lie_inside_the_picture(self, annotated):
        name, rows, _ = annotated
        height, width = photos.info(name).height, photos.info(name).width
        for row in rows:
            if isinstance(row["segmentation"], list):
                for polygon in row["segmentation"]:
                    x, y = np.reshape(polygon, (-1, 2)).T
                    assert x.min() >= 0 and x.max() <= width
                    assert y.min() >= 0 and y.max() <= height

    def test_areas_and_boxes_are_those_of_the_masks(self, annotated):
        _, rows, masks = annotated
        for row, mask in zip(rows, masks, strict=True):
            lines, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
            x, y, w, h = row["bbox"]
            assert row["area"] == mask.sum() > 0
            assert (x, y) == (columns[0], lines[0])
            assert (x + w, y + h) == (columns[-1] + 1, lines[-1] + 1)

    def test_nothing_overlaps(self, annotated):
        _, rows, masks = annotated
        assert np.logical_or.reduce(masks).sum() == sum(row["area"] for row in rows)

    @pytest.mark.oracle
    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    def test_pycocotools_reads_the_same_masks(self, annotated):
        coco_mask = pytest.importorskip("pycocotools.mask")
        for row, mask in zip(*annotated[1:], strict=True):
            runs = row["segmentation"]
            if isinstance(runs, list):
                runs = coco_mask.merge(coco_mask.frPyObjects(runs, *mask.shape))
            assert np.array_equal(coco_mask.decode(runs), mask), row["id"]

    def test_the_three_tasks_agree(self, annotated):
        name, rows, masks = annotated
        mask = photos.load(name, "semantic")["mask"]
        instance = photos.load(name, "instance")
        panoptic = photos.load(name, "panoptic")
        ids, segments = panoptic["panoptic_seg"], panoptic["segments_info"]
        things = [s for s in segments if s["isthing"]]
        stuff = [s["category_id"] for s in segments if not s["isthing"]]

        assert [s["id"] for s in segments] == list(range(1, len(rows) + 1))
        assert ids.flatten().bincount()[1:].tolist() == [s["area"] for s in segments]
        labels = torch.tensor([photos.VOID] + [s["category_id"] for s in segments])
        assert torch.equal(labels[ids.long()], mask.long())
        assert len(set(stuff)) == len(stuff), "one segment for each stuff class"

        assert [s["category_id"] for s in things] == instance["labels"].tolist()
        assert len(things) == photos.info(name).num_objects
        for one, box, segment in zip(instance["masks"], instance["boxes"], things, strict=True):
            assert np.array_equal(one, masks[segment["id"] - 1])
            x, y, w, h = rows[segment["id"] - 1]["bbox"]
            assert box.tolist() == [x, y, x + w, y + h]
            assert photos.categories()[segment["category_id"]].isthing

    @pytest.mark.parametrize("name", ["coins", "coffee"])  # grey and coloured
    def test_types(self, name):
        semantic, instance, panoptic = (photos.load(name, task) for task in photos.TASKS)
        assert isinstance(semantic["image"], tv_tensors.Image)
        assert semantic["image"].dtype == semantic["mask"].dtype == torch.uint8
        assert isinstance(semantic["mask"], tv_tensors.Mask)
        assert isinstance(instance["boxes"], tv_tensors.BoundingBoxes)
        assert instance["boxes"].format == tv_tensors.BoundingBoxFormat.XYXY
        assert instance["boxes"].dtype == torch.float32
        assert instance["masks"].dtype == torch.bool
        assert instance["labels"].dtype == torch.int64
        assert panoptic["panoptic_seg"].dtype == torch.int32


def test_a_sample_is_the_callers_own():
    photos.load("cat")["image"].zero_()
    photos.load("cat", "panoptic")["panoptic_seg"].zero_()
    assert photos.load("cat")["image"].any()
    assert photos.load("cat", "panoptic")["panoptic_seg"].any()


@pytest.mark.oracle
def test_pycocotools_opens_the_file():
    COCO = pytest.importorskip("pycocotools.coco").COCO
    coco = COCO(str(resources.files("segedu.data") / "annotations" / "photos.json"))
    assert sorted(coco.getImgIds()) == sorted(IMAGES)
    assert len(coco.getAnnIds()) == len(ANNOTATIONS["annotations"])


class TestDataset:
    def test_all_and_some(self):
        assert len(photos.PhotoDataset()) == len(NAMES)
        two = photos.PhotoDataset(["coffee", "cat"], task="panoptic")
        assert two.names == ("coffee", "cat")
        assert torch.equal(two[1]["image"], photos.load("cat")["image"])
        assert "panoptic_seg" in two[0]
        with pytest.raises(IndexError):
            two[2]

    def test_transforms_move_all_parts_together(self):
        flip = v2.RandomHorizontalFlip(p=1)
        for task, key in [
            ("semantic", "mask"),
            ("instance", "masks"),
            ("panoptic", "panoptic_seg"),
        ]:
            plain = photos.load("coffee", task)
            flipped = photos.PhotoDataset(["coffee"], task, transforms=flip)[0]
            assert torch.equal(flipped["image"], plain["image"].flip(-1))
            assert torch.equal(flipped[key], plain[key].flip(-1))
        boxes, width = photos.load("coffee", "instance")["boxes"], photos.info("coffee").width
        flipped = flip(photos.load("coffee", "instance"))["boxes"]
        assert torch.equal(flipped[:, 0], width - boxes[:, 2])
        assert torch.equal(flipped[:, 2], width - boxes[:, 0])

    def test_a_random_crop_is_the_same_for_image_and_mask(self):
        """The pixels of the coins stay bright after a joint crop and resize."""
        torch.manual_seed(0)
        crop = v2.RandomResizedCrop(128, scale=(0.5, 0.8), antialias=True)
        coin = next(c.id for c in photos.categories() if c.name == "coin")
        sample = photos.PhotoDataset(["coins"], transforms=crop)[0]
        image, mask = sample["image"][0].float(), sample["mask"]
        assert image.shape == mask.shape == (128, 128)
        assert set(mask.unique().tolist()) <= {0, coin}
        assert image[mask == coin].mean() > 1.5 * image[mask != coin].mean()


class TestErrors:
    def test_unknown_name_lists_the_names(self):
        for call in (photos.load, photos.info, lambda name: photos.PhotoDataset([name])):
            with pytest.raises(ValueError, match="name must be one of coins, .*got 'dog'"):
                call("dog")

    def test_unknown_task(self):
        for call in (
            lambda: photos.load("cat", "detection"),
            lambda: photos.PhotoDataset(task="detection"),
        ):
            with pytest.raises(
                ValueError,
                match="task must be one of semantic, instance, panoptic, got 'detection'",
            ):
                call()

    def test_one_string_is_not_a_list_of_names(self):
        with pytest.raises(TypeError, match="names must be a sequence of names, got the string"):
            photos.PhotoDataset("cat")

    def test_missing_scikit_image_names_the_extra(self, monkeypatch):
        plain_import = builtins.__import__

        def without_skimage(name, *args, **kwargs):
            if name.startswith("skimage"):
                raise ModuleNotFoundError(name)
            return plain_import(name, *args, **kwargs)

        photos._pixels.cache_clear()
        for module in [module for module in sys.modules if module.startswith("skimage")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(builtins, "__import__", without_skimage)
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'segedu\[photos\]'"):
            photos.load("cat")
        assert photos.info("cat").width == 451  # what needs no picture still works

    def test_another_picture_under_the_same_name(self, monkeypatch):
        data = pytest.importorskip("skimage.data")
        photos._pixels.cache_clear()
        monkeypatch.setattr(data, "cat", lambda: np.zeros((10, 20, 3), np.uint8))
        with pytest.raises(ValueError, match="cat must be 300 x 451 pixels .* got 10 x 20"):
            photos.load("cat")


def test_labels_and_colors_follow_the_category_ids():
    data = photos.PhotoDataset(["coins"])
    assert data.labels[14] == "coin ｜ 硬币"
    assert data.colors == tuple(c.color for c in photos.categories())
