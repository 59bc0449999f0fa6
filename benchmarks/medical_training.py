"""Train and judge the medical project, and keep what came out in ``book/results/medical.json``.

``python -m benchmarks.medical_training phantom`` draws thorax CTs and finds their lungs;
``hippocampus`` needs the Decathlon's Task04 in ``$SEGEDU_DATA/medical/Task04_Hippocampus``.
Patients that are tested took no part in the training nor in the choice of its best epoch.
"""

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from segedu.__main__ import machine
from segedu.engine.checkpoint import atomic_write
from segedu.medical.nifti import read_nifti
from segedu.medical.phantom import LUNGS, PhantomConfig, generate
from segedu.medical.project import Predictor, ProjectConfig, find_scans, train, write_decathlon
from segedu.medical.volume import Volume
from segedu.metrics import SurfaceMetrics

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results" / "medical.json"
PHANTOM = PhantomConfig(shape=(40, 80, 80), spacing=(7.2, 4.7, 4.7))
CONFIGS = {
    "phantom": ProjectConfig(
        classes=LUNGS,
        base_width=8,
        stages=4,
        patch=(24, 48, 64),
        intensity="lung",
        epochs=12,
        patches=20,
        lr=5e-3,
        augment=False,  # no patch is seen often enough to be learnt by heart
        shares=(0.65, 0.05, 0.3),  # 6, 1 and 3 patients
    ),
    "hippocampus": ProjectConfig(
        classes=("background", "anterior", "posterior"),
        base_width=8,
        stages=4,
        patch=(40, 56, 40),  # of volumes that are hardly larger: most are seen whole
        epochs=8,
        patches=32,
        lr=3e-3,
        augment=False,  # so short a training sees each patient about three times
        shares=(0.7, 0.1, 0.2),
    ),
}


def scans_of(name: str, folder: Path) -> Path:
    if name == "hippocampus":
        return Path(os.environ["SEGEDU_DATA"], "medical", "Task04_Hippocampus")
    drawn = (generate(seed, PHANTOM) for seed in range(10))
    cases = ((f"phantom_{i:03d}", p.image, p.lungs) for i, p in enumerate(drawn))
    write_decathlon(folder / "scans", cases, LUNGS)
    return folder / "scans"


def judge(run: Path, data: Path, device: str) -> list[dict]:
    """Dice, HD95, ASSD and the error of the volume of each class in each tested scan."""
    predictor = Predictor(run, device)
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    paths = {name: (image, label) for name, image, label in find_scans(data)}
    rows = []
    for name in split["test"]:
        image, truth = (read_nifti(path) for path in paths[name])
        found = predictor(image)
        rows += [{"case": name, **row} for row in compare(found, truth, predictor.config.classes)]
    return rows


def compare(found: Volume, truth: Volume, classes: tuple[str, ...]) -> list[dict]:
    surface = SurfaceMetrics(len(classes), truth.spacing)
    a, b = (torch.from_numpy(np.ascontiguousarray(v.array)).long()[None] for v in (found, truth))
    surface.update(a, b)
    distances = {case["class"]: case for case in surface.compute()["cases"]}
    rows = []
    for c, label in enumerate(classes[1:], start=1):
        p, t = found.array == c, truth.array == c
        rows.append(
            {
                "class": label,
                "dice": float(2 * (p & t).sum() / max(1, p.sum() + t.sum())),
                "hd95_mm": distances[c]["hd95"] if c in distances else None,
                "assd_mm": distances[c]["assd"] if c in distances else None,
                "volume_error_ml": float((int(p.sum()) - int(t.sum())) * truth.voxel_ml),
            }
        )
    return rows


def summary(rows: list[dict], seed: int = 0) -> dict[str, dict]:
    """Mean of each score over the tested scans, and the 95 % bootstrap interval of the Dice."""
    rng = np.random.default_rng(seed)
    result = {}
    for label in dict.fromkeys(row["class"] for row in rows):
        mine = [row for row in rows if row["class"] == label]
        dice = np.array([row["dice"] for row in mine])
        draws = dice[rng.integers(len(dice), size=(10_000, len(dice)))].mean(1)
        keys = ("dice", "hd95_mm", "assd_mm", "volume_error_ml")
        means = {k: float(np.mean([row[k] for row in mine if row[k] is not None])) for k in keys}
        low, high = np.percentile(draws, (2.5, 97.5)).tolist()
        result[label] = {**means, "dice_95": [low, high], "scans": len(mine)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=CONFIGS)
    parser.add_argument("--out", type=Path, required=True, help="folder for scans and run")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    config = CONFIGS[options.name]
    start, processor = time.perf_counter(), time.process_time()
    data = scans_of(options.name, options.out)
    drawn = time.process_time() - processor
    history = train(
        data, options.out / "run", config, device=options.device, resume=True,
        on_epoch=lambda r: print(r["epoch"], r["loss"], r["val_dice"], flush=True),
    )  # fmt: skip
    trained = time.process_time() - processor - drawn
    rows = judge(options.out / "run", data, options.device)
    entry = {
        "command": f"python -m benchmarks.medical_training {options.name} --out DIR",
        "classes": summary(rows),
        "cases": rows,
        "epochs": len(history),
        "training": asdict(config),
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": {"data": round(drawn, 1), "training": round(trained, 1)},
        "machine": machine(torch.device(options.device)),
    }
    entries = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    with atomic_write(RESULTS) as file:
        text = json.dumps(entries | {options.name: entry}, indent=1, ensure_ascii=False) + "\n"
        file.write(text.encode())
    print(json.dumps(entry["classes"], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
