import pytest
import torch
from torch import Tensor, nn

from segedu.models.yolact import YOLACT, finetune, from_reference, yolact_tiny
from segedu.models.yolact.loss import (
    BACKGROUND,
    NEUTRAL,
    Objects,
    hard_negatives,
    label_anchors,
    mask_loss,
    match,
    semantic_loss,
)
from segedu.models.yolact.parts import CODER, square_anchors
from segedu.ops.matching import BELOW, BETWEEN
from tests.models.overfit import PLAIN_64, ap50, instance_scenes, learn, summed

SMALL = {"base_width": 4, "layers": (1, 1, 1, 1), "prototypes": 4, "image_size": 64}


def small(num_classes: int = 4, **settings) -> YOLACT:
    torch.manual_seed(0)
    return YOLACT(num_classes, **SMALL | settings)


def target(boxes: list, labels: list, size: tuple[int, int] = (40, 60), **more) -> dict:
    """Objects that fill their boxes."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {
        "boxes": boxes,
        "labels": torch.tensor(labels, dtype=torch.int64),
        "masks": masks,
        **more,
    }


IMAGE = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))


def test_anchors_are_squares_around_the_cells_of_each_level():
    grids = [(4, 4), (2, 2), (1, 1), (1, 1), (1, 1)]
    anchors = square_anchors(grids, torch.empty(0))
    assert anchors.shape == (3 * (16 + 4 + 3), 4)
    side = anchors[:, 2:] - anchors[:, :2]
    torch.testing.assert_close(side[:, 0], side[:, 1])
    center = (anchors[:, :2] + anchors[:, 2:]) / 2
    torch.testing.assert_close(center[:6:3], torch.tensor([[0.125, 0.125], [0.375, 0.125]]))
    ratios = torch.tensor([1, 0.5, 2]).sqrt() * 24 / 550
    torch.testing.assert_close(side[:3, 0], ratios)


def test_every_object_gets_an_anchor_of_its_own():
    # both objects like anchor 0 best; the better one keeps it, the other takes what is left
    iou = torch.tensor([[0.6, 0.1, 0.45], [0.3, 0.2, 0.0]])
    assert match(iou).tolist() == [0, 1, BETWEEN]
    assert match(iou[:, 1:]).tolist() == [1, 0]
    assert match(iou[:0]).tolist() == [BELOW] * 3


def test_anchors_in_crowds_are_neutral_unless_they_have_an_object():
    anchors = torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.7, 0.7], [0.8, 0.8, 1.0, 1.0]])
    objects = Objects(anchors[:1], torch.tensor([3]), torch.ones(1, 8, 8))
    crowds = torch.tensor([[0.0, 0.0, 0.75, 0.75]])
    labels, index = label_anchors(anchors, objects, crowds)
    assert labels.tolist() == [3, NEUTRAL, BACKGROUND]
    assert index[0] == 0
    assert label_anchors(anchors, objects, crowds[:0])[0].tolist() == [3, 0, 0]


def test_hard_negatives_are_three_for_each_positive_and_the_least_like_background():
    logits = torch.zeros(8, 3)
    logits[:, 0] = torch.arange(8.0)
    labels = torch.tensor([0, NEUTRAL, 2, 0, 0, 0, 0, 0])
    assert hard_negatives(logits, labels).nonzero().flatten().tolist() == [0, 3, 4]
    assert not hard_negatives(logits, labels.clamp(max=0)).any()
    assert hard_negatives(logits, labels.clamp(min=1)).sum() == 0  # nothing left to take


def test_mask_loss_is_the_mean_over_the_box_of_each_object():
    prototypes = torch.full((1, 16, 16), 2.0, requires_grad=True)
    coefficients = torch.tensor([[0.5], [-0.5]])
    masks = torch.zeros(1, 16, 16)
    masks[0, 4:8, 4:12] = 1
    objects = Objects(torch.tensor([[4.0, 4, 12, 8]]) / 16, torch.tensor([1]), masks)
    right, wrong = (torch.nn.functional.softplus(torch.tensor(x)) for x in (-1.0, 1.0))
    ring = 10 * 6 - 8 * 4  # the crop leaves a border of one pixel, where the target is 0
    expected = ((32 * right + ring * wrong) + (32 * wrong + ring * right)) / 32
    loss = mask_loss(prototypes, coefficients, objects, torch.tensor([0, 0]))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert prototypes.grad[0, 0, 0] == 0  # outside of the box nothing is learnt


def test_more_masks_than_a_hundred_are_drawn_by_chance_and_scaled():
    objects = Objects(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([1]), torch.ones(1, 8, 8))
    prototypes, index = torch.ones(1, 8, 8), torch.zeros(250, dtype=torch.int64)
    one = mask_loss(prototypes, torch.ones(1, 1), objects, index[:1])
    torch.testing.assert_close(mask_loss(prototypes, torch.ones(250, 1), objects, index), 250 * one)


def test_semantic_loss_sees_the_union_of_the_objects_of_a_class():
    masks = torch.zeros(2, 8, 8)
    masks[0, :4], masks[1, 4:] = 1, 1
    objects = Objects(torch.zeros(2, 4), torch.tensor([2, 2]), masks)
    logits = torch.stack([torch.full((8, 8), -30.0), torch.full((8, 8), 30.0)])
    assert semantic_loss(logits, objects) < 1e-6
    assert semantic_loss(-logits, objects) > 59


def test_the_authors_names_are_ours_one_to_one():
    theirs = [f"fpn.{kind}.{i}" for kind in ("lat_layers", "pred_layers") for i in range(3)]
    theirs += [f"fpn.downsample_layers.{i}" for i in range(2)]
    theirs += [f"proto_net.{i}" for i in (0, 2, 4, 8, 10)]
    layers = ("upfeature.0", "bbox_layer", "conf_layer", "mask_layer")
    theirs += [f"prediction_layers.0.{layer}" for layer in layers] + ["semantic_seg_conv"]
    state = dict.fromkeys(f"{name}.{kind}" for name in theirs for kind in ("weight", "bias"))
    ours = {name for name in small().state_dict() if not name.startswith("backbone.")}
    assert {*from_reference(state)} == ours
    pairs = {
        "backbone.conv1.weight": "backbone.conv1.weight",
        "backbone.layers.0.1.bn2.bias": "backbone.layer1.1.bn2.bias",
        "fpn.lat_layers.0.bias": "pyramid.fpn.inner_blocks.2.0.bias",  # theirs begins at C5
        "proto_net.8.bias": "protonet.7.bias",
    }
    assert [*from_reference(pairs)] == [*pairs.values()]


@torch.no_grad()
def test_detections_follow_the_contract():
    model = small(score_thresh=0.0).eval()
    found = model([IMAGE, torch.rand(3, 33, 70)])
    for detections, size in zip(found, [(40, 60), (33, 70)], strict=True):
        count = len(detections["scores"])
        assert 0 < count <= 100
        assert detections["boxes"].shape == (count, 4)
        assert detections["masks"].shape == (count, 1, *size)
        assert 0 <= detections["masks"].min() <= detections["masks"].max() <= 1
        assert 1 <= detections["labels"].min() <= detections["labels"].max() <= 3
        x0, y0, x1, y1 = detections["boxes"].T
        assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= size[1]).all()
        assert (y1 <= size[0]).all()
        assert (detections["scores"].diff() <= 0).all()


@torch.no_grad()
def test_no_detections_are_empty_tensors():
    (found,) = small(score_thresh=1.0).eval()([IMAGE])
    shapes = {key: tuple(value.shape) for key, value in found.items()}
    assert shapes == {"boxes": (0, 4), "labels": (0,), "scores": (0,), "masks": (0, 1, 40, 60)}


@pytest.mark.parametrize(
    "targets",
    [
        [target([], []), target([], [])],
        [target([], []), target([[5, 5, 30, 30]], [1])],
        [target([[7, 7, 8, 8]], [3]), target([[0, 0, 60, 40]], [2])],
        [
            target([[5, 5, 30, 30]], [1], iscrowd=torch.tensor([True])),
            target([[5, 5, 30, 30], [9, 0, 60, 40]], [1, 2], iscrowd=torch.tensor([0, 1])),
        ],
    ],
    ids=["no objects", "one image without", "one pixel and all pixels", "crowds"],
)
def test_empty_cases_train(targets):
    model = small().train()
    losses = model([IMAGE, IMAGE], targets)
    assert [*losses] == ["loss_classifier", "loss_box_reg", "loss_mask", "loss_semantic"]
    assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    if not sum(len(t["labels"]) for t in targets):
        assert [losses[key].item() for key in [*losses][:3]] == [0, 0, 0]


def test_the_same_seed_gives_the_same_training():
    def train() -> list[Tensor]:
        return [
            *learn(
                small(), [{"image": IMAGE, **target([[5, 5, 30, 30]], [1])}] * 2, 2, 1e-3, summed
            ).parameters()
        ]

    assert all(torch.equal(a, b) for a, b in zip(train(), train(), strict=True))


def test_box_offsets_survive_the_way_there_and_back():
    anchors = square_anchors([(4, 4)] * 5, torch.empty(0))
    boxes = torch.tensor([0.2, 0.3, 0.5, 0.9]).expand_as(anchors)
    torch.testing.assert_close(CODER.decode(CODER.encode(boxes, anchors), anchors), boxes)


def test_finetune_gives_new_last_layers_only():
    model = small().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    old = model.encode([IMAGE])[0]
    assert finetune(model, 3) is model and model.num_classes == 3
    new = {name: value for name, value in model.state_dict().items() if name in before}
    changed = {name.rsplit(".", 1)[0] for name in new if not new[name].equal(before[name])}
    assert len(new) == len(before) and changed == {"head.score", "semantic"}
    output = model.encode([IMAGE])[0]
    assert output.scores.shape[2] == 3 and output.semantic.shape[1] == 2
    for name in ("boxes", "coefficients", "prototypes"):
        torch.testing.assert_close(getattr(output, name), getattr(old, name), rtol=0, atol=0)
    sample = {"image": IMAGE} | target([[5, 5, 30, 30]], [2])
    assert summed(model.train(), [sample]).isfinite()
    with pytest.raises(ValueError, match="num_classes includes the background.*got 1"):
        finetune(model, 1)


def test_bad_targets_and_settings_are_named():
    model = small().train()
    with pytest.raises(ValueError, match="targets must be given in training"):
        model([IMAGE])
    with pytest.raises(ValueError, match=r"targets\[0\]\['labels'\] must be in 1, ..., 3 .* got"):
        model([IMAGE], [target([[5, 5, 30, 30]], [4])])
    with pytest.raises(ValueError, match="must be xyxy with an area"):
        model([IMAGE], [target([[5, 5, 5, 30]], [1])])
    with pytest.raises(ValueError, match="masks"):
        model([IMAGE], [target([[5, 5, 9, 9]], [1], size=(9, 9))])
    with pytest.raises(ValueError, match="at least 2, got 1"):
        small(1)


@pytest.mark.weekly  # a training of 60 steps; a few are in test_tasks.py
def test_the_tiny_network_learns_scenes_by_heart():
    torch.manual_seed(0)
    scenes = instance_scenes(2, min_area=16, config=PLAIN_64)
    model: nn.Module = learn(yolact_tiny(6), scenes, 60, 3e-3, summed)
    assert ap50(model, scenes) > 0.8
