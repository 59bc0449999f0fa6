"""A few scenes learnt by heart: what a tiny network for objects must be able to do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.metrics import AveragePrecision

Samples = Sequence[Mapping[str, Any]]
PLAIN = SceneConfig(scale_range=0.0, occlusion=0.0, clutter=0.0, fine_detail=0.0)
PLAIN_64 = replace(PLAIN, size=64)


def instance_scenes(
    count: int, min_area: int, config: SceneConfig = PLAIN
) -> list[dict[str, Tensor]]:
    """Scenes as the contract of detection wants them, without their smallest objects."""
    samples = []
    for sample in SceneDataset(count, config, task="instance"):
        kept = sample["masks"].flatten(1).sum(1) >= min_area
        samples.append(
            {
                "image": sample["image"].as_subclass(Tensor) / 255,
                "boxes": sample["boxes"].as_subclass(Tensor)[kept],
                "masks": sample["masks"].as_subclass(Tensor)[kept],
                "labels": sample["labels"][kept],
            }
        )
    return samples


def panoptic_scenes(count: int, min_area: int, config: SceneConfig = PLAIN) -> list[dict[str, Any]]:
    """Scenes with all twelve classes; segments too small are void."""
    samples = []
    for sample in SceneDataset(count, config, task="panoptic"):
        info = [segment for segment in sample["segments_info"] if segment["area"] >= min_area]
        ids = sample["panoptic_seg"].as_subclass(Tensor)
        kept = torch.isin(ids, torch.tensor([segment["id"] for segment in info]))
        samples.append(
            {
                "image": sample["image"].as_subclass(Tensor) / 255,
                "panoptic_seg": ids * kept,
                "segments_info": info,
            }
        )
    return samples


def learn(
    model: nn.Module,
    samples: Samples,
    steps: int,
    lr: float,
    compute_loss: Callable[[nn.Module, Samples], Tensor],
    *,
    clip_norm: float = 10.0,
    warmup: float = 0.3,
) -> nn.Module:
    """All samples at every step; the rate rises for a share of the steps, then falls to zero."""
    optimizer = torch.optim.AdamW(model.parameters(), lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=warmup
    )
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        compute_loss(model, samples).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        schedule.step()
    return model.eval()


def summed(model: nn.Module, samples: Samples) -> Tensor:
    return sum(model([sample["image"] for sample in samples], samples).values())


def learns_by_heart(model: nn.Module, compute_loss: Callable[[], Tensor], below: float) -> bool:
    """Whether sixty steps bring the loss below this; the first gradient must reach everything."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(60):
        loss = compute_loss()
        optimizer.zero_grad()
        loss.backward()
        if not step:
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
    return loss.item() < below


@torch.no_grad()
def ap50(model: nn.Module, samples: Samples) -> float:
    metric = AveragePrecision()
    metric.update(model([sample["image"] for sample in samples]), samples)
    return metric.compute()["AP50"]
