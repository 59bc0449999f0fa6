"""The focal loss and the low start of a one-stage detector, apart: which of the two does what?

    python benchmarks/dense_head.py            # three losses, two starts, 3 seeds; a few minutes
    python benchmarks/dense_head.py --quick    # a few steps, no file

The features of a trained network stay as they are (``mask_rcnn_tiny``, what its region proposal
network computes), and so do its boxes. One new linear layer gives each anchor a score for each
class; it learns from scenes and is judged on others. The start is the probability that its bias
gives every class at first: 0.5 for a bias of 0, or 0.01, which RetinaNet proposes (Lin et al.
2017, section 4.1). The seed decides weights and order; data are the same for all.
"""

from __future__ import annotations

import math
import sys
from itertools import product
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.race import RESULTS, command_line, origin
from segedu import ops
from segedu.data import scenes
from segedu.files import write_json
from segedu.losses import BinaryFocalLoss
from segedu.metrics import ErrorBudget
from segedu.models import get_model

STARTS = (0.5, 0.01)
LOSSES = {"cross_entropy": (0.0, None), "focal": (2.0, None), "focal_alpha": (2.0, 0.25)}
FOREGROUND, BACKGROUND = 0.5, 0.4  # IoU of anchors, as in RetinaNet
LEARNING_RATE, BATCH = 1e-2, 2


class Budget(NamedTuple):
    size: int = 128
    train: int = 32
    test: int = 32
    steps: tuple[int, ...] = (60, 180)
    seeds: tuple[int, ...] = (0, 1, 2)


class Anchors(NamedTuple):
    """What the network makes of a scene with L places and A anchors each."""

    features: Tensor  # (L, C)
    boxes: Tensor  # (L · A, 4), corrected, in pixels of the scene
    labels: Tensor  # int64 (L · A,), 0 background, -1 between


@torch.no_grad()
def anchors_of(net: nn.Module, sample: dict) -> Anchors:
    batch, levels, (target,) = net.encode([sample["image"]], [sample])
    _, offsets = net.rpn.head(levels)
    anchors = torch.cat(net.rpn.anchors(batch, levels))
    features = [net.rpn.head.conv(level)[0].flatten(1).T for level in levels]
    boxes = net.rpn.coder.decode(torch.cat([o[0] for o in offsets]), anchors)
    scale = sample["image"].shape[-1] / batch.sizes[0][1]
    match = ops.match_iou(ops.box_iou(target["boxes"], anchors), FOREGROUND, BACKGROUND)
    found = target["labels"][match.clamp(min=0)]
    labels = torch.where(match >= 0, found, match + 1)
    boxes = ops.clip_boxes(boxes, batch.sizes[0]) * scale
    return Anchors(torch.cat(features), boxes, labels)


def new_head(channels: int, outputs: int, start: float) -> nn.Linear:
    head = nn.Linear(channels, outputs)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.constant_(head.bias, math.log(start / (1 - start)))
    return head


def loss_of(scores: Tensor, labels: Tensor, criterion: nn.Module) -> Tensor:
    """Sum over anchors and classes, divided by the anchors on objects."""
    counts = labels >= 0
    wanted = F.one_hot(labels.clamp(min=0), scores.shape[1] + 1)[:, 1:]
    # one long row for each class: many short ones would take a hundred times as long
    loss = criterion(scores[counts].T[None], wanted[counts].T[None])
    return loss / (labels > 0).sum().clamp(min=1)


@torch.no_grad()
def read(head: nn.Module, scene: Anchors, classes: int) -> dict[str, Tensor]:
    """The 50 best boxes after NMS."""
    scores, place = head(scene.features).view(-1, classes).sigmoid().flatten().topk(300)
    boxes, labels = scene.boxes[place // classes], place % classes + 1
    kept = ops.batched_nms(boxes, scores, labels, 0.5)[:50]
    return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}


def run(
    start: float,
    loss: str,
    seed: int,
    steps: tuple[int, ...],
    learned: list[Anchors],
    tested: list[tuple[Anchors, dict]],
    classes: int,
) -> list[dict]:
    """AP50 and costs of errors after so many steps each."""
    torch.manual_seed(seed)
    per_place = len(learned[0].labels) // len(learned[0].features)
    head = new_head(learned[0].features.shape[1], per_place * classes, start)
    gamma, alpha = LOSSES[loss]
    criterion = BinaryFocalLoss(gamma, alpha=alpha, reduction="sum")
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE)
    result = []
    for step in range(1, max(steps) + 1):
        for i in torch.randint(len(learned), (BATCH,)).tolist():
            scores = head(learned[i].features).view(-1, classes)
            (loss_of(scores, learned[i].labels, criterion) / BATCH).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step in steps:
            metric = ErrorBudget("bbox")
            found = [read(head, scene, classes) for scene, _ in tested]
            metric.update(found, [sample for _, sample in tested])
            numbers = metric.compute()
            floats = {key: round(v, 4) for key, v in numbers.items() if isinstance(v, float)}
            result.append({"steps": step} | floats)
    return result


def main() -> None:
    quick = command_line(__doc__, "a few steps, no file").parse_args().quick
    budget = Budget(train=2, test=2, steps=(1, 2), seeds=(0,)) if quick else Budget()
    net = get_model("mask_rcnn_tiny", weights="scenes").eval()
    train_set, test_set = scenes.splits(
        budget.train, budget.test, budget.size, seed=1, task="instance"
    )
    learned = [anchors_of(net, train_set[i]) for i in range(budget.train)]
    tested = [(anchors_of(net, test_set[i]), test_set[i]) for i in range(budget.test)]
    labels = torch.cat([scene.labels for scene in learned])
    classes = train_set.num_classes - 1
    runs = {}
    for start, loss in product(STARTS, LOSSES):
        of_seeds = [
            run(start, loss, seed, budget.steps, learned, tested, classes) for seed in budget.seeds
        ]
        runs[f"{start}/{loss}"] = of_seeds
        print(start, loss, [[point["AP50"] for point in points] for points in of_seeds], flush=True)
    if not quick:
        result = {
            **origin(__file__, budget),
            "lr": LEARNING_RATE,
            "batch": BATCH,
            "anchors": len(learned[0].labels),
            "on_objects": round(((labels > 0).sum() / (labels >= 0).sum()).item(), 5),
            "runs": runs,
        }
        print(write_json(RESULTS / "dense_head.json", result))


if __name__ == "__main__":
    main()
