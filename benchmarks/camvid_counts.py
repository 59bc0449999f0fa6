"""Two trainings on CamVid that differ in the weights of the loss, counted image by image.

    python benchmarks/camvid_counts.py             # 6 short trainings, seven minutes
    python benchmarks/camvid_counts.py --quick     # one epoch each on a few images, no file

`SEGEDU_DATA` is the folder above ``camvid/``. The counts of every test image are stored in the
package, beside the other data that a chapter needs without a download: a reader can compute every
average, and its interval, from them. They hold none of the pictures, which may not be passed on.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from benchmarks.race import command_line
from segedu import machine
from segedu.data.camvid import CLASSES, RECORDED, CamVid
from segedu.data.transforms import evaluation
from segedu.engine import predict_labels, train
from segedu.files import write_text
from segedu.losses import CrossEntropyLoss
from segedu.losses.weights import class_weights
from segedu.metrics import SemanticMetrics
from segedu.models import get_model

NETWORKS = {"plain": None, "weighted": "median_frequency"}
SETTINGS = {"base_width": 8, "depth": 4}
BUDGET = {"epochs": 3, "batch_size": 8, "lr": 1e-2}
SIZE = (90, 120)  # half of each side: whole images, so that the place in the image says something
SEEDS = (0, 1, 2)


def data(split: str, count: int | None) -> list[dict[str, Tensor]]:
    root = Path(os.environ["SEGEDU_DATA"], "camvid", "CamVid_240x180")
    images = CamVid(root, split, transforms=evaluation(SIZE))
    return [images[i] for i in range(count or len(images))]


def mirrored(sample: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.flip(-1) for key, value in sample.items()}


def run(name: str, seed: int, *, count: int | None = None, **budget: float) -> Tensor:
    """Counts int64 (N, 3, C) of the test images: pixels right, in the truth, in the prediction."""
    seen = data("train", count)
    pixels = torch.bincount(torch.cat([s["mask"].flatten() for s in seen]), minlength=256)
    strategy = NETWORKS[name]
    weights = strategy and class_weights(pixels[: len(CLASSES)], strategy)
    model, _ = train(
        lambda: get_model("unet", len(CLASSES), **SETTINGS),
        seen + [mirrored(sample) for sample in seen],
        loss=CrossEntropyLoss(weight=weights),
        seed=seed,
        **(BUDGET | budget),
    )
    counts = []
    for sample in data("test", count):
        metric = SemanticMetrics(len(CLASSES))
        metric.update(predict_labels(model, sample["image"])[None], sample["mask"][None])
        matrix = metric.confusion_matrix
        counts.append(torch.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)]))
    return torch.stack(counts)


def record(counts: dict[tuple[str, int], Tensor]) -> dict:
    """What is stored: each image for the first seed, and the sums over the images for all."""
    return {
        "command": "python benchmarks/camvid_counts.py",
        "machine": machine.describe(),
        "dataset": "CamVid_240x180",
        "split": "test",
        "model": "unet",
        "settings": SETTINGS,
        "size": SIZE,
        "training": BUDGET | {"class_weights": NETWORKS},
        "images": {name: counts[name, SEEDS[0]].tolist() for name in NETWORKS},
        "sums": {name: [counts[name, seed].sum(0).tolist() for seed in SEEDS] for name in NETWORKS},
    }


def main() -> None:
    quick = command_line(__doc__, "one epoch each, no file").parse_args().quick
    few = {"count": 8, "epochs": 1} if quick else {}
    counts = {(name, seed): run(name, seed, **few) for name in NETWORKS for seed in SEEDS}
    if not quick:
        write_text(RECORDED, json.dumps(record(counts)) + "\n")  # one line: they are many numbers


if __name__ == "__main__":
    main()
