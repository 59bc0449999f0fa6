"""The semantic networks on CamVid: one budget for all, by the commands of `python -m segedu`.

    python benchmarks/camvid.py             # 8 networks, 3 seeds; an hour of one processor core
    python benchmarks/camvid.py --quick     # prints the first commands of each network, runs none

`SEGEDU_DATA` is the folder above ``camvid/``. The networks are those of `benchmarks/semantic.py`,
as narrow as there. With the first seed each is trained at several learning rates and judged on the
validation images, smaller and larger ones until the best is at no end; all seeds take that. A
result that the file holds by the same commands is not made again, so that a run that was stopped
goes on.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks import race
from benchmarks.semantic import NETWORKS, Entry, try_rates
from segedu import cli
from segedu.files import read_json

FILE = "book/results/camvid.json"
SEEDS = (0, 1, 2)
RATES = (5e-3, 1e-2)  # and beyond, by factors of two, while that helps
BUDGET = (
    "--crop 96 128 --scale 0.6 1.2 --batch-size 4 --epochs 4 --warmup 50 --cache "
    "--val-every-image 10 --device cpu"
)
BOUNDARY = 0.01  # of the diagonal: three pixels at 240 x 180


def training(entry: Entry, seed: int, lr: float) -> str:
    """The command that trains a network."""
    settings = (f"{key}={value}".replace(" ", "") for key, value in entry.settings.items())
    return (
        "python -m segedu train --layout camvid --data '$SEGEDU_DATA/camvid/CamVid_240x180' "
        f"--model {entry.name} {' '.join(f'--set {shlex.quote(text)}' for text in settings)} "
        f"{BUDGET} --lr {lr:g} --seed {seed} --out {folder(entry, seed, lr)}"
    )


def judgement(entry: Entry, seed: int, lr: float, split: str) -> str:
    """The command that judges it after the last epoch, when all have taken the same steps."""
    name = f"seed{seed}/test" if split == "test" else f"seed{seed}/lr{lr:g}/{split}"
    return (
        f"python -m segedu evaluate --checkpoint {folder(entry, seed, lr)}/last.pt --split {split} "
        f"--boundary {BOUNDARY} --draws 0 --device cpu --results {FILE} --entry {entry.name}/{name}"
    )


def folder(entry: Entry, seed: int, lr: float) -> str:
    return f"runs/camvid/{entry.name}_seed{seed}_lr{lr:g}"


def record(entry: Entry, seed: int, lr: float, split: str) -> dict[str, Any]:
    """The entry of the file, made by the two commands unless it is there."""
    train, judge = training(entry, seed, lr), judgement(entry, seed, lr, split)
    name = judge.split()[-1]
    found = read_json(FILE).get(name)
    if found and (found["training"]["command"], found["command"]) == (train, judge):
        return found
    if not is_trained(Path(folder(entry, seed, lr)), train):
        shutil.rmtree(folder(entry, seed, lr), ignore_errors=True)  # stopped, or of another budget
        execute(train)
    execute(judge)
    return read_json(FILE)[name]


def is_trained(folder: Path, command: str) -> bool:
    """Whether the command has left all its epochs there."""
    if not (folder / "history.jsonl").exists():
        return False
    config, epochs = read_json(folder / "config.json"), (folder / "history.jsonl").read_text()
    return config["command"] == command and config["epochs"] == len(epochs.splitlines())


def execute(command: str) -> None:
    """What the command does, in this process."""
    print(f"\n{command}", flush=True)
    if status := cli.main(shlex.split(command)[3:]):
        sys.exit(status)


def best_rate(entry: Entry) -> float:
    trials = try_rates(RATES, lambda lr: record(entry, SEEDS[0], lr, "val")["mean_iou"])
    return max(trials, key=trials.get)


def main() -> None:
    if race.command_line(__doc__, "print the first commands, run none").parse_args().quick:
        for entry in NETWORKS.values():
            print(training(entry, SEEDS[0], RATES[0]))
            print(judgement(entry, SEEDS[0], RATES[0], "val"))
        return
    torch.set_num_threads(1)
    os.chdir(race.RESULTS.parents[1])  # the commands are those of the repository's root
    for seed in SEEDS:  # all networks once, then again
        for entry in NETWORKS.values():
            record(entry, seed, best_rate(entry), "test")


if __name__ == "__main__":
    main()
