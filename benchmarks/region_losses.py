"""Region losses beside cross entropy on scenes of twelve classes, for the chapter on region losses.

python benchmarks/region_losses.py             # writes book/results/region_losses.json
python benchmarks/region_losses.py --quick     # one epoch, no file
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.race import RESULTS, command_line
from segedu import losses, machine
from segedu.data import scenes
from segedu.engine import predict_labels, train
from segedu.files import write_json
from segedu.metrics import score
from segedu.models import get_model

LOSSES = {
    "cross_entropy": losses.CrossEntropyLoss(),
    "cross_entropy_dice": losses.CombinedLoss(
        {"ce": (losses.CrossEntropyLoss(), 1.0), "dice": (losses.DiceLoss(), 1.0)}
    ),
    "dice": losses.DiceLoss(),
    "lovasz": losses.LovaszSoftmaxLoss(),
    "generalized_dice": losses.GeneralizedDiceLoss(),
    "generalized_dice_uniform": losses.GeneralizedDiceLoss(weighting="uniform"),
}
BUDGET = {"epochs": 8, "batch_size": 8, "lr": 0.01, "schedule": None}
SIZE, TRAIN, VAL, RARE = 64, 128, 64, 5


def main() -> None:
    quick = command_line(__doc__, "one epoch, no file").parse_args().quick
    budget = BUDGET | ({"epochs": 1} if quick else {})
    seeds = [0] if quick else [0, 1, 2]
    train_set, val_set = scenes.splits(TRAIN, VAL, SIZE)
    masks, target = (torch.stack([s["mask"] for s in part]) for part in (train_set, val_set))
    pixels = masks.flatten().bincount(minlength=train_set.num_classes)
    rare = pixels.argsort()[:RARE]

    def build() -> torch.nn.Module:
        return get_model("unet", train_set.num_classes, base_width=8, depth=3)

    runs: dict[str, list[dict[str, float]]] = {}
    for name, loss in LOSSES.items():
        for seed in seeds:
            model, _ = train(build, train_set, loss=loss, seed=seed, **budget)
            found = score(predict_labels(model, val_set), target, train_set.num_classes)
            row = {
                "mean_iou": found["mean_iou"],
                "rare_iou": found["iou"][rare].mean(),
                "pixel_accuracy": found["pixel_accuracy"],
            }
            runs.setdefault(name, []).append({k: round(float(v), 4) for k, v in row.items()})
            print(name, seed, runs[name][-1], flush=True)
    if quick:
        return
    result = {
        "command": "python benchmarks/region_losses.py",
        "machine": machine.describe(),
        "budget": budget | {"size": SIZE, "train": TRAIN, "val": VAL, "seeds": seeds},
        "pixels": dict(zip(train_set.labels, pixels.tolist(), strict=True)),
        "runs": runs,
    }
    write_json(RESULTS / "region_losses.json", result)


if __name__ == "__main__":
    main()
