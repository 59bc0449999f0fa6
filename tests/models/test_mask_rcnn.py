"""Beside torchvision's detector on the same weights; what cannot be learnt or found; learning."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segedu.models.mask_rcnn import MaskRCNN, faster_rcnn_resnet50_fpn, mask_rcnn_resnet50_fpn

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
from closed_form import blank, fill, sequence

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
