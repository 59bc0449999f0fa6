"""A rare class, and what is done about it: losses, weights, sampling, and a moved threshold.

    python benchmarks/imbalance.py             # 13 methods, 3 seeds; ten minutes of one processor
    python benchmarks/imbalance.py --quick     # one epoch each, no file

Every method trains the same U-Net on the same scenes for the same number of steps; the seed decides
scenes, weights and order. The rare class is person. Beside the scores of the plain argmax stand
those with an offset on its logit: tuned on scenes that took no part in the training, judged, like
all others, on a third set. Two methods are also trained three times as long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn

from benchmarks import race
from segedu.data import scenes
from segedu.data.statistics import PixelCounts, pixel_counts
from segedu.engine import train
from segedu.files import write_json
from segedu.losses import (
    CombinedLoss,
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    OHEMLoss,
    TverskyLoss,
    class_weights,
)
from segedu.metrics import offset_curve, score
from segedu.models import get_model

RARE = "person"
LEARNING_RATE = 1e-2  # constant
LONG = ("cross_entropy", "inverse")  # methods that are trained longer, too


class Budget(NamedTuple):
    size: int = 64
    train: int = 128
    tune: int = 64
    test: int = 128
    epochs: int = 8
    long_epochs: int = 24
    batch_size: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)


STRATEGIES = ("inverse", "median_frequency", "sqrt", "log", "enet", "effective_number")


def weights_of(strategy: str, counts: PixelCounts) -> Tensor:
    of_images = counts.image_pixels if strategy == "median_frequency" else None
    return class_weights(counts.pixels, strategy, image_pixels=of_images)


def weighted(strategy: str) -> Callable[[PixelCounts], nn.Module]:
    return lambda counts: CrossEntropyLoss(weights_of(strategy, counts))


METHODS: dict[str, Callable[[PixelCounts], nn.Module]] = {
    "cross_entropy": lambda counts: CrossEntropyLoss(),
    **{strategy: weighted(strategy) for strategy in STRATEGIES},
    "sampling": lambda counts: CrossEntropyLoss(),
    "ohem": lambda counts: OHEMLoss("top_k", fraction=0.2),
    "focal": lambda counts: FocalLoss(gamma=2.0),
    "tversky": lambda counts: TverskyLoss(alpha=0.3, beta=0.7),
    "dice": lambda counts: DiceLoss(),
    "ce+dice": lambda counts: CombinedLoss(
        {"ce": (CrossEntropyLoss(), 1), "dice": (DiceLoss(), 1)}
    ),
}


def drawn(samples: list[dict], label: int, count: int, seed: int) -> list[dict]:
    """So many samples: every second at random, the others by their number of rare pixels."""
    generator = torch.Generator().manual_seed(seed)
    rare = torch.stack([(sample["mask"] == label).sum() for sample in samples]).double()
    chances = 0.5 / len(samples) + 0.5 * rare / rare.sum()
    chosen = torch.multinomial(chances, count, replacement=True, generator=generator)
    return [samples[i] for i in chosen.tolist()]


class Data(NamedTuple):
    train: list[dict]
    counts: PixelCounts
    tune: dict[str, Tensor]
    test: dict[str, Tensor]
    num_classes: int
    label: int


def stacked(samples: list[dict]) -> dict[str, Tensor]:
    return {key: torch.stack([sample[key] for sample in samples]) for key in ("image", "mask")}


def paint(budget: Budget, seed: int) -> Data:
    number = budget.tune + budget.test
    train_set, others = scenes.splits(budget.train, number, budget.size, seed=seed, imbalance=1.0)
    held_out = [others[i] for i in range(number)]
    return Data(
        [train_set[i] for i in range(budget.train)],
        pixel_counts(train_set),
        stacked(held_out[: budget.tune]),
        stacked(held_out[budget.tune :]),
        train_set.num_classes,
        train_set.classes.index(RARE),
    )


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([model(part) for part in images.split(16)])


def judge(logits: Tensor, target: Tensor, label: int) -> dict[str, float]:
    found = logits.argmax(1)
    called, there = found == label, target == label
    hits = (called & there).sum().item()
    scores = score(found, target, logits.shape[1])
    return {
        "precision": hits / called.sum().item() if called.any() else None,
        "recall": hits / there.sum().item(),
        "iou": scores["iou"][label].item(),
        "mean_iou": scores["mean_iou"],
    }


def shift_of(name: str, counts: PixelCounts) -> Tensor | None:
    """What turns the logits (C,) of plain cross-entropy into weighted ones, or the reverse."""
    if name == "cross_entropy":
        return weights_of("inverse", counts).log()
    return -weights_of(name, counts).log() if name in STRATEGIES else None


def run(
    name: str, data: Data, budget: Budget, epochs: int, seed: int, shift: Tensor | None
) -> dict:
    samples = data.train
    if name == "sampling":  # as many steps: the epochs are drawn at once
        samples, epochs = drawn(samples, data.label, epochs * len(samples), seed), 1
    model, _ = train(
        lambda: get_model("unet", data.num_classes, base_width=8, depth=3),
        samples,
        loss=METHODS[name](data.counts),
        epochs=epochs,
        batch_size=budget.batch_size,
        lr=LEARNING_RATE,
        schedule=None,
        seed=seed,
    )
    tuned = offset_curve(logits_of(model, data.tune["image"]), data.tune["mask"], data.label)
    logits, target = logits_of(model, data.test["image"]), data.test["mask"]

    def average_precision(logits: Tensor) -> float:
        return offset_curve(logits, target, data.label).average_precision

    moved = logits.clone()
    moved[:, data.label] += tuned.best_offset
    log_weights = class_weights(data.counts.pixels, "inverse").log()
    shifted = None if shift is None else average_precision(logits + shift[:, None, None])
    return {
        "plain": judge(logits, target, data.label),
        "offset": tuned.best_offset,
        "moved": judge(moved, target, data.label),
        "log_weights": judge(logits + log_weights[:, None, None], target, data.label),
        "average_precision": average_precision(logits),
        "shifted_average_precision": shifted,
    }


def measure(budget: Budget, seed: int) -> dict[str, dict[str, dict]]:
    """All trainings of one seed: budget -> method -> scores."""
    data = paint(budget, seed)
    found: dict[str, dict[str, dict]] = {"short": {}, "long": {}}
    for length, names, epochs in (
        ("short", METHODS, budget.epochs),
        ("long", LONG, budget.long_epochs),
    ):
        for name in names:
            shift = shift_of(name, data.counts) if length == "short" else None
            found[length][name] = rounded(run(name, data, budget, epochs, seed, shift))
            print(f"seed {seed}, {epochs} epochs, {name}: {found[length][name]}", flush=True)
    return found


def rounded(found: dict | float | None) -> dict | float | None:
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    return found if found is None else round(found, 4)


def main() -> None:
    quick = race.command_line(__doc__, "one epoch each, no file").parse_args().quick
    torch.set_num_threads(1)  # the same sums in the same order on every machine of a kind
    budget = Budget()
    if quick:
        budget = Budget(train=16, tune=16, test=16, epochs=1, long_epochs=1, seeds=(0,))
    runs = [measure(budget, seed) for seed in budget.seeds]
    if not quick:
        result = {
            **race.origin(__file__, budget),
            "lr": LEARNING_RATE,
            **{
                length: {name: [found[length][name] for found in runs] for name in names}
                for length, names in runs[0].items()
            },
        }
        print(write_json(race.RESULTS / "imbalance.json", result))


if __name__ == "__main__":
    main()
