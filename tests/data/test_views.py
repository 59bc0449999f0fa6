"""Data sets made of others: parts, tiles, one class, samples kept in memory."""

import pickle

import pytest
import torch
from torchvision import tv_tensors

from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.data.transforms import CenterCrop
from segedu.data.views import Cached, Part, SingleClass, Tiles, Transformed, View


def scenes(task, size=(64, 96), count=2):
    return SceneDataset(count, SceneConfig(size), seed=3, task=task)


def test_a_view_says_what_its_data_set_says():
    whole = scenes("semantic")
    view = Transformed(Cached(Part(whole, [1])), lambda sample: sample["mask"])
    assert len(view) == 1 and torch.equal(view[0], whole[1]["mask"])
    assert view.classes == whole.classes and view.labels == whole.labels
    with pytest.raises(AttributeError):
        _ = view.no_such_thing
    assert len(pickle.loads(pickle.dumps(view.dataset))) == 1  # for worker processes


def test_a_cached_sample_is_read_once():
    class Counted(View):
        read = 0

        def __getitem__(self, index):
            type(self).read += 1
            return self.dataset[index]

    counted = Counted(scenes("semantic"))
    kept = Cached(counted)
    assert kept[1] is kept[1] and kept[0] is not kept[1]
    assert Counted.read == 2


def test_all_objects_become_one_class():
    whole = scenes("instance")
    single = SingleClass(whole, "object")
    assert len(set(whole[0]["labels"].tolist())) > 1
    assert single[0]["labels"].eq(1).all() and len(single[0]["labels"]) == len(whole[0]["labels"])
    assert single.classes == (whole.classes[0], "object") and single.num_classes == 2
    assert single.isthing == {0: False, 1: True} and len(single.colors) == 2
    with pytest.raises(ValueError, match="task 'instance', got 'semantic'"):
        SingleClass(scenes("semantic"), "object")


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
def test_tiles_cover_every_pixel_once(task):
    whole = scenes(task)
    tiles = Tiles(whole, (40, 32))  # 64 = 32 + 32, 96 = 3 times 32
    assert len(tiles) == 12
    rows = [torch.cat([tiles[3 * row + i]["image"] for i in range(3)], 2) for row in range(2)]
    assert torch.equal(torch.cat(rows, 1), whole[0]["image"])
    assert tiles.names[:4] == ["0 0 0", "0 0 32", "0 0 64", "0 32 0"]
    assert tiles.names[6] == "1 0 0"
    key = {"semantic": "mask", "instance": "masks", "panoptic": "panoptic_seg"}[task]
    assert sum(tiles[i][key].sum() for i in range(6)) == whole[0][key].sum()


def test_a_cut_object_is_in_each_tile_that_shows_it():
    masks = torch.zeros(2, 4, 8, dtype=torch.bool)
    masks[0, 1:3, 2:6], masks[1, 0, 7] = True, True
    corners = torch.tensor([[2.0, 1, 6, 3], [7, 0, 8, 1]])
    sample = {
        "image": tv_tensors.Image(torch.zeros(3, 4, 8, dtype=torch.uint8)),
        "masks": tv_tensors.Mask(masks),
        "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(4, 8)),
        "labels": torch.tensor([1, 2]),
    }
    left, right = Tiles([sample], (4, 4))
    assert left["labels"].tolist() == [1] and right["labels"].tolist() == [1, 2]
    assert left["boxes"].tolist() == [[2, 1, 4, 3]]
    assert right["boxes"].tolist() == [[0, 1, 2, 3], [3, 0, 4, 1]]


def test_tiles_differ_by_a_pixel_at_most():
    sample = {"image": tv_tensors.Image(torch.zeros(3, 10, 7, dtype=torch.uint8))}
    sizes = [tuple(tile["image"].shape[1:]) for tile in Tiles([sample], (4, 100))]
    assert sizes == [(3, 7), (3, 7), (4, 7)]
    with pytest.raises(ValueError, match="size must be positive"):
        Tiles([sample], (0, 4))


def test_center_crop():
    whole = scenes("semantic")[0]
    middle = CenterCrop((32, 200))(whole)  # wider than the image: all of it
    assert torch.equal(middle["image"], whole["image"][:, 16:48])
    assert torch.equal(middle["mask"], whole["mask"][16:48])
