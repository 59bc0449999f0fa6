"""A U-Net on CamVid, trained at one scale or at many, and judged at several scales and views.

    python benchmarks/scales.py             # writes book/results/scales.json; 15 minutes
    python benchmarks/scales.py --quick     # prints the commands, runs none

`SEGEDU_DATA` is the folder above ``camvid/``. The two trainings differ in the range of the random
scale alone. Each network is judged on the test images: scaled to half and to twice their sides, as
they are, and as they are with two kinds of test-time augmentation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks import camvid, race
from segedu.files import read_json

FILE = "book/results/scales.json"
TRAININGS = {"one_scale": "1 1", "many_scales": "0.5 2"}
VIEWS = {
    "half": "--image-size 90 120",
    "plain": "",
    "double": "--image-size 360 480",
    "mirror": "--tta",
    "mirror_and_scales": "--tta --scales 0.75 1 1.25",
}
BUDGET = (
    "--crop 96 128 --loss ce+dice --batch-size 4 --lr 0.003 --epochs 24 --warmup 50 --cache "
    "--val-every-image 10 --device cpu --seed 0"
)


def training(name: str) -> str:
    """The command that trains the network."""
    return (
        "python -m segedu train --layout camvid --data '$SEGEDU_DATA/camvid/CamVid_240x180' "
        f"--model unet --set base_width=8 --scale {TRAININGS[name]} {BUDGET} --out {folder(name)}"
    )


def judgement(name: str, view: str) -> str:
    """The command that judges it after the last epoch."""
    return " ".join(
        f"python -m segedu evaluate --checkpoint {folder(name)}/last.pt --split test "
        f"{VIEWS[view]} --device cpu --results {FILE} --entry {name}/{view}".split()
    )


def folder(name: str) -> str:
    return f"runs/scales/{name}"


def main() -> None:
    quick = race.command_line(__doc__, "print the commands, run none").parse_args().quick
    torch.set_num_threads(1)
    os.chdir(race.RESULTS.parents[1])  # the commands are those of the repository's root
    for name in TRAININGS:
        for command in (training(name), *(judgement(name, view) for view in VIEWS)):
            if quick:
                print(command)
            elif not is_done(name, command):
                camvid.execute(command)


def is_done(name: str, command: str) -> bool:
    """Whether the command has left its training, or its entry."""
    if command == training(name):
        return camvid.is_trained(Path(folder(name)), command)
    kept = read_json(FILE) if Path(FILE).exists() else {}
    return kept.get(command.split()[-1], {}).get("command") == command


if __name__ == "__main__":
    main()
