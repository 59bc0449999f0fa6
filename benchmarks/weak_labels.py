"""The same minutes of annotation, spent on different labels; what further losses and images add.

    python benchmarks/weak_labels.py            # writes book/results/weak_labels.json; 20 minutes
    python benchmarks/weak_labels.py --quick    # seconds of training, no file

A U-Net of width 8 learns street scenes of 64 x 64 pixels from points, scribbles, boxes or masks, as
many scenes as an annotator labels in the time, and always in as many steps. It is judged on the
full masks of other scenes, the same in all trainings; a seed stands for other training scenes,
other points and scribbles, and other weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn

from benchmarks.race import RESULTS, command_line, origin
from segedu.data import scenes
from segedu.data.pairs import IGNORE_INDEX
from segedu.data.weak import AnnotationTimes, annotate
from segedu.engine import predict_labels, seed_everything
from segedu.engine.optim import average, cosine_lr
from segedu.engine.pseudo_labels import pseudo_labels
from segedu.files import write_json
from segedu.losses import CrossEntropyLoss
from segedu.losses.weak import NeighborLoss, SizeConstraintLoss
from segedu.metrics import score
from segedu.models import get_model

CLASSES = ("sky", "building", "road", "pavement", "tree", "car", "person")
KNOBS = {"kind": "street", "clutter": 0.0, "fine_detail": 0.0}
KINDS = ("points", "scribbles", "boxes", "masks")
#: Nobody has measured scribbles on such scenes: the time of one is assumed.
TIMES = AnnotationTimes(scribble=10.0)
NEIGHBORS = (0.1, 1.0)  # weights of the loss
SIZES = 100.0  # weight of the loss


class Budget(NamedTuple):
    """Minutes of the annotator, and steps of the training."""

    size: int = 64
    smallest: int = 16
    minutes: tuple[int, ...] = (30, 120, 480)
    further: int = 120  # minutes of points to which something is added
    labelled: int = 8  # masks beside images without labels
    unlabelled: int = 128
    threshold: float = 0.9
    decay: float = 0.98
    val: int = 96
    steps: int = 150
    batch_size: int = 8
    lr: float = 5e-3
    seeds: tuple[int, ...] = (0, 1, 2)


class Labels(NamedTuple):
    """Images (N, 3, H, W), what was said of their pixels (N, H, W), and their tags (N, C)."""

    images: Tensor
    masks: Tensor
    tags: Tensor

    def take(self, chosen: Tensor) -> Labels:
        """Those with these numbers."""
        return Labels(self.images[chosen], self.masks[chosen], self.tags[chosen])


Loss = Callable[[Tensor, Labels], Tensor]


def cross_entropy(logits: Tensor, batch: Labels) -> Tensor:
    """Of the labelled pixels."""
    return CrossEntropyLoss()(logits, batch.masks)


def with_neighbors(weight: float) -> Loss:
    """Neighbours of one colour should be of one class, too."""
    neighbors = NeighborLoss(radius=2, sigma_rgb=0.1 / 0.225)  # of normalised images

    def loss(logits: Tensor, batch: Labels) -> Tensor:
        return cross_entropy(logits, batch) + weight * neighbors(logits, batch.images)

    return loss


def with_sizes(smallest: float) -> Loss:
    """Absent classes should be empty, present ones have a least share, too."""

    def loss(logits: Tensor, batch: Labels) -> Tensor:
        present = batch.tags.float()
        sizes = SizeConstraintLoss()(logits, smallest * present, present)
        return cross_entropy(logits, batch) + SIZES * sizes

    return loss


def with_zeros(logits: Tensor, batch: Labels) -> Tensor:
    """The mistake: pixels without a label count as those of class 0."""
    masks = batch.masks.masked_fill(batch.masks == IGNORE_INDEX, 0)
    return cross_entropy(logits, batch._replace(masks=masks))


class Study:
    """The scenes of a seed, what an annotator says of them, and trainings."""

    def __init__(self, budget: Budget, seed: int) -> None:
        self.budget, self.seed = budget, seed
        settings = {"classes": CLASSES, **KNOBS}
        self.pool, _ = scenes.splits(10_000, 1, budget.size, seed=seed, **settings)
        _, self.val_set = scenes.splits(1, budget.val, budget.size, **settings)
        self.truth = torch.stack([sample["mask"] for sample in self.val_set])

    def labels(self, kind: str, minutes: float) -> Labels:
        """As many scenes as are labelled in the time."""
        found, left = [], 60 * minutes
        for index in range(len(self.pool)):
            row, seconds = self._label(kind, index)
            left -= seconds
            if left < 0:
                break
            found.append(row)
        return Labels(*map(torch.stack, zip(*found, strict=True)))

    def first(self, kind: str, count: int, start: int = 0) -> Labels:
        """So many scenes."""
        rows = [self._label(kind, start + index)[0] for index in range(count)]
        return Labels(*map(torch.stack, zip(*rows, strict=True)))

    def _label(self, kind: str, index: int) -> tuple[tuple[Tensor, ...], float]:
        sample = self.pool[index]
        said = annotate(
            sample["mask"], kind, len(CLASSES), seed=index, smallest=self.budget.smallest
        )
        return (sample["image"], said.mask.long(), said.tags), said.seconds(TIMES)

    def train(self, labels: Labels, loss: Loss = cross_entropy) -> nn.Module:
        """A network that has learnt from these labels."""
        return self._train(lambda model, draw: loss(model((b := draw(labels)).images), b))

    def mean_teacher(self, labels: Labels, others: Tensor) -> nn.Module:
        """A student that should agree with the running mean of its weights on other images."""
        step, steps = 0, self.budget.steps
        teacher = None

        def loss(model: nn.Module, draw: Callable[[Labels], Labels]) -> Tensor:
            nonlocal step, teacher
            if teacher is None:
                teacher = average(model, self.budget.decay)
            teacher.update_parameters(model)
            batch, step = draw(labels), step + 1
            images = others[torch.randint(len(others), (self.budget.batch_size,))]
            with torch.no_grad():
                wanted = teacher(images).softmax(1)
            noisy = images + 0.1 * torch.randn_like(images)
            logits = model(torch.cat([batch.images, noisy]))
            known, new = logits.split([len(batch.images), len(images)])
            apart = (new.softmax(1) - wanted).square().sum(1).mean()
            return cross_entropy(known, batch) + min(1.0, 2 * step / steps) * apart

        self._train(loss)
        return teacher.module.eval()

    def _train(self, loss: Callable[[nn.Module, Callable], Tensor]) -> nn.Module:
        budget = self.budget
        seed_everything(self.seed)
        model = get_model("unet", len(CLASSES), base_width=8, depth=3).train()
        optimizer = torch.optim.AdamW(model.parameters(), budget.lr, fused=True)
        schedule = cosine_lr(optimizer, budget.steps, warmup_steps=budget.steps // 10)

        def draw(labels: Labels) -> Labels:
            return labels.take(torch.randint(len(labels.masks), (budget.batch_size,)))

        for _ in range(budget.steps):
            optimizer.zero_grad()
            loss(model, draw).backward()
            optimizer.step()
            schedule.step()
        return model.eval()

    def judge(self, model: nn.Module) -> float:
        """Mean IoU on the unseen scenes."""
        found = score(predict_labels(model, self.val_set), self.truth, len(CLASSES))
        return round(float(found["mean_iou"]), 4)


def same_minutes(study: Study) -> dict[str, dict[str, Any]]:
    """Each kind of label at each number of minutes."""
    found: dict[str, dict[str, Any]] = {}
    for minutes in study.budget.minutes:
        for kind in KINDS:
            labels = study.labels(kind, minutes)
            row = {"scenes": len(labels.masks), "mean_iou": study.judge(study.train(labels))}
            found.setdefault(kind, {})[str(minutes)] = row
            print(study.seed, minutes, kind, row, flush=True)
    return found


def further_losses(study: Study) -> dict[str, float]:
    """What is added to points, and the mistake."""
    budget = study.budget
    labels = study.labels("points", budget.further)
    losses = {
        "points": cross_entropy,
        **{f"neighbors {weight}": with_neighbors(weight) for weight in NEIGHBORS},
        "sizes": with_sizes(budget.smallest / budget.size**2),
        "zeros": with_zeros,
    }
    found = {}
    for name, loss in losses.items():
        found[name] = study.judge(study.train(labels, loss))
        print(study.seed, name, found[name], flush=True)
    return found


def unlabelled_images(study: Study) -> dict[str, Any]:
    """A few masks alone, and with images that nobody labelled."""
    budget = study.budget
    few = study.first("masks", budget.labelled)
    others = study.first("masks", budget.unlabelled, start=budget.labelled)
    alone = study.train(few)
    with torch.no_grad():
        guessed, _ = pseudo_labels(alone(others.images), budget.threshold)
    kept = guessed != IGNORE_INDEX
    judged = kept & (others.masks != IGNORE_INDEX)
    right = (guessed == others.masks)[judged].float().mean()
    share = budget.unlabelled // budget.labelled  # each half of the draws
    both = [
        torch.cat([mine.repeat(share, *[1] * (mine.ndim - 1)), new])
        for mine, new in zip(few, others._replace(masks=guessed), strict=True)
    ]
    found = {
        "labels": study.judge(alone),
        "pseudo_labels": study.judge(study.train(Labels(*both))),
        "mean_teacher": study.judge(study.mean_teacher(few, others.images)),
        "kept": round(float(kept.float().mean()), 4),
        "right": round(float(right), 4),
    }
    print(study.seed, found, flush=True)
    return found


def main() -> None:
    quick = command_line(__doc__, "seconds of training, no file").parse_args().quick
    torch.set_num_threads(1)
    budget = Budget()
    if quick:
        small = {"minutes": (20,), "further": 2, "labelled": 2, "unlabelled": 4, "val": 2}
        budget = Budget(size=32, smallest=4, steps=2, seeds=(0,), **small)
    studies = [Study(budget, seed) for seed in budget.seeds]
    parts = {
        "minutes": same_minutes,
        "further": further_losses,
        "unlabelled": unlabelled_images,
    }
    result: dict[str, Any] = {
        **origin(__file__, budget),
        "times": vars(TIMES),
        "classes": list(CLASSES),
        "knobs": KNOBS,
    }
    for name, part in parts.items():
        result[name] = [part(study) for study in studies]
    if not quick:
        print(write_json(RESULTS / "weak_labels.json", result))


if __name__ == "__main__":
    main()
