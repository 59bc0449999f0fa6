"""What the tests of mask classification share: scenes, a short training, ready predictions."""

import torch

from segedu.data.scenes import CLASSES, SceneDataset
from segedu.metrics import PanopticQuality

THINGS = {c.id for c in CLASSES if c.isthing}


def scenes(count: int, task: str = "panoptic") -> tuple[list[torch.Tensor], list[dict]]:
    """Images (3, 128, 128) in [0, 1] and their samples."""
    samples = [SceneDataset(count, seed=1, task=task)[i] for i in range(count)]
    return [torch.as_tensor(s["image"]).float() / 255 for s in samples], samples


def overfit(model: torch.nn.Module, images, targets, steps: int, lr: float = 2e-3) -> None:
    """Full-batch AdamW with one cycle of the learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def panoptic_quality(model: torch.nn.Module, images, targets) -> float:
    metric = PanopticQuality({c.id: c.isthing for c in CLASSES})
    metric.update(model(images), targets)
    return metric.compute()["pq"]


def decided(labels: list[int], rectangles: list[tuple], num_classes: int = 4, size=(8, 12)):
    """Logits of queries that are sure of a class and of a rectangle (top, left, bottom, right)."""
    classes = torch.full((len(labels), num_classes + 1), -10.0)
    masks = torch.full((len(labels), *size), -10.0)
    for q, (label, (top, left, bottom, right)) in enumerate(zip(labels, rectangles, strict=True)):
        classes[q, label] = 10.0
        masks[q, top:bottom, left:right] = 10.0
    return classes, masks
