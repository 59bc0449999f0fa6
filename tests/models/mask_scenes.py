"""What the tests of mask classification share: scenes, and ready predictions."""

from typing import Any

import torch

from segedu.data.scenes import CLASSES, SceneDataset
from segedu.metrics import PanopticQuality

THINGS = {c.id for c in CLASSES if c.isthing}


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
