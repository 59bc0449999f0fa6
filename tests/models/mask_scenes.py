"""What the tests of mask classification share: small networks, scenes, ready predictions."""

from typing import Any

import torch

from segedu.data.scenes import CLASSES, SceneDataset
from segedu.metrics import PanopticQuality
from segedu.models.mask2former import Mask2Former
from segedu.models.mask_classification import MaskClassifier
from segedu.models.maskformer import MaskFormer

THINGS = {c.id for c in CLASSES if c.isthing}
SMALL = {
    "base_width": 8,
    "layers": (1, 1, 1, 1),
    "width": 32,
    "heads": 4,
    "ffn_width": 32,
    "num_queries": 6,
    "num_layers": 2,
}
OWN = {
    MaskFormer: {},
    Mask2Former: {"encoder_ffn_width": 32, "encoder_layers": 1, "num_points": 50},
}


def small(network: type[MaskClassifier], num_classes: int = 4, **settings: Any) -> MaskClassifier:
    torch.manual_seed(0)
    return network(num_classes, **SMALL | OWN[network] | settings)


def two_images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in ((64, 80), (50, 33))]


def two_targets() -> list[dict[str, torch.Tensor]]:
    """One object in the first image, none in the second."""
    masks = torch.zeros(1, 64, 80, dtype=torch.bool)
    masks[0, 10:30, 20:50] = True
    none = torch.zeros(0, 50, 33, dtype=torch.bool)
    return [
        {"masks": masks, "labels": torch.tensor([2])},
        {"masks": none, "labels": torch.zeros(0, dtype=torch.int64)},
    ]


def scenes(count: int, task: str = "panoptic") -> list[dict[str, Any]]:
    """Samples whose images are (3, 128, 128) in [0, 1]."""
    samples = list(SceneDataset(count, seed=1, task=task))
    return [s | {"image": s["image"].as_subclass(torch.Tensor) / 255} for s in samples]


@torch.no_grad()
def panoptic_quality(model: torch.nn.Module, samples: list[dict[str, Any]]) -> float:
    metric = PanopticQuality({c.id: c.isthing for c in CLASSES})
    metric.update(model([sample["image"] for sample in samples]), samples)
    return metric.compute()["pq"]


def decided(labels: list[int], rectangles: list[tuple], num_classes: int = 4, size=(8, 12)):
    """Logits of queries that are sure of a class and of a rectangle (top, left, bottom, right)."""
    classes = torch.full((len(labels), num_classes + 1), -10.0)
    masks = torch.full((len(labels), *size), -10.0)
    for q, (label, (top, left, bottom, right)) in enumerate(zip(labels, rectangles, strict=True)):
        classes[q, label] = 10.0
        masks[q, top:bottom, left:right] = 10.0
    return classes, masks
