"""Which scenes to label next: by chance, by what a network is unsure of, or by what is unlike.

    python benchmarks/active_learning.py            # writes book/results/active_learning.json
    python benchmarks/active_learning.py --quick    # seconds of training, no file

Network, scenes and training are those of `benchmarks/weak_labels.py`. A few scenes of a pool have
masks; round by round a network learns from those that have, and as many more are chosen as there
are. In one pool all scenes are alike in kind; in the other most are plain and a few are full of
objects, as where a camera films an empty road all day. A seed stands for other scenes, another
start and other weights; the ways of choosing share all of these.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn

from benchmarks import weak_labels
from benchmarks.race import RESULTS, command_line, origin
from benchmarks.weak_labels import CLASSES, Labels, Study
from segedu.data import scenes
from segedu.engine.acquisition import entropy, farthest_first
from segedu.files import write_json
from segedu.metrics import score

CROWDED = {"kind": "street", "clutter": 1.0, "fine_detail": 0.0}


class Budget(NamedTuple):
    """Scenes of the pool, and how many of them have masks in each round."""

    pool: int = 160
    crowded: int = 16  # of the mixed pool
    labelled: tuple[int, ...] = (4, 8, 16, 32)
    seeds: tuple[int, ...] = (0, 1, 2)


WAYS = ("chance", "entropy", "farthest")


class Pool(NamedTuple):
    """Scenes that may be labelled, and those that judge."""

    labels: Labels
    val_images: Tensor
    val_masks: Tensor


def scenes_of(count: int, val: int, size: int, seed: int, **knobs: Any) -> tuple[Labels, Labels]:
    """Painted scenes with their masks, to learn from and to judge on."""
    parts = scenes.splits(count, val, size, seed=seed, classes=CLASSES, **knobs)
    samples = [[part[i] for i in range(len(part))] for part in parts]
    return tuple(
        Labels(
            torch.stack([one["image"] for one in part]),
            torch.stack([one["mask"] for one in part]),
            torch.zeros(len(part), len(CLASSES), dtype=torch.bool),  # nobody asks for tags here
        )
        for part in samples
    )


def joined(first: Labels, second: Labels) -> Labels:
    """Both together."""
    return Labels(*map(torch.cat, zip(first, second, strict=True)))


def pools(budget: Budget, training: weak_labels.Budget, seed: int) -> dict[str, Pool]:
    """The pool of one kind, and the mixed one."""
    val, size = training.val, training.size
    plain, plain_val = scenes_of(budget.pool, val, size, seed, **weak_labels.KNOBS)
    crowded, crowded_val = scenes_of(budget.crowded, val, size, seed, **CROWDED)
    few = plain.take(torch.arange(budget.pool - budget.crowded))
    half = torch.arange(val // 2)
    both_val = joined(plain_val.take(half), crowded_val.take(half))
    return {
        "alike": Pool(plain, plain_val.images, plain_val.masks),
        "mixed": Pool(joined(few, crowded), both_val.images, both_val.masks),
    }


def chosen(way: str, model: nn.Module, pool: Pool, known: list[int], draw: Tensor) -> list[int]:
    """As many more scenes as are known.

    Args:
        way: one of `WAYS`.
        model: has learnt from the known ones.
        pool: of the scenes.
        known: their numbers.
        draw: all numbers in an order of chance.
    """
    count = len(known)
    if way == "chance":
        return [i for i in draw.tolist() if i not in known][:count]
    logits, features = seen(model, pool.labels.images)
    if way == "farthest":
        return farthest_first(features, known, count)
    unsure = entropy(logits.softmax(1)).flatten(1).mean(1)
    unsure[known] = -1
    return unsure.topk(count).indices.tolist()


@torch.no_grad()
def seen(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, C, H, W), and the mean over the pixels of what the last layer gets (N, D)."""
    kept: list[Tensor] = []
    last = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)][-1]
    hook = last.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].mean((2, 3))))
    logits = torch.cat([model(part) for part in images.split(32)])
    hook.remove()
    return logits, torch.cat(kept)


def rounds(
    way: str, pool: Pool, start: list[int], first: nn.Module, budget: Budget, study: Study
) -> dict[str, Any]:
    """Mean IoU by the number of labelled scenes, when they are chosen in one way.

    Args:
        way: one of `WAYS`.
        pool: of the scenes.
        start: numbers of the first labelled ones.
        first: the network that has learnt from these.
        budget: how many are labelled in each round.
        study: trains.
    """
    known, found, model = list(start), {str(len(start)): judge(first, pool)}, first
    draw = torch.randperm(
        len(pool.labels.masks), generator=torch.Generator().manual_seed(study.seed)
    )
    for _ in budget.labelled[1:]:
        known += chosen(way, model, pool, known, draw)
        model = study.train(pool.labels.take(torch.tensor(known)))
        found[str(len(known))] = judge(model, pool)
    last = sum(i >= budget.pool - budget.crowded for i in known)
    return {"mean_iou": found, "from_the_end": last}


def judge(model: nn.Module, pool: Pool) -> float:
    """Mean IoU on the scenes that judge."""
    with torch.no_grad():
        labels = torch.cat([model(part).argmax(1) for part in pool.val_images.split(32)])
    return round(float(score(labels, pool.val_masks, len(CLASSES))["mean_iou"]), 4)


def main() -> None:
    quick = command_line(__doc__, "seconds of training, no file").parse_args().quick
    torch.set_num_threads(1)
    budget, training = Budget(), weak_labels.Budget()
    if quick:
        budget = Budget(pool=12, crowded=4, labelled=(2, 4), seeds=(0,))
        training = weak_labels.Budget(size=32, smallest=4, steps=2, val=4)
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in budget.seeds:
        study = Study(training, seed)
        for name, pool in pools(budget, training, seed).items():
            order = torch.randperm(budget.pool, generator=torch.Generator().manual_seed(100 + seed))
            start = order[: budget.labelled[0]].tolist()
            first = study.train(pool.labels.take(torch.tensor(start)))
            row = {way: rounds(way, pool, start, first, budget, study) for way in WAYS}
            found.setdefault(name, []).append(row)
            print(seed, name, row, flush=True)
    result = {
        **origin(__file__, budget),
        "training": training._asdict(),
        "classes": list(CLASSES),
        "knobs": {"plain": weak_labels.KNOBS, "crowded": CROWDED},
        **found,
    }
    if not quick:
        print(write_json(RESULTS / "active_learning.json", result))


if __name__ == "__main__":
    main()
