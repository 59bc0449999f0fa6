"""How many training scenes a U-Net, a SegFormer and a SETR want, at equal steps.

    python benchmarks/data_hunger.py             # 3 networks, 3 seeds; a quarter of an hour
    python benchmarks/data_hunger.py --quick     # some steps each, no file
    python benchmarks/data_hunger.py setr        # one network; the others stay as they are

Every training has the same number of steps, whatever the number of scenes: with few scenes each is
seen more often. On the most scenes others have three times the steps, which tells a lack of steps
from a lack of scenes. Each network takes the learning rate that serves it best on scenes of another
seed. The networks of the most scenes are judged on larger pictures of the same scenes, too: SETR
with its position codes interpolated and with all codes set to zero. A SETR trained without codes
stands beside it.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn
from torch.utils.data import ConcatDataset

from benchmarks.race import RESULTS, command_line, origin
from benchmarks.semantic import try_rates
from segedu.data import scenes
from segedu.engine import predict_labels, train
from segedu.files import read_json, write_json
from segedu.losses import CrossEntropyLoss
from segedu.metrics import score
from segedu.models import get_model

FILE = RESULTS / "data_hunger.json"
RATE_SEED = 100  # the learning rates are chosen on scenes and weights of this seed


class Entry(NamedTuple):
    model: str
    settings: dict[str, Any]
    rates: tuple[float, ...]  # tried first; others beyond them while that helps


NETWORKS = {
    "unet": Entry("unet", {"base_width": 8, "depth": 3}, (4e-2, 8e-2, 16e-2)),
    "segformer": Entry(
        "segformer_b0",
        {"base_width": 16, "depths": (1, 1, 1, 1), "decoder_width": 64, "drop_path": 0.0},
        (4e-3, 8e-3, 16e-3),
    ),
    "setr": Entry(
        "setr_pup",
        {
            "size": "tiny",
            "layers": 4,
            "patch_size": 8,
            "image_size": 64,
            "channels": 32,
            "aux_loss": False,
        },
        (1e-3, 2e-3, 4e-3),
    ),
}


class Budget(NamedTuple):
    size: int = 64
    larger: int = 96
    scenes: tuple[int, ...] = (4, 16, 64, 256)
    val: int = 64
    steps: int = 96
    long_steps: int = 288
    long_scenes: tuple[int, ...] = (256,)
    batch_size: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)


def build(entry: Entry, codes: bool = True) -> nn.Module:
    model = get_model(entry.model, len(scenes.CLASSES), **entry.settings)
    if not codes:
        without_codes(model).encoder.pos_embedding.requires_grad_(False)
    return model


def without_codes(model: nn.Module) -> nn.Module:
    """Set the position codes of a SETR to zero; its backbone."""
    with torch.no_grad():
        model.backbone.encoder.pos_embedding.zero_()
    return model.backbone


@functools.cache
def painted(number: int, size: int, seed: int) -> scenes.SceneDataset:
    train_set, _ = scenes.splits(number, 1, size, seed=seed)
    return train_set


@functools.cache
def judged(budget: Budget, size: int, seed: int) -> tuple[scenes.SceneDataset, torch.Tensor]:
    _, val_set = scenes.splits(1, budget.val, size, seed=seed)
    return val_set, torch.stack([sample["mask"] for sample in val_set])


def judge(model: nn.Module, budget: Budget, seed: int, size: int) -> float:
    val_set, truth = judged(budget, size, seed)
    found = score(predict_labels(model, val_set), truth, val_set.num_classes)
    return round(float(found["mean_iou"]), 4)


def run(
    entry: Entry,
    budget: Budget,
    number: int,
    steps: int,
    *,
    lr: float,
    seed: int,
    codes: bool = True,
) -> nn.Module:
    """A training of so many steps on so many scenes; a pass has as many samples for all."""
    repeats = budget.scenes[-1] // number
    train_set = ConcatDataset([painted(number, budget.size, seed)] * repeats)
    model, _ = train(
        lambda: build(entry, codes),
        train_set,
        loss=CrossEntropyLoss(),
        epochs=steps * budget.batch_size // len(train_set),
        batch_size=budget.batch_size,
        lr=lr,
        seed=seed,
    )
    return model


def compare(entry: Entry, budget: Budget) -> dict[str, Any]:
    """All trainings of one network."""
    most, middle = budget.scenes[-1], budget.scenes[-2]

    def tried(lr: float) -> float:
        model = run(entry, budget, middle, budget.steps, lr=lr, seed=RATE_SEED)
        return judge(model, budget, RATE_SEED, budget.size)

    start = time.process_time()
    trials = try_rates(entry.rates, tried)
    lr = max(trials, key=trials.get)
    rows: dict[str, list[float]] = {}
    for seed in budget.seeds:
        found = {}
        for steps, numbers in (
            (budget.long_steps, budget.long_scenes),
            (budget.steps, budget.scenes),  # the last of these is judged further
        ):
            for number in numbers:
                model = run(entry, budget, number, steps, lr=lr, seed=seed)
                found[f"{number} scenes, {steps} steps"] = judge(model, budget, seed, budget.size)
        found["larger"] = judge(model, budget, seed, budget.larger)
        if entry.model.startswith("setr"):
            without_codes(model)
            found["codes removed"] = judge(model, budget, seed, budget.size)
            found["larger, codes removed"] = judge(model, budget, seed, budget.larger)
            model = run(entry, budget, most, budget.steps, lr=lr, seed=seed, codes=False)
            found["trained without codes"] = judge(model, budget, seed, budget.size)
            found["larger, trained without codes"] = judge(model, budget, seed, budget.larger)
        print(seed, found, flush=True)
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    return {
        "model": entry.model,
        "settings": entry.settings,
        "parameters": sum(p.numel() for p in build(entry).parameters()),
        "lr": lr,
        "mean_iou_by_lr": trials,
        "mean_iou": rows,
        "processor_seconds": round(time.process_time() - start),
    }


def main() -> None:
    parser = command_line(__doc__, "some steps each, no file")
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all if none")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(NETWORKS):
        parser.error(f"networks must be of {', '.join(NETWORKS)}, got {', '.join(unknown)}")
    torch.set_num_threads(1)  # the same sums in the same order on every machine of a kind
    budget = Budget()
    if options.quick:
        budget = Budget(scenes=(4, 8), val=2, steps=2, long_steps=3, long_scenes=(8,), seeds=(0,))
    for name in options.networks or NETWORKS:
        row = compare(NETWORKS[name], budget)
        print(name, row, flush=True)
        if options.quick:
            continue
        kept = read_json(FILE)["networks"] if FILE.exists() else {}
        kept[name] = row
        result = {
            **origin(__file__, budget),
            "networks": {name: kept[name] for name in NETWORKS if name in kept},
        }
        print(write_json(FILE, result))


if __name__ == "__main__":
    main()
