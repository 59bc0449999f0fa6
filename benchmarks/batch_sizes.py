"""Learning rates for one worker and for four, for the chapter on scaling out.

    python benchmarks/batch_sizes.py            # writes book/results/batch_sizes.json; 20 minutes
    python benchmarks/batch_sizes.py --quick    # one training of each kind, no file

Every training sees the same pictures equally often. Four workers have 8 pictures each,
as one worker alone has: batch normalisation sees 8 in both, and the only difference is that four
gradients are averaged for one step instead of making one step each.
"""

import statistics
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.race import RESULTS, command_line
from segedu import machine
from segedu.data import scenes
from segedu.engine import fit, make_loader, predict_labels, seed_everything
from segedu.files import write_json
from segedu.metrics import score
from segedu.models import get_model

SIZE, TRAIN, VAL = 64, 128, 64
EPOCHS, BATCH_SIZE, SEEDS, WORKERS = 8, 8, (0, 1, 2), (1, 4)
RATES = {
    "sgd": (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    "adamw": (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08),
}


def optimizer_of(name: str, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, or AdamW."""
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-4, fused=True)


def mean_iou(name: str, rate: float, workers: int, seed: int, data: tuple) -> float:
    """Of one training, on scenes that it has not seen; 0 if its loss was no longer finite."""
    train_set, val_set = data
    seed_everything(seed)
    model = get_model("unet", train_set.num_classes, base_width=8, depth=3)
    loader = make_loader(train_set, BATCH_SIZE, shuffle=True, seed=seed)
    settings = {"epochs": EPOCHS, "accumulate": workers, "device": "cpu", "seed": seed}
    try:
        fit(
            model,
            loader,
            nn.CrossEntropyLoss(),
            optimizer=optimizer_of(name, model, rate),
            **settings,
        )
    except FloatingPointError:
        return 0.0
    truth = torch.stack([sample["mask"] for sample in val_set])
    return score(predict_labels(model, val_set), truth, val_set.num_classes)["mean_iou"]


def main() -> None:
    quick = command_line(__doc__, "one of each kind, no file").parse_args().quick
    data = scenes.splits(TRAIN, VAL, SIZE)
    seeds = SEEDS[:1] if quick else SEEDS

    def over_seeds(name: str, rate: float, workers: int) -> list[float]:
        scores = [round(mean_iou(name, rate, workers, seed, data), 4) for seed in seeds]
        print(f"{name} {workers} x {BATCH_SIZE}, lr {rate}: {statistics.mean(scores):.3f}")
        return scores

    found = {
        name: {
            str(workers): {
                str(rate): over_seeds(name, rate, workers)
                for rate in (rates[3:4] if quick else rates)
            }
            for workers in WORKERS
        }
        for name, rates in RATES.items()
    }
    if quick:
        return
    content = {
        "command": "python benchmarks/batch_sizes.py",
        "machine": machine.describe(),
        "budget": {
            "scenes": TRAIN,
            "size": SIZE,
            "epochs": EPOCHS,
            "pictures_per_worker": BATCH_SIZE,
            "judged_on": VAL,
            "seeds": list(SEEDS),
        },
        "mean_iou": found,
    }
    write_json(RESULTS / "batch_sizes.json", content)


if __name__ == "__main__":
    main()
