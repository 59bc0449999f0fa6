"""Beyond one image: masks carried through videos, and points in any order.

    python benchmarks/beyond.py                # both; some minutes of one processor
    python benchmarks/beyond.py --part video   # only one of video, points
    python benchmarks/beyond.py --quick        # smallest sizes, no file

Each part writes its own entry of ``book/results/beyond.json``. The trained networks of the package
(``unet``, ``mask_rcnn_tiny``) were learnt on other scenes than those of these parts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.race import RESULTS
from segedu.data.scenes import SceneConfig
from segedu.data.scenes.points import LABELS, point_cloud
from segedu.data.scenes.video import generate_video
from segedu.engine.propagation import color_features, layer_features, propagate
from segedu.files import read_json, write_json
from segedu.machine import describe as machine
from segedu.metrics import SemanticMetrics
from segedu.metrics.video import VideoObjects, temporal_consistency
from segedu.models import get_model
from segedu.models.pointnet import PointNet

LEAST = 40  # pixels of an object in the first frame that is followed
FIRST = 5000  # seed of the first clip; the networks of the package learnt the scenes 0 to 2047


class Video(NamedTuple):
    clips: int = 6
    frames: int = 8
    size: int = 96


class Points(NamedTuple):
    train: int = 128
    test: int = 64
    points: int = 512
    steps: int = 200
    batch: int = 16
    seeds: tuple[int, ...] = (0, 1, 2)


QUICK = {
    "video": Video(1, 3, 48),
    "points": Points(16, 2, 64, 2, 16, (0,)),
}


def mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 4)


# ------------------------------------------------------------------------------------ video


def objects_of(panoptic: np.ndarray) -> Tensor:
    """Numbers of the things that are large enough in the first frame, 0 elsewhere: (T, H, W)."""
    ids, areas = np.unique(panoptic[0], return_counts=True)
    kept = [i for i, area in zip(ids, areas, strict=True) if i > 16 and area >= LEAST]
    return torch.from_numpy(np.where(np.isin(panoptic, kept), panoptic, 0)).long()


def normalised(model: nn.Module, images: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) as a trained semantic network wants them."""
    mean_, std = (torch.tensor(v).view(3, 1, 1) for v in (model.trained.mean, model.trained.std))
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean_) / std


@torch.no_grad()
def detect_and_link(detector: nn.Module, images: np.ndarray, first: Tensor) -> Tensor:
    """Masks of each frame by itself; an object takes the one that overlaps its last mask most."""
    frames = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = [first]
    last = {i: first == i for i in first.unique().tolist() if i}
    for frame in frames[1:]:
        masks = detector([frame])[0]["masks"][:, 0] > 0.5
        now = torch.zeros_like(first)
        for number, mask in last.items():
            union = (masks | mask).sum((1, 2)).clamp(min=1)
            iou = (masks & mask).sum((1, 2)) / union
            if len(iou) and iou.max() > 0.1:
                last[number] = masks[iou.argmax()]
                now[last[number]] = number
        found.append(now)
    return torch.stack(found)


