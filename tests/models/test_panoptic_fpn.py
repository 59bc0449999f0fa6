"""Who gets a pixel; what each head learns; every empty case; learning."""

import pytest
import torch
from torch import Tensor

from segedu.data.scenes import CLASSES
from segedu.metrics import PanopticQuality
from segedu.models.panoptic_fpn import (
    VOID,
    PanopticFPN,
    fuse,
    panoptic_fpn_resnet50,
    panoptic_fpn_tiny,
    stuff_target,
    thing_targets,
)
from tests.models.overfit import learn, panoptic_scenes, summed

THINGS, STUFF = (3, 4), (0, 1, 2)


def box_masks(*boxes: tuple[int, int, int, int], size: int = 10) -> Tensor:
    """Probabilities (D, 1, size, size): 0.9 in each box x0, y0, x1, y1, else 0.1."""
    masks = torch.full((len(boxes), 1, size, size), 0.1)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[0, y0:y1, x0:x1] = 0.9
    return masks


def found(scores: list[float], labels: list[int], masks: Tensor) -> dict[str, Tensor]:
    labels = torch.tensor(labels, dtype=torch.int64)
    return {"scores": torch.tensor(scores), "labels": labels, "masks": masks}


def test_the_surest_objects_go_first_and_stuff_takes_the_rest():
    semantic = torch.ones(10, 10, dtype=torch.int64)  # class 0 everywhere ...
    semantic[8:] = 2  # ... but class 1 in 20 pixels below,
    semantic[0, :5] = 0  # and some that the semantic head holds for a thing
    masks = box_masks((0, 2, 6, 6), (4, 2, 10, 6), (0, 3, 6, 5), (0, 0, 2, 2))
    detection = found([0.9, 0.8, 0.7, 0.4], [1, 2, 1, 1], masks)
    result = fuse(detection, semantic, THINGS, STUFF, stuff_area=20)
    seg = result["panoptic_seg"]
    assert seg.dtype == torch.int32
    assert result["segments_info"] == [
        {"id": 1, "category_id": 3, "isthing": True, "score": pytest.approx(0.9), "area": 24},
        # 8 of its 24 pixels were taken, which is less than half
        {"id": 2, "category_id": 4, "isthing": True, "score": pytest.approx(0.8), "area": 16},
        # the third lies wholly under the first, the fourth is not sure enough
        {"id": 3, "category_id": 0, "isthing": False, "area": 35},
        {"id": 4, "category_id": 1, "isthing": False, "area": 20},
    ]
    assert (seg[2:6, :6] == 1).all() and (seg[2:6, 6:] == 2).all() and (seg[8:] == 4).all()
    assert (seg[0, :5] == 0).all(), "no object there and no stuff: void"
    for segment in result["segments_info"]:
        assert (seg == segment["id"]).sum() == segment["area"]
    less = fuse(detection, semantic, THINGS, STUFF, stuff_area=21)
    assert [s["category_id"] for s in less["segments_info"]] == [3, 4, 0]
    assert (less["panoptic_seg"][8:] == 0).all()


def test_an_object_may_be_covered_by_half_and_no_more():
    semantic = torch.zeros(10, 10, dtype=torch.int64)
    for right, kept in ((8, True), (7, False)):  # the second box begins at column 4
        masks = box_masks((0, 0, 6, 4), (4, 0, right, 4))
        result = fuse(found([0.9, 0.8], [1, 1], masks), semantic, THINGS, STUFF)
        assert (len(result["segments_info"]) == 2) == kept


def test_nothing_found_leaves_void():
    detection = found([], [], torch.zeros(0, 1, 4, 5))
    result = fuse(detection, torch.zeros(4, 5, dtype=torch.int64), THINGS, STUFF)
    assert result["segments_info"] == [] and not result["panoptic_seg"].any()


def sample() -> dict[str, object]:
    """Two things, one crowd of things, two kinds of stuff, a void corner, an id without pixels."""
    seg = torch.full((60, 80), 5, dtype=torch.int32)
    seg[30:] = 9
    seg[10:40, 10:30] = 1
    seg[20:50, 50:70] = 2
    seg[0:8, 60:80] = 4
    seg[55:, 70:] = 0
    info = [
        {"id": 5, "category_id": 0, "isthing": False},
        {"id": 9, "category_id": 2, "isthing": False},
        {"id": 1, "category_id": 4, "isthing": True},
        {"id": 2, "category_id": 3, "isthing": True},
        {"id": 4, "category_id": 3, "isthing": True, "iscrowd": 1},
        {"id": 7, "category_id": 3, "isthing": True},
    ]
    return {"panoptic_seg": seg, "segments_info": info}


def test_each_head_learns_its_part_of_a_sample():
    given = sample()
    objects = thing_targets(given, THINGS)
    assert objects["labels"].tolist() == [2, 1]
    assert objects["boxes"].tolist() == [[10, 10, 30, 40], [50, 20, 70, 50]]
    assert torch.equal(objects["masks"][0], given["panoptic_seg"] == 1)
    semantic, seg = stuff_target(given, STUFF), given["panoptic_seg"]
    for ident, label in ((5, 1), (9, 3), (1, 0), (2, 0), (4, 0), (0, VOID)):
        assert (semantic[seg == ident] == label).all()


@pytest.fixture(scope="module")
def tiny() -> PanopticFPN:
    torch.manual_seed(0)
    return panoptic_fpn_tiny(5, things=THINGS)


