"""Short trainings of each network for objects, whose batches two processes share if there are two.

In float64, with nothing left to chance: statistics of batch normalisation fixed, no dropout, and
all taken of which a network draws or chooses some. What is left is what each loss is divided by.
"""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.data.transforms import instances
from segedu.engine import fit, make_loader, seed_everything
from segedu.models import get_model, maskformer, panoptic_deeplab
from segedu.tasks import Instance

CLASSES = 6  # with the background
NARROW = {"base_width": 4}
QUERIES = NARROW | {"width": 32, "num_queries": 6, "num_layers": 1}
# Every anchor counts; and of the proposals only those that do not come from the network: objects.
REGIONS = NARROW | {
    "channels": 8,
    "box_width": 8,
    "mask_width": 8,
    "rpn_batch_size_per_image": 10**6,
    "rpn_positive_fraction": 1.0,
    "rpn_score_thresh": 1.0,
    "box_positive_fraction": 1.0,
}
DETECTORS = {"mask_rcnn_tiny": REGIONS, "yolact_tiny": NARROW | {"image_size": 64}}
PANOPTIC = {
    "panoptic_fpn_tiny": REGIONS | {"width": 8},
    "panoptic_deeplab_tiny": NARROW,
    "embedding_tiny": NARROW,
    "maskformer_tiny": QUERIES,
    "mask2former_tiny": QUERIES,
}
NETWORKS = DETECTORS | PANOPTIC
COUNT_TOGETHER = ("maskformer_tiny", "mask2former_tiny")


def scenes(alike: bool) -> list[dict[str, Any]]:
    """Four scenes, of which two processes get two each: with as many objects, or with others."""
    dataset = SceneDataset(4, SceneConfig(size=64), seed=5, task="instance", transforms=instances())
    samples = [dataset[0 if alike else i] for i in range(4)]
    noise = torch.Generator().manual_seed(0)
    for sample in samples:
        image = sample["image"].as_subclass(Tensor).double()
        sample["image"] = (image + torch.rand(image.shape, generator=noise, dtype=image.dtype)) / 2
        sample["boxes"] = sample["boxes"].as_subclass(Tensor).double()
    return samples


def build(name: str) -> nn.Module:
    """A network in float64 that is the same in training and evaluation."""
    seed_everything(0)
    things = {} if name in DETECTORS else {"things": range(1, CLASSES)}
    model = get_model(name, CLASSES, **NETWORKS[name], **things).double()
    if name == "mask2former_tiny":  # at every pixel instead of points that are drawn
        places = {key: getattr(maskformer.CRITERION, key) for key in ("to_match", "to_compare")}
        model.criterion = model.criterion._replace(**places)
    for module in model.modules():
        if isinstance(module, (_BatchNorm, nn.Dropout)):
            module.eval().train = lambda mode=True, module=module: module
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model


def trained(model: nn.Module, samples: Sequence[dict[str, Any]]) -> list[float]:
    """The losses of two steps, each with all samples, and the weights after them."""
    task = Instance()
    loader = make_loader(samples, len(samples), shuffle=True, collate_fn=task.collate)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with patch.object(panoptic_deeplab, "HARDEST", 1.0):  # all pixels, not a fifth of the batch's
        history = fit(model, loader, task=task, epochs=2, optimizer=optimizer, device="cpu")
    return [*history["loss"], *(p.detach().abs().sum().item() for p in model.parameters())]


def main() -> dict[str, list[float]]:
    """What becomes of every network on scenes alike, and of some on scenes with unlike counts."""
    found = {name: trained(build(name), scenes(alike=True)) for name in NETWORKS}
    for name in COUNT_TOGETHER:
        model = build(name)
        model.criterion = model.criterion._replace(class_weight=0.0)  # that loss counts by itself
        found[f"{name}, unlike"] = trained(model, scenes(alike=False))
    return found
