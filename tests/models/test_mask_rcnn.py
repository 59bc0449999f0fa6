"""Beside torchvision's detector on the same weights; what cannot be learnt or found; learning."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.data.transforms import instances
from segedu.engine import fit, make_loader
from segedu.models.mask_rcnn import (
    MaskRCNN,
    faster_rcnn_resnet50_fpn,
    finetune,
    mask_rcnn_resnet50_fpn,
    mask_rcnn_tiny,
)
from segedu.tasks import Instance
from tests.models.overfit import ap50, instance_scenes, learn, summed
from tests.parity.closed_form import blank, fill, sequence

SMALL = {
    "min_size": 128,
    "max_size": 160,
    "rpn_pre_nms_top_n_train": 200,
    "rpn_pre_nms_top_n_test": 200,
    "rpn_post_nms_top_n_train": 50,
    "rpn_post_nms_top_n_test": 50,
    "box_detections_per_img": 10,
}
CLASSES = 5
# Where to look: the module and whether its input or its output is meant.
SEEN = {
    "backbone": "output",
    "rpn.head": "output",
    "rpn": "output",
    "roi_heads.box_head": "input",
    "roi_heads.box_predictor": "output",
    "roi_heads.mask_head": "input",
    "roi_heads.mask_predictor": "output",
}


@torch.no_grad()
def filled(build: Callable[..., MaskRCNN], **settings: object) -> MaskRCNN:
    """A network of closed-form weights whose scores and boxes vary as those of a trained one."""
    model = fill(blank(build, CLASSES, **SMALL, **settings))
    for block in model.backbone.fpn.inner_blocks:
        block[0].weight.mul_(1e-3)  # features of order 1
    model.rpn.head.bbox_pred.weight.mul_(0.2)  # proposals that resemble their anchors
    return model


def images() -> list[Tensor]:
    return [0.5 + 0.5 * sequence((3, *size), 7) for size in ((100, 140), (120, 90))]


def targets() -> list[dict[str, Tensor]]:
    """Two objects, and three of which one fills a single pixel."""
    boxes = [
        [[10.0, 20.0, 60.0, 80.0], [70.5, 5.0, 130.0, 50.0]],
        [[5.0, 5.0, 40.0, 100.0], [50.0, 60.0, 51.0, 61.0], [30.0, 30.0, 88.0, 118.0]],
    ]
    found = []
    for image, corners in zip(images(), boxes, strict=True):
        masks = torch.zeros(len(corners), *image.shape[1:], dtype=torch.uint8)
        for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
            mask[int(y0) : int(y1), int(x0) : int(x1)] = 1
            mask[int(y0) : int(y0) + 10, int(x0) : int(x0) + 10] = 0  # not a mere box
            mask[int(y0), int(x0)] = 1
        labels = torch.arange(len(corners)) % (CLASSES - 1) + 1
        found.append({"boxes": torch.tensor(corners), "labels": labels, "masks": masks})
    return found


def look(model: nn.Module, *args: object) -> tuple[object, dict[str, object]]:
    """What ``model`` answers, and what flowed through the modules of `SEEN` on the way."""
    seen, hooks = {}, []
    for name, what in SEEN.items():
        if dict(model.named_modules()).get(name) is None:
            continue

        def hook(_, inputs, output, name=name, what=what):
            seen[name] = inputs[0] if what == "input" else output

        hooks.append(model.get_submodule(name).register_forward_hook(hook))
    answer = model(*args)
    for handle in hooks:
        handle.remove()
    return answer, seen


def difference(one: Tensor, two: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert one.shape == two.shape
    return ((one - two).abs().max() / two.abs().max().clamp(min=1)).item()


@pytest.fixture(scope="module", params=["mask", "faster"])
def pair(request) -> tuple[MaskRCNN, nn.Module]:
    """Ours and torchvision's with the same weights, in eval mode."""
    from torchvision.models import detection

    builders = {
        "mask": (mask_rcnn_resnet50_fpn, detection.maskrcnn_resnet50_fpn),
        "faster": (faster_rcnn_resnet50_fpn, detection.fasterrcnn_resnet50_fpn),
    }
    build, reference = builders[request.param]
    ours = filled(build)
    with torch.device("meta"):
        theirs = reference(weights=None, weights_backbone=None, num_classes=CLASSES, **SMALL)
    theirs.load_state_dict(ours.state_dict(), strict=True, assign=True)
    return ours, theirs.eval()