def video(budget: Video) -> dict[str, Any]:
    """J&F of objects carried through clips, and how a network of single frames flickers."""
    clips, frames, size = budget
    unet = get_model("unet", weights="scenes").eval()
    detector = get_model("mask_rcnn_tiny", weights="scenes").eval()
    judges: dict[str, VideoObjects] = {}
    flicker: dict[str, list[dict[str, float]]] = {"moving": [], "noise only": []}
    for seed in range(FIRST, FIRST + clips):
        clip = generate_video(seed, SceneConfig(size=size), frames=frames)
        wanted = objects_of(clip.panoptic)
        images = normalised(unet, clip.images)
        colors = color_features(torch.from_numpy(clip.images).permute(0, 3, 1, 2) / 255, size // 2)
        features = layer_features(unet, images, "decoder.3", size // 2)
        found = {
            "first mask kept": wanted[:1].expand_as(wanted),
            "colours": propagate(colors, wanted[0]),
            "colours, near": propagate(colors, wanted[0], radius=6),
            "features": propagate(features, wanted[0]),
            "features, near": propagate(features, wanted[0], radius=6),
            "detected and linked": detect_and_link(detector, clip.images, wanted[0]),
        }
        for name, masks in found.items():
            judges.setdefault(name, VideoObjects()).update(masks, wanted)
        still = generate_video(seed, SceneConfig(size=size), frames=frames, speed=0)
        for name, one in (("moving", clip), ("noise only", still)):
            with torch.no_grad():
                labels = unet(normalised(unet, one.images)).argmax(1)
            result = temporal_consistency(labels, torch.from_numpy(one.flow), 12)
            metric = SemanticMetrics(12)
            metric.update(labels, torch.from_numpy(one.semantic).long())
            flicker[name].append(result | {"accuracy": metric.compute()["pixel_accuracy"]})
        print(seed, {name: round(j.compute()["J&F"], 3) for name, j in judges.items()}, flush=True)
    scores = {name: judge.compute() for name, judge in judges.items()}
    return {
        "objects": len(next(iter(scores.values()))["cases"]),
        "followed": {
            name: {key: round(v, 4) for key, v in score.items() if isinstance(v, float)}
            for name, score in scores.items()
        },
        "consistency": {
            name: {key: mean([row[key] for row in rows]) for key in rows[0]}
            for name, rows in flicker.items()
        },
    }


# ----------------------------------------------------------------------------------- points


class Alone(PointNet):
    """Each point without the cloud: the description of the whole is zero."""

    def forward(self, points: Tensor) -> Tensor:
        local = self.point(points.transpose(1, 2))
        nothing = local.new_zeros(len(local), self.cloud[-2].num_features, local.shape[2])
        return self.head(torch.cat([local, nothing], 1))


def clouds(seeds: range, number: int) -> tuple[Tensor, Tensor]:
    """Points (N, P, 3) in units of 5, 2 and 10 m, and labels (N, P)."""
    made = [point_cloud(seed, SceneConfig(size=64), number=number) for seed in seeds]
    points = torch.from_numpy(np.stack([cloud.points for cloud in made]))
    labels = torch.from_numpy(np.stack([cloud.labels for cloud in made]))
    return points / torch.tensor([5.0, 2.0, 10.0]), labels


def learn_points(net: PointNet, points: Tensor, labels: Tensor, budget: Points) -> PointNet:
    optimizer = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=budget.steps)
    for _ in range(budget.steps):
        chosen = torch.randint(len(points), (budget.batch,))
        loss = F.cross_entropy(net(points[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def points(budget: Points) -> dict[str, Any]:
    """Classes of points by their places alone, with and without a view of the cloud."""
    learned = clouds(range(5000, 5000 + budget.train), budget.points)
    tested = clouds(range(9000, 9000 + budget.test), budget.points)
    scores: dict[str, list[dict[str, Any]]] = {"with the cloud": [], "each point alone": []}
    for (name, results), kind in zip(scores.items(), (PointNet, Alone), strict=True):
        for seed in budget.seeds:
            torch.manual_seed(seed)
            net = learn_points(kind(len(LABELS), base_width=16), *learned, budget)
            metric = SemanticMetrics(len(LABELS))
            with torch.no_grad():
                metric.update(net(tested[0]), tested[1])
            result = metric.compute()
            ious = [round(float(value), 4) for value in result["iou"]]
            results.append({"mean_iou": round(result["mean_iou"], 4), "iou": ious})
        print(name, results, flush=True)
    return {"classes": [name for name, _ in LABELS], "scores": scores}


PARTS = {"video": (video, Video()), "points": (points, Points())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, help="only one of them")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, no file")
    options = parser.parse_args()
    file = RESULTS / "beyond.json"
    for name in [options.part] if options.part else PARTS:
        run, budget = PARTS[name]
        result = run(QUICK[name] if options.quick else budget)
        if not options.quick:
            entry = {"command": f"python benchmarks/beyond.py --part {name}"}
            entry |= {"machine": machine("cpu"), "budget": budget._asdict(), **result}
            before = read_json(file) if file.exists() else {}
            print(write_json(file, before | {name: entry}))


if __name__ == "__main__":
    main()
