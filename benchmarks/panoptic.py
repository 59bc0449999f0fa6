"""The weight of the semantic loss in Panoptic FPN, and what it does to things and to stuff.

    python benchmarks/panoptic.py            # 3 weights, 3 seeds; two minutes of one processor
    python benchmarks/panoptic.py --quick    # a few scenes, one seed, no file

The stored network learns on, for a few steps, on scenes that it has not seen; the seed decides the
scenes and their order. Only the factor on the semantic loss differs. All are judged on other scenes
of that seed, and so is the stored network itself (``before``).
"""

import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn

from benchmarks.race import RESULTS, command_line, origin
from segedu.data import scenes
from segedu.engine import evaluate, make_loader, train
from segedu.files import write_json
from segedu.models import get_model
from segedu.tasks import Panoptic

LEARNING_RATE = 1e-3  # the highest; it follows half a cosine


class Budget(NamedTuple):
    size: int = 128
    train: int = 96
    test: int = 48
    epochs: int = 1
    batch_size: int = 4
    weights: tuple[float, ...] = (0.5, 5.0, 50.0)
    seeds: tuple[int, ...] = (1, 2, 3)  # the stored network learned from the scenes of 0


def build(weight: float) -> nn.Module:
    return get_model("panoptic_fpn_tiny", weights="scenes", semantic_weight=weight)


def measure(budget: Budget, seed: int) -> dict:
    """PQ of all classes, of things and of stuff, before and after training with each weight."""
    train_set, test_set = scenes.splits(
        budget.train, budget.test, budget.size, seed=seed, task="panoptic"
    )
    task = Panoptic(train_set.isthing)
    loader = make_loader(test_set, 8, collate_fn=task.collate)

    def judge(model: nn.Module) -> dict[str, float]:
        scores = evaluate(model, loader, task=task)
        return {key: round(scores[key], 4) for key in ("pq", "pq_things", "pq_stuff")}

    found = {"seed": seed, "before": judge(build(0.5)), "after": []}
    for weight in budget.weights:
        model, _ = train(
            lambda weight=weight: build(weight),
            train_set,
            task=task,
            epochs=budget.epochs,
            batch_size=budget.batch_size,
            lr=LEARNING_RATE,
            seed=seed,
        )
        found["after"].append({"weight": weight, **judge(model)})
        print(f"seed {seed}: {found['before']} -> {found['after'][-1]}", flush=True)
    return found


def main() -> None:
    quick = command_line(__doc__, "a few scenes, one seed, no file").parse_args().quick
    torch.set_num_threads(1)  # the same sums in the same order on every machine of a kind
    budget = Budget(train=4, test=2, seeds=(1,)) if quick else Budget()
    runs = [measure(budget, seed) for seed in budget.seeds]
    if not quick:
        result = {
            **origin(__file__, budget),
            "lr": LEARNING_RATE,
            "runs": runs,
        }
        print(write_json(RESULTS / "panoptic.json", result))


if __name__ == "__main__":
    main()