def nothing() -> dict[str, object]:
    return {"panoptic_seg": torch.zeros(60, 80, dtype=torch.int32), "segments_info": []}


def stuff_only() -> dict[str, object]:
    info = [{"id": 3, "category_id": 1, "isthing": False}]
    return {"panoptic_seg": torch.full((60, 80), 3, dtype=torch.int32), "segments_info": info}


def crowd_only() -> dict[str, object]:
    info = [{"id": 3, "category_id": 3, "isthing": True, "iscrowd": 1}]
    return {"panoptic_seg": torch.full((60, 80), 3, dtype=torch.int32), "segments_info": info}


@pytest.mark.parametrize("make", [sample, nothing, stuff_only, crowd_only])
def test_odd_samples_train_every_parameter(tiny, make):
    losses = tiny.train()([torch.rand(3, 60, 80), torch.rand(3, 60, 80)], [make(), sample()])
    assert losses.keys() == {
        "loss_objectness",
        "loss_rpn_box_reg",
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
        "loss_semantic",
    }
    gradients = torch.autograd.grad(sum(losses.values()), list(tiny.parameters()))
    assert all(g.isfinite().all() for g in gradients)
    only = tiny([torch.rand(3, 60, 80)], [make()])
    assert sum(only.values()).isfinite()
    assert (only["loss_semantic"] == 0) == (make is nothing)


@torch.no_grad()
def test_results_fit_the_images_and_the_metric(tiny):
    tiny.eval()
    metric = PanopticQuality({c: c in THINGS for c in range(5)})
    for size in ((60, 80), (131, 97), (33, 200)):
        (result,) = tiny([torch.rand(3, *size)])
        assert result["panoptic_seg"].shape == size
        metric.update(result, result)  # which checks ids and areas
    assert metric.compute()["pq"] == pytest.approx(1)


def test_padding_and_void_teach_nothing(tiny):
    """What stands in void pixels of the target does not change the semantic loss."""
    tiny.eval()  # batch statistics apart
    image = torch.rand(3, 60, 80)
    batch, _ = tiny.mask_rcnn.transform([image])
    levels = tiny.mask_rcnn.backbone(batch.images)
    whole = stuff_target(sample(), STUFF)
    logits = tiny.semantic_head(levels, batch.images)[:, :, : batch.sizes[0][0]]
    rows, columns = (
        (2 * torch.arange(n) + 1) * s // (2 * m)  # the pixel under the centre
        for n, s, m in zip(batch.sizes[0], (60, 80), batch.sizes[0], strict=True)
    )
    wanted = whole[rows][:, columns]
    expected = torch.nn.functional.cross_entropy(
        logits[:, :, :, : wanted.shape[1]], wanted[None], ignore_index=VOID
    )
    assert tiny.semantic_loss(levels, batch, [whole]).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_a_seed_decides_everything(tiny):
    def once() -> list[float]:
        torch.manual_seed(3)
        image = torch.rand(3, 60, 80)
        return [value.item() for value in tiny([image], [sample()]).values()]

    tiny.train()
    first = once()
    assert once() == first


@pytest.mark.weekly  # a training of 100 steps; a few are in test_tasks.py
def test_the_tiny_network_learns_scenes_by_heart():
    torch.manual_seed(0)
    things = {c.id: c.isthing for c in CLASSES}
    scenes = panoptic_scenes(2, min_area=64)
    model = panoptic_fpn_tiny(
        len(CLASSES), things=[c for c in things if things[c]], sampling_ratio=1
    )
    learn(model, scenes, 100, 4e-3, summed)
    metric = PanopticQuality(things)
    with torch.no_grad():
        metric.update(model([scene["image"] for scene in scenes]), scenes)
    assert metric.compute()["pq"] > 0.7


def test_parameters_are_detectron2s():
    """Its model zoo's network has 45,973,990, no background class and frozen normalisations."""
    with torch.device("meta"):
        model = panoptic_fpn_resnet50(133, things=range(80))
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    frozen = sum(p.numel() for norm in norms for p in norm.parameters())
    background = 4 * (1024 + 1) + (256 + 1)  # box and mask; its score there is, as the last class
    assert sum(p.numel() for p in model.parameters()) - frozen - background == 45_973_990


def test_mistakes_are_named(tiny):
    tiny.train()
    image = torch.rand(3, 60, 80)
    with pytest.raises(ValueError, match="targets must be given in training"):
        tiny([image])
    with pytest.raises(ValueError, match=r"targets\[0\].*segments_info missing"):
        tiny([image], [{"panoptic_seg": sample()["panoptic_seg"]}])
    with pytest.raises(ValueError, match=r"panoptic_seg.*\(60, 80\)"):
        tiny([image], [sample() | {"panoptic_seg": torch.zeros(5, 5, dtype=torch.int32)}])
    wrong = sample()
    wrong["segments_info"][0]["category_id"] = 5
    with pytest.raises(ValueError, match="category_id in 0, ..., 4, got 5"):
        tiny([image], [wrong])
    with pytest.raises(ValueError, match="things must be one or more of the classes 0 to 4"):
        panoptic_fpn_tiny(5, things=())
    for things in ((5,), (-1, 2)):
        with pytest.raises(ValueError, match="things must be in 0, ..., 4, got"):
            panoptic_fpn_tiny(5, things=things)
