"""Train and judge the medical project, and keep what came out in ``book/results/medical.json``.

``python -m benchmarks.medical_training phantom`` draws thorax CTs and finds their lungs,
``phantom_nodules`` finds six nodules in each, of 12 to 26 mm;
``hippocampus`` needs the Decathlon's Task04 in ``$SEGEDU_DATA/medical/Task04_Hippocampus``.
Patients that are tested took no part in the training nor in the choice of its best epoch.
"""

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from segedu import machine
from segedu.files import json_text, read_json, write_json
from segedu.medical.evaluate import evaluate
from segedu.medical.phantom import LUNGS, NODULE, Nodule, PhantomConfig, generate
from segedu.medical.project import ProjectConfig, train, write_decathlon
from segedu.medical.volume import Volume

HIPPOCAMPUS = ProjectConfig(
    classes=("background", "anterior", "posterior"),
    base_width=8,
    stages=4,
    patch=(40, 56, 40),  # of volumes that are hardly larger: most are seen whole
    epochs=8,
    patches=32,
    lr=3e-3,
    augment=False,  # so short a training sees each patient about three times
    shares=(0.7, 0.1, 0.2),
)
RESULTS = Path(__file__).resolve().parent.parent / "book" / "results" / "medical.json"
PHANTOM = PhantomConfig(shape=(40, 80, 80), spacing=(7.2, 4.7, 4.7))
WITH_NODULES = PhantomConfig(
    shape=(48, 96, 96),
    spacing=(6.0, 3.9, 3.9),
    nodules=tuple(Nodule(diameter) for diameter in (12.0, 14.0, 16.0, 18.0, 22.0, 26.0)),  # mm
)
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
    "phantom_nodules": ProjectConfig(
        classes=("background", "nodule ｜ 结节"),
        lesions=("nodule ｜ 结节",),
        base_width=8,
        stages=3,
        patch=(16, 32, 32),  # a nodule is told from a vessel by what is near: small and many
        intensity="lung",
        epochs=10,
        patches=128,
        batch_size=4,
        positive_ratio=0.67,  # of the voxels of a scan one in 2,000 belongs to a nodule
        lr=3e-3,
        augment=False,
        shares=(0.65, 0.05, 0.3),
    ),
    "hippocampus": HIPPOCAMPUS,
    # The same voxels in all as in 3-D, 40 slices for a patch, of the same patients.
    "hippocampus_2d": HIPPOCAMPUS.changed(patch=(1, 56, 40), patches=40 * 32, batch_size=32),
}


def scans_of(name: str, folder: Path) -> Path:
    if name.startswith("hippocampus"):
        return Path(os.environ["SEGEDU_DATA"], "medical", "Task04_Hippocampus")
    write_decathlon(folder / "scans", (draw(name, i) for i in range(10)), CONFIGS[name].classes)
    return folder / "scans"


def draw(name: str, seed: int) -> tuple[str, Volume, Volume]:
    """One patient: name, scan, and the lungs or the nodules."""
    drawn = generate(seed, PHANTOM if name == "phantom" else WITH_NODULES)
    nodules = (drawn.labels.array == NODULE).astype(np.uint8)
    labels = drawn.lungs if name == "phantom" else drawn.labels.with_array(nodules)
    return f"phantom_{seed:03d}", drawn.image, labels


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
    evaluate(options.out / "run", data, options.out / "test", device=options.device)
    scores = read_json(options.out / "test" / "scores.json")
    entry = {
        "command": f"python -m benchmarks.medical_training {options.name} --out DIR",
        **scores,
        "epochs": len(history),
        "training": asdict(config),
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": {"data": round(drawn, 1), "training": round(trained, 1)},
        "machine": machine.describe(options.device),
    }
    entries = read_json(RESULTS) if RESULTS.exists() else {}
    write_json(RESULTS, entries | {options.name: entry})
    print(json_text(entry["classes"]), end="")


if __name__ == "__main__":
    main()
