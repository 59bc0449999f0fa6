"""How many clicks an object takes: of a promptable network, of a map of classes, of colours alone.

    python benchmarks/clicks.py            # writes book/results/clicks.json
    python benchmarks/clicks.py --quick    # one scene and untrained networks, no file

One user clicks for all three, on the same objects of scenes that no network has learnt from: first
into the middle of an object, then where the answer is wrong (`segedu.engine.interactive`). A seed
stands for other scenes; the networks are the stored ones.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from scipy import ndimage
from torch import Tensor, nn

from benchmarks.race import RESULTS, command_line, origin
from segedu.data import scenes
from segedu.data.weak import annotate
from segedu.engine.interactive import rounds
from segedu.files import write_json
from segedu.metrics import ClickIoU
from segedu.models import get_model
from segedu.models.sam import Masks
from segedu.models.targets import IMAGE_MEAN, IMAGE_STD, normalize
from segedu.ops import center_clicks, masks_to_boxes

TARGETS = (0.85, 0.9)
TOLERANCES = (0.05, 0.1, 0.15, 0.2, 0.3)  # distances of colours in [0, 1]^3
SCRIBBLES = (1, 2, 4, 8)  # points along a line through the object
Sample = dict[str, Any]


class Budget(NamedTuple):
    """Scenes, objects and clicks."""

    size: int = 128
    scenes: int = 24  # of each seed
    tuning: int = 8  # further ones, on which the tolerance is chosen
    smallest: int = 16  # pixels of an object; a smaller one is not asked for
    areas: tuple[int, ...] = (16, 64, 256, 1024)  # where groups of objects begin
    clicks: int = 20
    seeds: tuple[int, ...] = (101, 102, 103)  # those of the trainings are small


class Regions(nn.Module):
    """Answers clicks without having learnt to: a click stands for the region around it.

    The region is what is connected to the pixel through pixels whose values lie within the
    tolerance of its own. Where regions of several clicks meet, the nearest click decides.

    Args:
        tolerance: Euclidean distance between values, at least 0.
        classes: gives logits (N, C, H, W) of normalised images, whose best classes are the values;
            else the colours are.
    """

    def __init__(self, tolerance: float, classes: nn.Module | None = None) -> None:
        super().__init__()
        self.tolerance, self.classes = tolerance, classes
        self.known: dict[tuple[int, int], Tensor] = {}  # regions of the image at hand, by click

    def embed(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> values (N, 3 or 1, H, W)."""
        self.known = {}
        if self.classes is None:
            return images
        logits = self.classes(normalize(images, IMAGE_MEAN, IMAGE_STD))
        return logits.argmax(1, keepdim=True).float()

    def segment(
        self,
        embeddings: Tensor,
        size: tuple[int, int],
        *,
        points: Tensor,
        labels: Tensor,
        **_: Any,
    ) -> Masks:
        """One mask for each of P prompts on one image, as `segedu.models.sam.SAM.segment`."""
        found = [
            region_of(embeddings[0], places, said, self.tolerance, self.known)
            for places, said in zip(points[0], labels[0], strict=True)
        ]
        logits = torch.stack(found).float()[None, :, None] - 0.5  # (1, P, 1, H, W)
        return Masks(logits, logits.new_zeros(logits.shape[:3]), logits)


