"""The semantic networks side by side: the same scenes, the same steps, about the same arithmetic.

    python benchmarks/semantic.py             # 8 networks, 3 seeds; 40 minutes of one processor
    python benchmarks/semantic.py --quick     # some short trainings each, no file

Every network is narrowed until an image costs it about as many multiplications and additions as
the others, and is trained from random weights for the same number of steps. What differs between
them besides the architecture is the learning rate: each takes the one that serves it best on scenes
of another seed, which the table does not see; a smaller and a larger one do worse. The scores say
how far each comes on this budget, not what the published networks reach.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn

from benchmarks import race
from segedu.data import scenes
from segedu.engine import Semantic, predict_labels, train
from segedu.files import write_json
from segedu.losses import CrossEntropyLoss
from segedu.metrics import score
from segedu.models import cost, get_model, list_models

BLOCKS = (1, 1, 1, 1)  # of each stage of the ResNets: 14 layers instead of 50


class Entry(NamedTuple):
    title: str
    name: str
    settings: dict[str, Any]


NETWORKS = {
    "fcn": Entry("FCN-8s", "fcn8s_vgg16", {"base_width": 10, "head_width": 64, "batch_norm": True}),
    "unet": Entry("U-Net", "unet", {"base_width": 8, "depth": 3}),
    "segnet": Entry("SegNet", "segnet_vgg16", {"base_width": 7}),
    "refinenet": Entry("RefineNet", "refinenet_resnet50", {"base_width": 6, "layers": BLOCKS}),
    "pspnet": Entry("PSPNet", "pspnet_resnet50", {"base_width": 8, "layers": BLOCKS}),
    "deeplab": Entry(
        "DeepLab v3+",
        "deeplab_v3_plus_resnet50",
        # at stride 16 the map of 96 pixels has a side of 6: larger rates would miss it
        {"base_width": 21, "layers": BLOCKS, "rates": (1, 2, 3)},
    ),
    "tiramisu": Entry(
        "FC-DenseNet",
        "fc_densenet56",
        {"growth_rate": 4, "layers": (2, 2, 2), "bottleneck": 2, "first_width": 12},
    ),
    "fpn": Entry("Semantic FPN", "semantic_fpn_resnet50", {"base_width": 16, "layers": BLOCKS}),
}
RATES = (2e-3, 5e-3, 1e-2)  # and beyond, by factors of two, while that helps
BOUNDARY = 0.01  # of the diagonal: one pixel on each side of an edge at 96 x 96
RATE_SEED = 100  # the learning rates are chosen on scenes and weights of this seed


def build(entry: Entry, num_classes: int) -> nn.Module:
    return get_model(entry.name, num_classes, **entry.settings)


def build_task(entry: Entry, num_classes: int) -> Semantic:
    weights = list_models()[entry.name].aux_weights
    return Semantic(CrossEntropyLoss(), num_classes, aux_weights=weights)


class Budget(NamedTuple):
    size: int = 96
    train: int = 192
    val: int = 96
    epochs: int = 8
    batch_size: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)
    rates: tuple[float, ...] = RATES


@functools.cache
def data(budget: Budget, seed: int) -> tuple[scenes.SceneDataset, scenes.SceneDataset]:
    return scenes.splits(budget.train, budget.val, budget.size, seed=seed)


def run(entry: Entry, budget: Budget, seed: int, lr: float) -> dict[str, float]:
    """One training, judged on scenes that it has not seen."""
    train_set, val_set = data(budget, seed)
    start = time.process_time()
    model, _ = train(
        lambda: build(entry, train_set.num_classes),
        train_set,
        task=build_task(entry, train_set.num_classes),
        epochs=budget.epochs,
        batch_size=budget.batch_size,
        lr=lr,
        seed=seed,
    )
    seconds = time.process_time() - start
    truth = torch.stack([sample["mask"] for sample in val_set])
    found = score(predict_labels(model, val_set), truth, train_set.num_classes, boundary=BOUNDARY)
    return {
        "mean_iou": round(found["mean_iou"], 4),
        "boundary_iou": round(found["mean_boundary_iou"], 4),
        "processor_seconds": round(seconds, 1),
    }


def try_rates(rates: Sequence[float], judge: Callable[[float], float]) -> dict[float, float]:
    """The score of each learning rate, and of others beyond them until the best is at no end."""
    scores = {lr: judge(lr) for lr in rates}
    while (best := max(scores, key=scores.get)) in (min(scores), max(scores)):
        beyond = best / 2 if best == min(scores) else 2 * best
        scores[beyond] = judge(beyond)
    return scores


def training_step(entry: Entry, budget: Budget) -> Callable[[], None]:
    train_set, _ = data(budget, budget.seeds[0])
    task = build_task(entry, train_set.num_classes)
    model = build(entry, train_set.num_classes).train()
    batch = task.collate([train_set[i] for i in range(budget.batch_size)])

    def step() -> None:
        task.loss(model, batch).backward()
        model.zero_grad(set_to_none=True)

    return step


def compare(entry: Entry, budget: Budget) -> dict[str, Any]:
    """One row of the table."""
    num_classes = data(budget, budget.seeds[0])[0].num_classes
    price = cost(build(entry, num_classes), (budget.size, budget.size))
    trials = try_rates(budget.rates, lambda lr: run(entry, budget, RATE_SEED, lr)["mean_iou"])
    lr = max(trials, key=trials.get)
    runs = [run(entry, budget, seed, lr) for seed in budget.seeds]
    step = training_step(entry, budget)
    step()  # what is allocated once and kept does not count
    return {
        "title": entry.title,
        "model": entry.name,
        "settings": entry.settings,
        "parameters": price.parameters,
        "macs": price.macs,
        "peak_bytes": race.allocated_peak(step, "cpu"),
        "lr": lr,
        "mean_iou_by_lr": trials,
        "runs": runs,
        **{key: statistics.mean(found[key] for found in runs) for key in runs[0]},
    }


def main() -> None:
    quick = race.command_line(__doc__, "some short trainings, no file").parse_args().quick
    torch.set_num_threads(1)  # the same sums in the same order on every machine of a kind
    budget = Budget()
    if quick:
        budget = Budget(size=64, train=8, val=4, epochs=1, seeds=(0,), rates=(5e-3,))
    rows = {}
    for key, entry in NETWORKS.items():
        rows[key] = compare(entry, budget)
        race.show(
            key, {f"seed {s}": r for s, r in zip(budget.seeds, rows[key]["runs"], strict=True)}
        )
    if not quick:
        result = {
            **race.origin(__file__, budget),
            "networks": rows,
        }
        print(write_json(race.RESULTS / "semantic.json", result))


if __name__ == "__main__":
    main()
