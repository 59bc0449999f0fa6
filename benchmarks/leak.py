"""The leak of a split by slice: what a score promises, and what new patients bring.

    SEGEDU_DATA=... python benchmarks/leak.py   # hippocampus; two minutes of one processor
    SEGEDU_DATA=... python benchmarks/leak.py --quick   # one epoch, one seed, no file

A study has a few patients. A quarter of its slices is held out: drawn one by one, or as all slices
of a quarter of the patients. Two methods are judged on the slices held out and on patients outside
the study: a U-Net on axial slices, and a copy of the mask of the most similar training slice, which
learns nothing. All scores are Dice over all voxels, mean of the two classes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor
from torch.utils.data import Subset

from benchmarks import race
from segedu.engine import predict_labels, train
from segedu.files import write_json
from segedu.machine import describe
from segedu.medical.config import ProjectConfig
from segedu.medical.patches import GridDataset
from segedu.medical.project import load_case
from segedu.medical.scans import Scan, find_scans, read_classes
from segedu.medical.task import VolumeTask
from segedu.metrics import score
from segedu.models import get_model

DATA = "medical/Task04_Hippocampus"  # below $SEGEDU_DATA
SIZE = (1, 64, 48)  # voxels d, h, w: one slice, as large as the largest scan
LEARNING_RATE = 1e-2


class Budget(NamedTuple):
    patients: int = 12
    outside: int = 30
    held_out: float = 0.25
    base_width: int = 8
    depth: int = 2
    epochs: int = 12
    batch_size: int = 16
    seeds: tuple[int, ...] = (0, 1, 2)


class Slices(NamedTuple):
    image: Tensor  #: (N, 1, H, W)
    mask: Tensor  #: (N, H, W), 255 around the scan
    patient: Tensor  #: (N,) number of the patient

    def samples(self, chosen: Tensor) -> Subset:
        pairs = [{"image": i, "mask": m} for i, m in zip(self.image, self.mask, strict=True)]
        return Subset(pairs, chosen.tolist())


def read(scans: Sequence[Scan], config: ProjectConfig) -> Slices:
    """All axial slices of the scans; each scan is a patient of its own."""
    images, masks, owners = [], [], []
    for number, scan in enumerate(scans):
        for sample in GridDataset([load_case(*scan, config)], SIZE):
            images.append(sample["image"])
            masks.append(sample["mask"])
            owners.append(number)
    return Slices(torch.stack(images), torch.stack(masks), torch.tensor(owners))


def hold_out(study: Slices, by: str, share: float, seed: int) -> Tensor:
    """(N,) bool: which slices are held out."""
    generator = torch.Generator().manual_seed(seed)
    if by == "slice":
        order = torch.randperm(len(study.image), generator=generator)
        return order < share * len(order)
    patients = torch.randperm(int(study.patient.max()) + 1, generator=generator)
    return torch.isin(study.patient, patients[: round(share * len(patients))])


def dice(found: Tensor, mask: Tensor, num_classes: int) -> float:
    return score(found, mask, num_classes)["dice"][1:].mean().item()


def copied(known: Slices, images: Tensor) -> Tensor:
    """(N, H, W): for each image the mask of the most similar slice that is known."""
    distances = torch.cdist(images.flatten(1), known.image.flatten(1))
    mask = known.mask[distances.argmin(1)]
    return mask.where(mask != 255, 0)


def measure(by: str, study: Slices, outside: Slices, classes: int, budget: Budget, seed: int):
    """Scores of one split: method -> held out, outside."""
    held = hold_out(study, by, budget.held_out, seed)
    known = Slices(*(part[~held] for part in study))
    model, _ = train(
        lambda: get_model(
            "unet3d", classes, base_width=budget.base_width, depth=budget.depth, dimensions=2
        ),
        study.samples((~held).nonzero()[:, 0]),
        task=VolumeTask(classes),
        epochs=budget.epochs,
        batch_size=budget.batch_size,
        lr=LEARNING_RATE,
        seed=seed,
    )
    places = {"held_out": Slices(*(part[held] for part in study)), "outside": outside}
    result = {}
    for method in ("network", "copy"):
        result[method] = {}
        for place, slices in places.items():
            if method == "network":
                found = predict_labels(model, slices.image, batch_size=64)
            else:
                found = copied(known, slices.image)
            result[method][place] = round(dice(found, slices.mask, classes), 4)
    print(f"seed {seed}, by {by}, {len(known.image)} slices: {result}", flush=True)
    return {"training_slices": len(known.image), **result}


def main() -> None:
    quick = race.command_line(__doc__, "one epoch, one seed, no file").parse_args().quick
    torch.set_num_threads(1)  # the same sums in the same order on every machine of a kind
    budget = Budget(epochs=1, outside=4, seeds=(0,)) if quick else Budget()
    folder = Path(os.environ["SEGEDU_DATA"], DATA)
    config = ProjectConfig(classes=read_classes(folder), spacing=(1, 1, 1), intensity="mr")
    runs: dict[str, list] = {"slice": [], "patient": []}
    for seed in budget.seeds:
        scans = find_scans(folder)
        order = torch.randperm(len(scans), generator=torch.Generator().manual_seed(seed)).tolist()
        chosen = [scans[i] for i in order[: budget.patients + budget.outside]]
        study = read(chosen[: budget.patients], config)
        outside = read(chosen[budget.patients :], config)
        for by, found in runs.items():
            found.append(measure(by, study, outside, len(config.classes), budget, seed))
    if not quick:
        result = {
            "command": "SEGEDU_DATA=... python benchmarks/leak.py",
            "data": DATA,
            "machine": describe("cpu"),
            "budget": budget._asdict(),
            "lr": LEARNING_RATE,
            "by": runs,
        }
        print(write_json(race.RESULTS / "leak.json", result))


if __name__ == "__main__":
    main()