def region_of(
    values: Tensor,
    points: Tensor,
    labels: Tensor,
    tolerance: float,
    known: dict[tuple[int, int], Tensor] | None = None,
) -> Tensor:
    """What some clicks mean together.

    Args:
        values: (C, H, W).
        points: (n, 2), x and y in pixels.
        labels: (n,), 1 on the object, 0 beside it, -1 no click.
        tolerance: of `Regions`.
        known: regions around single clicks on the same values; new ones are added.

    Returns:
        bool (H, W).
    """
    known = {} if known is None else known
    height, width = values.shape[1:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    found = torch.zeros(height, width, dtype=torch.bool)
    nearest = torch.full((height, width), float("inf"))
    for (x, y), label in zip(points.long().tolist(), labels.tolist(), strict=True):
        if label < 0:
            continue
        if (x, y) not in known:
            known[x, y] = connected(values, x, y, tolerance)
        distance = torch.hypot((columns - x).float(), (rows - y).float())
        closer = known[x, y] & (distance < nearest)
        nearest = torch.where(closer, distance, nearest)
        found = torch.where(closer, bool(label), found)
    return found


def connected(values: Tensor, x: int, y: int, tolerance: float) -> Tensor:
    """What hangs together with a pixel, bool (H, W), in values (C, H, W)."""
    alike = (values - values[:, y, x, None, None]).norm(dim=0) <= tolerance
    numbers = torch.from_numpy(ndimage.label(alike.numpy())[0])
    return numbers == numbers[y, x]


def wanted(sample: Sample, smallest: int) -> Tensor:
    """The objects of a scene that are asked for, bool (P, H, W)."""
    masks = torch.as_tensor(sample["masks"]).bool()
    return masks[masks.flatten(1).sum(1) >= smallest]


@torch.no_grad()
def by_clicks(model: nn.Module, samples: Sequence[Sample], budget: Budget) -> dict[str, Any]:
    """Scores of all objects after each click, and of groups of about one size."""
    metrics = [ClickIoU(budget.clicks, TARGETS) for _ in (0, *budget.areas)]
    starts, objects = torch.tensor(budget.areas), [0] * len(metrics)
    for sample in samples:
        masks = wanted(sample, budget.smallest)
        turns = rounds(model, model.embed(sample["image"][None]), masks, budget.clicks)
        found = torch.stack([turn.found for turn in turns], dim=1)  # (P, K, H, W)
        groups = torch.bucketize(masks.flatten(1).sum(1), starts, right=True)  # (P,), from 1
        for number, metric in enumerate(metrics):
            mine = (groups == number) | (number == 0)
            objects[number] += int(mine.sum())
            metric.update([{"masks": found[mine]}], [{"masks": masks[mine]}])
    every, *grouped = (
        {"objects": count} | _rounded(metric.compute(), budget.clicks)
        for count, metric in zip(objects, metrics, strict=True)
    )
    return every | {"areas": dict(zip(map(str, budget.areas), grouped, strict=True))}


def _rounded(scores: dict[str, Any], clicks: int) -> dict[str, Any]:
    """The mean IoU after each click as a list, and the number of clicks to each target."""
    ious = [round(scores[f"iou_{number}"], 4) for number in range(1, clicks + 1)]
    names = [f"{key}_{100 * target:g}" for target in TARGETS for key in ("noc", "failures")]
    return {"iou": ious} | {name: round(scores[name], 4) for name in names}


@torch.no_grad()
def by_prompts(model: nn.Module, samples: Sequence[Sample], budget: Budget) -> dict[str, float]:
    """Mean IoU of a promptable network after one prompt: a click, a box or a scribble.

    Of the three masks that a click gives it counts that which the network thinks best
    (``click``), or that which is (``best_of_three``); ``single`` is the one of a clear prompt.
    ``estimate`` is the mean IoU that the network expects of ``click``.
    """
    names = ("click", "best_of_three", "single", "box", *(f"scribble_{n}" for n in SCRIBBLES))
    metrics = {name: ClickIoU(1) for name in names}
    estimates = []
    for index, sample in enumerate(samples):
        masks = wanted(sample, budget.smallest)
        embedding, size = model.embed(sample["image"][None]), tuple(masks.shape[1:])
        prompts = {"click": as_points(center_clicks(masks)[:, None])}
        prompts |= {"box": {"boxes": masks_to_boxes(masks)[None]}}
        for count in SCRIBBLES:
            points = [points_of_scribble(mask, count, index) for mask in masks]
            prompts[f"scribble_{count}"] = as_points(torch.stack(points))
        found = {}
        for name, prompt in prompts.items():
            answer = model.segment(embedding, size, **prompt)
            three, guess = answer.logits[0] > 0, answer.iou[0]  # (P, 3, H, W), (P, 3)
            found[name] = picked(three, guess)
            if name == "click":
                estimates.append(guess.amax(1))
                found["best_of_three"] = picked(three, iou(three, masks))
        single = model.segment(embedding, size, **prompts["click"], multimask=False)
        found["single"] = single.logits[0, :, 0] > 0
        for name, metric in metrics.items():
            metric.update([{"masks": found[name][:, None]}], [{"masks": masks}])
    scores = {name: round(metric.compute()["mean_iou"], 4) for name, metric in metrics.items()}
    return scores | {"estimate": round(float(torch.cat(estimates).mean()), 4)}


def as_points(points: Tensor) -> dict[str, Tensor]:
    """A prompt of positive points, (P, n, 2)."""
    return {"points": points[None], "labels": torch.ones(1, *points.shape[:2], dtype=torch.int64)}


def picked(masks: Tensor, scores: Tensor) -> Tensor:
    """Of K masks (P, K, H, W) those with the highest scores (P, K), as (P, H, W)."""
    return masks[torch.arange(len(masks)), scores.argmax(1)]


def iou(found: Tensor, masks: Tensor) -> Tensor:
    """IoU (P, K) of masks (P, K, H, W) with the objects (P, H, W), which are not empty."""
    both = (found & masks[:, None]).sum((2, 3))
    return both / (found | masks[:, None]).sum((2, 3))


def points_of_scribble(mask: Tensor, count: int, seed: int) -> Tensor:
    """So many points (n, 2), x and y, evenly along a line through an object (H, W), or its parts.

    They are taken from top to bottom, without the ends; of a short line some come twice.
    """
    line = annotate(mask.to(torch.uint8), "scribbles", 2, seed=seed).mask == 1
    pixels = line.nonzero().flip(1).float()  # (m, 2)
    steps = torch.linspace(0, len(pixels) - 1, count + 2)[1:-1]
    return pixels[steps.round().long()]


def of_seed(seed: int, first: int, count: int, size: int) -> list[Sample]:
    """Some scenes of a seed, with their objects."""
    _, scene_set = scenes.splits(1, first + count, size, seed=seed, task="instance")
    return [scene_set[index] for index in range(first, first + count)]


def tolerances(budget: Budget) -> dict[str, float]:
    """Mean IoU of the colours' answers after five clicks, on scenes of which none is judged."""
    samples = of_seed(budget.seeds[0], budget.scenes, budget.tuning, budget.size)
    short = budget._replace(clicks=min(5, budget.clicks))
    return {str(t): by_clicks(Regions(t), samples, short)["iou"][-1] for t in TOLERANCES}


def main() -> None:
    quick = command_line(__doc__, "one scene, untrained, no file").parse_args().quick
    torch.set_num_threads(1)
    budget, weights = Budget(), {"weights": "scenes"}
    if quick:
        budget, weights = Budget(scenes=1, tuning=1, clicks=2, seeds=(101,)), {}
    promptable = get_model("sam_tiny", **weights).eval()
    classes = get_model("unet", **(weights or {"num_classes": 12, "base_width": 8})).eval()
    tried = tolerances(budget)
    tolerance = float(max(tried, key=tried.__getitem__))
    candidates = {
        "promptable": promptable,
        "classes": Regions(0.0, classes),
        "colours": Regions(tolerance),
    }
    result: dict[str, Any] = {
        **origin(__file__, budget),
        "parameters": {
            name: sum(weight.numel() for weight in model.parameters())
            for name, model in candidates.items()
        },
        "tolerances": tried,
        "tolerance": tolerance,
        "clicks": [],
        "prompts": [],
    }
    for seed in budget.seeds:
        samples = of_seed(seed, 0, budget.scenes, budget.size)
        found = {name: by_clicks(model, samples, budget) for name, model in candidates.items()}
        result["clicks"].append(found)
        result["prompts"].append(by_prompts(promptable, samples, budget))
        print(seed, result["prompts"][-1], flush=True)
        for name, scores in found.items():
            print(f"  {name}: IoU {scores['iou'][0]}, {scores['iou'][-1]}", flush=True)
    if not quick:
        print(write_json(RESULTS / "clicks.json", result))


if __name__ == "__main__":
    main()