@pytest.mark.oracle
@torch.no_grad()
def test_every_tensor_on_the_way_is_torchvisions(pair):
    from torchvision.models.detection.rpn import concat_box_prediction_layers

    ours, theirs = pair
    detections, seen = look(ours, images())
    expected, wanted = look(theirs, images())
    for level, other in zip(seen["backbone"], wanted["backbone"].values(), strict=True):
        assert difference(level, other) < 1e-5
    logits, offsets = concat_box_prediction_layers(*wanted["rpn.head"])
    assert difference(torch.cat(seen["rpn.head"][0], 1).flatten(), logits.flatten()) < 1e-4
    assert difference(torch.cat(seen["rpn.head"][1], 1).flatten(0, 1), offsets) < 1e-4
    for proposals, other in zip(seen["rpn"][0], wanted["rpn"][0], strict=True):
        assert len(other) > 10 and difference(proposals, other) < 1e-4
    assert difference(seen["roi_heads.box_head"], wanted["roi_heads.box_head"]) < 1e-4
    logits, offsets = seen["roi_heads.box_predictor"]
    assert difference(logits, wanted["roi_heads.box_predictor"][0]) < 1e-4
    assert difference(offsets.flatten(1), wanted["roi_heads.box_predictor"][1]) < 1e-4
    if ours.has_masks:
        for name in ("roi_heads.mask_head", "roi_heads.mask_predictor"):
            assert difference(seen[name], wanted[name]) < 1e-4
    for detection, other in zip(detections, expected, strict=True):
        assert len(other["boxes"]) == SMALL["box_detections_per_img"]
        assert other["scores"].std() > 0.01 and len(other["labels"].unique()) > 1
        assert torch.equal(detection["labels"], other["labels"])
        for key in other.keys() - {"labels"}:
            assert difference(detection[key], other[key]) < 1e-4, key
        assert detection.keys() == other.keys()


@pytest.mark.oracle
@pytest.mark.parametrize("pair", ["mask"], indirect=True)  # Faster R-CNN's are a part of these
def test_losses_and_gradients_are_torchvisions(pair):
    """The same seed draws the same anchors and proposals in both."""
    found = []
    for model in pair:
        model.train()
        torch.manual_seed(0)
        losses = model(images(), targets())
        names = [name for name, p in model.named_parameters() if p.dim() > 1][::7]
        state = dict(model.named_parameters())
        gradients = torch.autograd.grad(sum(losses.values()), [state[name] for name in names])
        model.eval()
        found.append((losses, gradients))
    (losses, gradients), (wanted, expected) = found
    assert losses.keys() == wanted.keys()
    for key, value in wanted.items():
        assert value > 1e-3
        assert losses[key].item() == pytest.approx(value.item(), rel=1e-4), key
    for one, two in zip(gradients, expected, strict=True):
        assert (one - two).norm() < 1e-3 * two.norm() + 1e-7


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries under the names of the files of 2019, without counts of batches."""
    names = {}
    for key in state:
        old = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        for i in range(4):
            old = old.replace(f"mask_head.{i}.0.", f"mask_head.mask_fcn{i + 1}.")
            for block in ("inner_blocks", "layer_blocks"):
                old = old.replace(f"{block}.{i}.0.", f"{block}.{i}.")
        names[key] = old
    return {names[k]: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


@pytest.mark.oracle
@torch.no_grad()
def test_published_files_load_and_stand_still(tmp_path):
    """COCO_V1 has the names of 2019, frozen normalisations and eps = 0."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn
    from torchvision.models.detection._utils import overwrite_eps
    from torchvision.ops import FrozenBatchNorm2d

    state = old_names(filled(mask_rcnn_resnet50_fpn).state_dict())
    torch.save(state, tmp_path / "coco.pth")
    ours = mask_rcnn_resnet50_fpn(CLASSES, weights=tmp_path / "coco.pth", **SMALL).eval()
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(nn, "BatchNorm2d", FrozenBatchNorm2d)
        theirs = maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=CLASSES, **SMALL
        )
    theirs.load_state_dict(ours.state_dict(), strict=True, assign=True)
    overwrite_eps(theirs.eval(), 0.0)
    assert len(ours.state_dict()) == 307
    batch = images()[0][None, :, :64, :64]
    levels, wanted = ours.backbone(batch), theirs.backbone(batch)
    for level, other in zip(levels, wanted.values(), strict=True):
        assert difference(level, other) < 1e-5
    learning = {n for n, p in ours.backbone.body.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in learning} == {"layer2", "layer3", "layer4"}
    with pytest.raises(ValueError, match="weights have 5 classes.*num_classes=5.*finetune"):
        mask_rcnn_resnet50_fpn(3, weights=tmp_path / "coco.pth")


