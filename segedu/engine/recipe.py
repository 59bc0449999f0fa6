"""A whole training in one call: seed, model, loaders, AdamW, schedule, `fit`."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from segedu.engine.checks import at_least_one
from segedu.engine.fit import fit
from segedu.engine.history import History
from segedu.engine.loader import make_loader, seed_everything
from segedu.engine.optim import cosine_lr, poly_lr
from segedu.engine.task import Task, TrainingStep, choose_task

SCHEDULES = {"cosine": cosine_lr, "poly": poly_lr}
#: What `fit` takes and `train` makes, with what it makes it of.
MADE_HERE = {
    "optimizer": "lr and weight_decay",
    "scheduler": "a schedule",
    "val_loader": "a val_set",
}


def train(
    build_model: Callable[[], nn.Module],
    train_set: Dataset,
    val_set: Dataset | None = None,
    loss: nn.Module | None = None,
    *,
    task: Task | None = None,
    epochs: int,
    batch_size: int,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    schedule: str | None = "cosine",
    seed: int = 0,
    num_workers: int = 0,
    **settings: Any,
) -> tuple[nn.Module, History]:
    """Build a model and train it with AdamW, from the seed on; it comes back in eval mode.

    The learning rate rises in the first half epoch and then follows the schedule. With the same
    seed the same machine gives the same model bit by bit, whatever was drawn before.

    Args:
        build_model: returns a new model; called after the seed is set, as its weights are random.
        train_set: samples as the loss or the task takes them, shuffled in every epoch.
        val_set: if given, judged after every epoch.
        loss: ``loss(model(image), mask)`` is minimised, for semantic segmentation.
        task: what is learnt instead, such as ``segedu.tasks.Instance()``; it makes the batches.
        epochs: passes through ``train_set``.
        batch_size: samples of a step.
        lr: the highest learning rate.
        weight_decay: of AdamW (Loshchilov & Hutter 2019), on all parameters, of the task as well.
        schedule: ``"cosine"``, ``"poly"``, or None for a constant learning rate.
        seed: of the weights, the order and the augmentation.
        num_workers: processes that load ahead.
        **settings: what else `fit` takes: ``metric``, ``device``, ``on_epoch``, ….

    Returns:
        The model and its history.

    Raises:
        ValueError: for another schedule, an optimizer, scheduler or loader, and as `fit` does.

    Example:
        >>> from segedu.data import scenes
        >>> from segedu.losses import CrossEntropyLoss
        >>> from segedu.models import get_model
        >>> data, held_out = scenes.splits(16, 8, 64)
        >>> model, history = train(
        ...     lambda: get_model("unet", data.num_classes, base_width=4),
        ...     data,
        ...     held_out,
        ...     CrossEntropyLoss(),
        ...     epochs=1,
        ...     batch_size=4,
        ... )
        >>> len(history["val_loss"]), model.training
        (1, False)
    """
    if schedule is not None and schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {[*SCHEDULES]} or None, got {schedule!r}")
    at_least_one(epochs=epochs, accumulate=settings.get("accumulate", 1))
    for name, instead in MADE_HERE.items():
        if name in settings:
            raise ValueError(f"train makes the {name} itself: give it {instead}, or call fit")
    task = choose_task(loss, task)
    seed_everything(seed)
    model = build_model()
    loading = {"num_workers": num_workers, "collate_fn": task.collate}
    loader = make_loader(train_set, batch_size, shuffle=True, seed=seed, **loading)
    if val_set is not None:
        settings["val_loader"] = make_loader(val_set, batch_size, **loading)
    # fused: all weights in one pass, which is faster on a CPU, too
    parameters = TrainingStep(model, task).parameters()
    optimizer = torch.optim.AdamW(parameters, lr, weight_decay=weight_decay, fused=True)
    if schedule is not None:
        steps = math.ceil(len(loader) / settings.get("accumulate", 1))  # of one epoch
        settings["scheduler"] = SCHEDULES[schedule](
            optimizer, epochs * steps, warmup_steps=steps // 2
        )
    settings |= {"task": task, "epochs": epochs, "optimizer": optimizer, "seed": seed}
    return model, fit(model, loader, **settings)
