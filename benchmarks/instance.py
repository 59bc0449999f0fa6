"""Mask R-CNN beside torchvision's: detection, losses with gradients, peak memory.

    python benchmarks/instance.py              # two scenes of 480 x 640
    python benchmarks/instance.py --quick      # small, no memory, no file

Both networks have the same random weights and two classes, so that half of the proposals pass the
score threshold and every image keeps as many detections as it may, as a trained detector on a full
street does. They must detect the same before they are timed: a fast wrong number is worth nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn

from benchmarks import race
from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.models.mask_rcnn import mask_rcnn_resnet50_fpn

PEERS = ("torchvision.models.detection", "segedu.models.mask_rcnn", "segedu.data.scenes")
CLASSES = 2  # background and object
Runs = dict[str, dict[str, Callable[[], object]]]


def batch(size: int, device: str) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Two scenes, float (3, size, 4/3 size) in [0, 1], with their objects."""
    images, targets = [], []
    for sample in SceneDataset(2, SceneConfig(size=(size, 4 * size // 3)), task="instance"):
        images.append(torch.as_tensor(sample["image"]).float().div(255).to(device))
        parts = {key: torch.as_tensor(sample[key]).to(device) for key in ("boxes", "masks")}
        targets.append({**parts, "labels": torch.ones_like(sample["labels"]).to(device)})
    return images, targets


def settings_of(size: int, detections: int) -> dict[str, int]:
    """Settings of both networks; with 100 detections, those of training on COCO."""
    return {
        "min_size": size,
        "max_size": 2 * size,
        "box_detections_per_img": detections,
        "rpn_post_nms_top_n_test": 10 * detections,
        "rpn_post_nms_top_n_train": 20 * detections,
        "box_batch_size_per_image": 5 * detections,
    }


def networks(settings: dict[str, int], device: str) -> dict[str, nn.Module]:
    """Ours and torchvision's with the same weights."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    ours = mask_rcnn_resnet50_fpn(CLASSES, **settings)
    theirs = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, **settings
    )
    theirs.load_state_dict(ours.state_dict())
    return {"segedu": ours.to(device), "torchvision": theirs.to(device)}


def candidates(settings: dict[str, int], device: str) -> Runs:
    """Task -> network -> a run."""
    images, targets = batch(settings["min_size"], device)
    models = networks(settings, device)

    def detect(model: nn.Module) -> Callable[[], object]:
        def run() -> list[dict[str, Tensor]]:
            model.eval()
            with torch.inference_mode():
                return model(images)

        return run

    def learn(model: nn.Module) -> Callable[[], object]:
        def run() -> dict[str, Tensor]:
            torch.manual_seed(0)  # the drawn proposals
            model.train().zero_grad()
            losses = model(images, targets)
            sum(losses.values()).backward()
            return losses

        return run

    return {
        "detection": {name: detect(model) for name, model in models.items()},
        "losses and gradients": {name: learn(model) for name, model in models.items()},
    }


def compare(every: Runs) -> dict[str, float]:
    """Largest differences between the two networks' detections; AssertionError if not the same."""
    ours, theirs = (run() for run in every["detection"].values())
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-3)
    worst = {
        key: max((a[key] - b[key]).abs().max().item() for a, b in zip(ours, theirs, strict=True))
        for key in ("boxes", "scores", "masks")
    }
    return {**worst, "detections": sum(len(one["boxes"]) for one in ours)}


def peak(task: str, name: str, settings: dict[str, int], device: str) -> int:
    """Bytes that one run adds at its peak; to be called in a new process."""
    run = candidates(settings, device)[task][name]
    # loads whatever is loaded on first use
    candidates(settings_of(64, 2), device)[task][name]()
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)  # what glibc keeps of the small run must not hide the need
    return race.measure_peak(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small images, no memory, no file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=480, help="height of the images")
    parser.add_argument("--cpu-time", action="store_true", help="clock the process, not the wall")
    parser.add_argument("--detections", type=int, default=100, help="per image")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.detections = 96, 5
    settings = settings_of(arguments.size, arguments.detections)
    every = candidates(settings, arguments.device)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    same = compare(every)
    result = {
        "command": " ".join(["python", "benchmarks/instance.py", *sys.argv[1:]]),
        "machine": race.machine(),
        "device": arguments.device,
        "images": [2, 3, arguments.size, 4 * arguments.size // 3],
        "settings": settings,
        "clock": clock.__name__,
        "differences": same,
        "mask_rcnn_resnet50_fpn": {},
    }
    print(json.dumps(same))
    for task, peers in every.items():
        rows = race.race(peers, arguments.rounds, clock)
        if not arguments.quick:
            for name, row in rows.items():
                parts = (task, name, settings, arguments.device)
                row["peak_mb"] = race.in_new_process(peak, parts, PEERS) >> 20
        result["mask_rcnn_resnet50_fpn"][task] = rows
        race.show(f"Mask R-CNN, {task}", rows)
    if not arguments.quick:
        print(race.write("instance_benchmark.json", result))


if __name__ == "__main__":
    main()
