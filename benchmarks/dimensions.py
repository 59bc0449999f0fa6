"""Hippocampus in 2-D, 2.5-D and 3-D at equal cost, for the chapter on training in 3-D.

SEGEDU_DATA=... python benchmarks/dimensions.py            # writes book/results/dimensions.json
SEGEDU_DATA=... python benchmarks/dimensions.py --quick    # a few steps, no file

The cost is that of the multiplications: each kind trains for as many batches as fit into those of
the 3-D network. The file is written after each run.
"""

import os
import sys
import time
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.race import RESULTS, command_line
from segedu import machine
from segedu.engine import train
from segedu.files import write_json
from segedu.medical.config import ProjectConfig
from segedu.medical.patches import Case, PatchDataset, pad_to, slices_as_channels, stack_neighbours
from segedu.medical.patients import split_scans
from segedu.medical.project import load_case
from segedu.medical.scans import find_scans
from segedu.medical.task import VolumeTask
from segedu.metrics import surface_distances
from segedu.models import get_model
from segedu.models.counting import cost

#: Slices that the network sees at once (a patch's depth), and patches of a batch.
KINDS = {"2-D": (1, 32), "2.5-D": (5, 32), "3-D": (40, 2)}
PLANE, BUDGET, SEEDS = (56, 40), 40, (0, 1, 2)  # voxels, batches in 3-D
SHARES = (0.7, 0.1, 0.2)  # those of the runs in medical.json, with the same patients
CLASSES = ("background", "Anterior", "Posterior")
EPOCHS, TRAINING = 8, {"lr": 3e-3, "weight_decay": 1e-4, "schedule": "poly", "clip_norm": 12.0}


def read() -> tuple[list[Case], list[Case]]:
    """The scans that train and those that test."""
    config = ProjectConfig(classes=CLASSES, intensity="mr", spacing=(1, 1, 1), shares=SHARES)
    folder = Path(os.environ["SEGEDU_DATA"], "medical", "Task04_Hippocampus")
    scans = find_scans(folder)
    split = split_scans([name for name, *_ in scans], config)
    return tuple(
        [load_case(*scan, config) for scan in scans if scan[0] in split[part]]
        for part in ("train", "test")
    )


def build(kind: str) -> nn.Module:
    depth, _ = KINDS[kind]
    how = {"dimensions": 3} if kind == "3-D" else {"dimensions": 2, "in_channels": depth}
    return get_model("nnunet", len(CLASSES), base_width=8, stages=4, **how)


def macs(kind: str) -> int:
    """Of one batch."""
    depth, batch = KINDS[kind]
    size, channels = ((depth, *PLANE), 1) if kind == "3-D" else (PLANE, depth)
    return batch * cost(build(kind), size, channels).macs


def predict(model: nn.Module, kind: str, image: Tensor) -> Tensor:
    """Labels (D, H, W) of a scan (1, D, H, W), which is small enough for one pass.

    It is padded as the patches were: instance normalisation notices.
    """
    depth = KINDS[kind][0]
    padded, box = pad_to(image, (depth if kind == "3-D" else 1, *PLANE))
    with torch.inference_mode():
        if kind == "3-D":
            labels = model(padded[None])[0].argmax(0)
        else:
            labels = model(stack_neighbours(padded[0], depth // 2)).argmax(1)
    return labels[box]


def judge(found: Tensor, truth: Tensor) -> dict[str, float]:
    """Means over both classes."""
    pairs = [(found == c, truth == c) for c in (1, 2)]
    return {
        "dice": mean(2 * (a & b).sum().item() / (a.sum() + b.sum()).item() for a, b in pairs),
        "hd95": mean(surface_distances(a, b).percentile(95) for a, b in pairs),
    }


def run(kind: str, seed: int, batches: int, cases: tuple[list[Case], list[Case]]) -> dict:
    depth, batch = KINDS[kind]
    as_image = {"transforms": slices_as_channels} if kind == "2.5-D" else {}
    length = round(batches / EPOCHS) * batch
    patches = PatchDataset(cases[0], (depth, *PLANE), length, positive_ratio=0.5, **as_image)
    start = time.process_time()
    model, _ = train(
        lambda: build(kind),
        patches,
        task=VolumeTask(len(CLASSES), 3),
        epochs=EPOCHS,
        batch_size=batch,
        seed=seed,
        **TRAINING,
    )
    seconds = time.process_time() - start
    scores = [judge(predict(model, kind, case.image), case.mask) for case in cases[1]]
    return {
        "seed": seed,
        "slices_seen": EPOCHS * length * (depth if kind == "3-D" else 1),
        "teramacs": round(EPOCHS * length * macs(kind) / batch / 1e12, 3),
        "seconds": round(seconds, 1),
        **{key: round(mean(s[key] for s in scores), 4) for key in ("dice", "hd95")},
        "cases": [round(s["dice"], 4) for s in scores],
    }


def main() -> None:
    quick = command_line(__doc__, "a few steps, no file").parse_args().quick
    cases = read()
    budget, seeds = (EPOCHS, SEEDS[:1]) if quick else (BUDGET, SEEDS)
    runs: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        for kind in KINDS:
            batches = budget * macs("3-D") / macs(kind)
            runs[kind].append(run(kind, seed, batches, cases))
            print(kind, {k: v for k, v in runs[kind][-1].items() if k != "cases"}, flush=True)
            if not quick:
                result = {
                    "command": "SEGEDU_DATA=... python benchmarks/dimensions.py",
                    "machine": machine.describe(),
                    "scans": dict(zip(("train", "test"), map(len, cases), strict=True)),
                    "training": {"epochs": EPOCHS, "batches_3d": BUDGET, **TRAINING},
                    "kinds": {
                        kind: dict(zip(("slices", "batch"), KINDS[kind], strict=True))
                        | {"parameters": sum(p.numel() for p in build(kind).parameters())}
                        for kind in KINDS
                    },
                    "runs": runs,
                }
                write_json(RESULTS / "dimensions.json", result)


if __name__ == "__main__":
    main()
