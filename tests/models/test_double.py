"""In float64 no network and no loss of a network rounds to float32 on the way."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segedu.models import get_model, list_models
from segedu.tasks import Instance, Promptable
from tests.models import test_models, test_sam

NARROW = {"base_width": 8}
REGIONS = {"base_width": 4, "channels": 8, "box_width": 8, "mask_width": 8}
FEW = {"box_score_thresh": 0.0, "box_detections_per_img": 5, "rpn_post_nms_top_n_test": 20}
QUERIES = NARROW | {"width": 32, "num_queries": 5, "num_layers": 1, "task": "instance"}
# With random weights they find something, but not much.
OBJECTS = {
    "mask_rcnn_tiny": REGIONS | FEW,
    "yolact_tiny": NARROW | {"score_thresh": 0.0, "detections_per_img": 5},
    "panoptic_fpn_tiny": REGIONS | FEW | {"width": 8},
    "panoptic_deeplab_tiny": NARROW | {"center_threshold": -9.0, "top_k": 5},
    "embedding_tiny": NARROW,
    "maskformer_tiny": QUERIES,
    "mask2former_tiny": QUERIES | {"num_points": 64},
    "sam_tiny": test_sam.SMALL,
}
VOLUMES = {"unet3d": {"base_width": 4}, "nnunet": {"base_width": 4, "stages": 3}}
NAMES = [*test_models.NAMES, *VOLUMES, *OBJECTS]
# These differ from another name in size only, or have no masks.
SAME_WHEN_NARROW = {
    "faster_rcnn_resnet50_fpn",
    "mask_rcnn_resnet50_fpn",
    *(f"yolact_resnet{depth}" for depth in (50, 101)),
    "panoptic_fpn_resnet50",
    "panoptic_deeplab_resnet50",
    "embedding_enet",
    "maskformer_resnet50",
    "mask2former_resnet50",
    *(f"sam_vit_{size}" for size in ("base", "large", "huge")),
}
SIZE = 44, 60  # multiples of 11 and 15: float32 rounds their parts


class Exact(TorchDispatchMode):
    """Refuses to round float64, and to mix it with numbers of float32 that may be rounded.

    Whole and half numbers are not: places of pixels, masks.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given, made = real((args, kwargs)), real(result)
        if any(x.dtype == torch.float64 for x in given):
            assert all(x.dtype == torch.float64 for x in made), f"{function} rounds"
        if any(x.dtype == torch.float64 for x in made):
            for x in given:
                whole = x.dtype == torch.float64 or torch.equal((2 * x).round(), 2 * x)
                assert whole, f"{function} is given rounded numbers"
        return result


def real(output: Any) -> list[Tensor]:
    """The real-valued tensors in a nest of tuples, lists and dicts."""
    leaves = tree_leaves(output)
    return [x for x in leaves if isinstance(x, Tensor) and x.is_floating_point()]


def numbers(output: Any) -> list[Tensor]:
    """`real`, and the scores of segments, which are plain numbers."""
    scores = [x for x in tree_leaves(output) if isinstance(x, float)]
    return [*real(output), *([torch.tensor(scores, dtype=torch.float64)] if scores else [])]


def build(name: str) -> nn.Module:
    if name in test_models.NAMES:
        return test_models.wake(test_models.narrow(name))
    torch.manual_seed(1)
    classes = {} if name == "sam_tiny" else {"num_classes": 4}
    model = test_models.wake(get_model(name, **classes, **(OBJECTS | VOLUMES)[name]))
    if name == "panoptic_fpn_tiny":
        model.rules["score_threshold"] = 0.0
    return model


def answer(name: str, model: nn.Module, image: Tensor) -> Any:
    """What the network says of an image (3, H, W)."""
    if name in VOLUMES:
        return model(image[:1].reshape(1, 1, 10, 12, 22))
    if name in test_models.NAMES:
        return model(image[None])
    if name == "sam_tiny":
        place, label = torch.tensor([[[[9.0, 30.0]]]]), torch.ones(1, 1, 1, dtype=torch.int64)
        return model(image[None], points=place, labels=label)
    return model([image])


def test_every_network_is_here():
    same = SAME_WHEN_NARROW | test_models.SAME_WHEN_NARROW
    assert {*NAMES} == {*list_models()} - same


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_answers_are_not_rounded(name):
    model = build(name).eval()
    image = torch.rand(3, *SIZE)
    usual = numbers(answer(name, model, image))
    model, image = model.double(), image.double()
    with Exact():
        exact = numbers(answer(name, model, image))
    assert {x.dtype for x in exact} == {torch.float64}
    for one, other in zip(usual, exact, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 1e-3 * other.abs().max()


@pytest.mark.parametrize("name", OBJECTS)
def test_losses_are_not_rounded(name):
    model = build(name).double().train()
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, 5:20, 7:50] = masks[1, 23:40, 20:41] = True
    sample = {
        "image": torch.rand(3, *SIZE).double(),
        "boxes": torch.tensor([[7.0, 5, 50, 20], [20, 23, 41, 40]]),
        "labels": torch.tensor([1, 2]),
        "masks": masks,
    }
    task = Promptable() if name == "sam_tiny" else Instance()
    with Exact():
        loss = task.loss(model, [sample])
        loss.backward()
    assert loss.dtype == torch.float64 and loss.isfinite()