@pytest.fixture(scope="module")
def tiny() -> MaskRCNN:
    torch.manual_seed(0)
    return mask_rcnn_tiny(CLASSES, image_mean=(0.5,) * 3)


def target(*boxes: list[float], size: tuple[int, int] = (100, 140)) -> dict[str, Tensor]:
    """Objects of class 1 that fill their boxes as far as these lie in the image."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[max(int(y0), 0) : int(y1), max(int(x0), 0) : int(x1)] = True
    labels = torch.ones(len(boxes), dtype=torch.int64)
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": labels, "masks": masks}


ODD_TARGETS = {
    "no object": [target()],
    "one image without": [target(), target([5.0, 5.0, 50.0, 60.0])],
    "one pixel": [target([7.0, 9.0, 8.0, 10.0])],
    "half outside": [target([-30.0, -20.0, 40.0, 50.0])],
    "far outside": [target([300.0, 300.0, 340.0, 380.0])],
    "larger than the image": [target([-50.0, -50.0, 400.0, 400.0])],
    "all crowd": [target([5.0, 5.0, 50.0, 60.0]) | {"iscrowd": torch.tensor([1])}],
}


@pytest.mark.parametrize("name", ODD_TARGETS)
def test_odd_targets_train(tiny, name):
    odd = ODD_TARGETS[name]
    losses = tiny.train()([torch.rand(3, 100, 140)] * len(odd), odd)
    total = sum(losses.values())
    assert total.isfinite() and len(losses) == 5
    parameters = list(tiny.parameters())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    assert all(g is not None and g.isfinite().all() for g in gradients)
    if name in ("no object", "all crowd", "far outside"):
        assert losses["loss_mask"] == losses["loss_box_reg"] == losses["loss_rpn_box_reg"] == 0


@torch.no_grad()
def test_nothing_proposed_is_nothing_found_and_trains(tiny, monkeypatch):
    monkeypatch.setattr(tiny.settings, "rpn_score_thresh", 1.0)
    for image, found in zip(images(), tiny.eval()(images()), strict=True):
        assert found["boxes"].shape == (0, 4) and found["labels"].dtype == torch.int64
        assert found["scores"].shape == (0,) and found["masks"].shape == (0, 1, *image.shape[1:])
    losses = tiny.train()([torch.rand(3, 100, 140)], [target()])
    assert sum(losses.values()).isfinite() and losses["loss_classifier"] == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (131, 97)])
@torch.no_grad()
def test_images_of_any_size(tiny, size):
    (found,) = tiny.eval()([torch.rand(3, *size)])
    boxes = found["boxes"]
    assert (boxes >= 0).all() and (boxes <= torch.tensor([*size[::-1], *size[::-1]])).all()
    assert found["masks"].shape[1:] == (1, *size)
    assert (found["scores"].diff() <= 0).all() and (found["labels"] > 0).all()


@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other(tiny):
    both = tiny.eval()(images())
    for image, found in zip(images(), both, strict=True):
        assert image.shape[1:] == found["masks"].shape[2:]
    (alone,) = tiny([images()[0]])
    padded = [images()[0], torch.rand(3, *images()[0].shape[1:])]  # the same padding
    assert difference(tiny(padded)[0]["boxes"], alone["boxes"]) < 1e-4


def test_a_seed_decides_everything(tiny):
    def once() -> list[float]:
        torch.manual_seed(3)
        return [value.item() for value in tiny(images(), targets()).values()]

    tiny.train()
    first = once()
    assert once() == first


def test_several_sizes_are_drawn_and_leave_the_targets_alone():
    model = mask_rcnn_tiny(CLASSES, min_size=(64, 96, 128)).train()
    given = targets()
    before = [{key: value.clone() for key, value in t.items()} for t in given]
    seen = set()
    for _ in range(12):
        batch, scaled = model.transform(images(), given)
        seen.update(min(size) for size in batch.sizes)
        for t, size in zip(scaled, batch.sizes, strict=True):
            assert tuple(t["masks"].shape[1:]) == size
            for box, mask in zip(t["boxes"], t["masks"], strict=True):
                if mask.any():  # a single pixel may vanish
                    y, x = mask.nonzero().T
                    around = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])
                    assert (around - box).abs().max() <= 1
    assert seen == {64, 96, 128}
    for t, b in zip(given, before, strict=True):
        assert all(torch.equal(t[key], b[key]) for key in b)
    assert {min(s) for s in model.eval().transform(images())[0].sizes} == {128}


@torch.no_grad()
def test_what_heads_start_from_and_what_they_make_of_it():
    torch.manual_seed(0)
    model = mask_rcnn_tiny(CLASSES, channels=24).train()
    batch, levels, objects = model.encode(images(), targets())
    assert batch.images.shape[1:] == (3, *(32 * (side // 32) for side in batch.images.shape[2:]))
    height, width = batch.images.shape[-2:]
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32, 64)]
    assert [tuple(level.shape) for level in levels] == [(2, 24, *size) for size in sizes]
    assert [len(found["masks"]) for found in objects] == [2, 3]
    batch, levels, objects = model.eval().encode(images())
    assert objects is None
    for own, whole in zip(model.detect(batch, levels), model(images()), strict=True):
        assert all(torch.equal(own[key], whole[key]) for key in whole)


def test_attention_weighs_the_channels_of_each_level_by_the_image():
    torch.manual_seed(0)
    plain, gated = mask_rcnn_tiny(CLASSES), mask_rcnn_tiny(CLASSES, attention=True)
    added = gated.state_dict().keys() - plain.state_dict().keys()
    assert len(added) == 20 and all(key.startswith("backbone.gates.") for key in added)
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if k not in added})
    ratios = []
    for image in torch.rand(2, 1, 3, 64, 64):
        with torch.no_grad():
            levels = zip(gated.eval().backbone(image), plain.eval().backbone(image), strict=True)
            ratios.append([(a / b).mean(dim=(0, 2, 3)) for a, b in levels])  # (C,) each
    assert all((r > 0).all() and (r < 1).all() and r.std() > 1e-3 for r in ratios[0])
    assert not torch.allclose(ratios[0][0], ratios[0][1]), "the levels have weights of their own"
    assert not torch.allclose(ratios[0][0], ratios[1][0]), "the images decide"
    losses = gated.train()(images(), targets())
    gates = torch.autograd.grad(sum(losses.values()), list(gated.backbone.gates.parameters()))
    assert all(g.abs().sum() > 0 for g in gates[:4])


def test_grey_images_need_one_mean():
    model = mask_rcnn_tiny(CLASSES, image_mean=(0.5,), image_std=(0.2,)).eval()
    with torch.no_grad():
        assert len(model([torch.rand(1, 64, 64)])) == 1
    with pytest.raises(ValueError, match=r"images\[0\] must be \(1, H, W\)"):
        model([torch.rand(3, 64, 64)])


@pytest.mark.parametrize("build", [mask_rcnn_tiny, lambda c: mask_rcnn_tiny(c, mask_width=0)])
def test_finetune_gives_new_last_layers_only(build):
    model = build(CLASSES)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert finetune(model, 3) is model and model.num_classes == 3
    after = model.state_dict()
    changed = {k for k in after if before[k].shape != after[k].shape}
    heads = {"box_predictor.cls_score", "box_predictor.bbox_pred"}
    heads |= {"mask_predictor.mask_fcn_logits"} if model.has_masks else set()
    assert {k.removeprefix("roi_heads.").rsplit(".", 1)[0] for k in changed} == heads
    given = target([5.0, 5.0, 50.0, 60.0])
    assert sum(model.train()([torch.rand(3, 100, 140)], [given]).values()).isfinite()
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        finetune(model, 1)


WRONG = {
    "keys": ({"labels": None}, ValueError, "must have boxes, labels, masks; labels missing"),
    "list": ({"boxes": [[0, 0, 1, 1]]}, TypeError, "boxes.*must be a tensor, got list"),
    "area": ({"boxes": torch.tensor([[9.0, 9, 9, 20]])}, ValueError, "boxes.*with an area"),
    "nan": ({"boxes": torch.full((1, 4), torch.nan)}, ValueError, "boxes.*with an area"),
    "background": ({"labels": torch.tensor([0])}, ValueError, "1, ..., 4 .0 is the background"),
    "class": ({"labels": torch.tensor([CLASSES])}, ValueError, r"labels.*got \[5\]"),
    "count": ({"boxes": torch.rand(2, 4)}, ValueError, r"boxes.*must be \(1, 4\), got \(2, 4\)"),
    "size": ({"masks": torch.ones(1, 9, 9)}, ValueError, r"must be \(1, 100, 140\), got \(1, 9"),
    "soft": ({"masks": torch.ones(1, 100, 140)}, ValueError, "masks.*must be integer or bool"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_targets_are_named(tiny, name):
    change, error, message = WRONG[name]
    wrong = target([5.0, 5.0, 50.0, 60.0]) | change
    wrong = {key: value for key, value in wrong.items() if value is not None}
    with pytest.raises(error, match=message):
        tiny.train()([torch.rand(3, 100, 140)], [wrong])


def test_wrong_images_and_settings_are_named(tiny):
    tiny.train()
    with pytest.raises(ValueError, match="images must not be empty"):
        tiny([])
    with pytest.raises(TypeError, match=r"images\[0\] must be a float tensor.*uint8"):
        tiny([torch.zeros(3, 9, 9, dtype=torch.uint8)])
    with pytest.raises(ValueError, match="targets must be given in training"):
        tiny(images())
    with pytest.raises(ValueError, match="got 1 targets for 2 images"):
        tiny(images(), targets()[:1])
    with pytest.raises(ValueError, match=r"box_nms_thresh must be in \[0, 1\], got 2"):
        mask_rcnn_tiny(2, box_nms_thresh=2)
    with pytest.raises(ValueError, match="box_detections_per_img must be at least 1, got 0"):
        mask_rcnn_tiny(2, box_detections_per_img=0)
    with pytest.raises(ValueError, match="min_size must be"):
        mask_rcnn_tiny(2, min_size=())
    with pytest.raises(ValueError, match="anchor_sizes must be 5"):
        mask_rcnn_tiny(2, anchor_sizes=(8, 16))
    with pytest.raises(ValueError, match="image_mean and image_std"):
        mask_rcnn_tiny(2, image_mean=(0.5,))
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        mask_rcnn_tiny(1)
    with pytest.raises(TypeError, match="colour"):
        mask_rcnn_tiny(2, colour=True)
    with pytest.raises(ValueError, match="trainable_backbone_layers must be 0 to 5, got 6"):
        mask_rcnn_resnet50_fpn(2, trainable_backbone_layers=6)


def test_half_precision_trains_as_whole_precision_does(tiny):
    """Boxes and losses stay in float32; only the features are coarse."""
    found = []
    for enabled in (False, True):
        tiny.train()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses = tiny(images(), targets())
        assert all(value.dtype == torch.float32 for value in losses.values())
        found.append(sum(losses.values()))
    found[1].backward()
    assert all(p.grad.isfinite().all() for p in tiny.parameters())
    tiny.zero_grad()
    assert found[1].item() == pytest.approx(found[0].item(), rel=0.05)


def test_the_training_loop_takes_it_as_the_package_says():
    """On samples as the data sets give them."""
    scenes = SceneDataset(
        2,
        SceneConfig(size=64),
        task="instance",
        transforms=instances((48, 64), flip=True),
    )
    model = mask_rcnn_tiny(6, base_width=4, channels=8, box_width=8, mask_width=8)
    loader = make_loader(scenes, 2, shuffle=True, collate_fn=list)
    history = fit(model, loader, epochs=2, task=Instance())
    assert len(history["loss"]) == 2 and not model.training


@pytest.mark.slow  # a training of 56 steps
def test_the_tiny_network_learns_scenes_by_heart():
    torch.manual_seed(0)
    scenes = instance_scenes(2, min_area=64)
    model = learn(mask_rcnn_tiny(6, sampling_ratio=1), scenes, 56, 4e-3, summed)
    assert ap50(model, scenes) > 0.8


@pytest.mark.gpu
def test_a_gpu_finds_what_the_cpu_finds(tiny):
    tiny.eval()
    with torch.no_grad():
        (on_cpu,) = tiny(images()[:1])
        (on_gpu,) = tiny.cuda()([images()[0].cuda()])
    tiny.cpu()
    assert len(on_gpu["boxes"]) == len(on_cpu["boxes"])
    assert difference(on_gpu["scores"].cpu(), on_cpu["scores"]) < 1e-3
