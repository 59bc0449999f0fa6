"""Judging a model, and the progress bar of judging and training."""

import os
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from segedu.engine import distributed
from segedu.engine.batches import checked, to_device
from segedu.engine.checks import count_batches
from segedu.engine.loader import set_epoch
from segedu.engine.task import Semantic, Task, choose_task


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: DataLoader,
    metric: Any = None,
    device: str | torch.device | None = None,
    *,
    loss: nn.Module | None = None,
    task: Task | None = None,
) -> dict[str, Any]:
    """Judge ``model`` (left in eval mode) on all samples of ``loader``, in full precision.

    Under torchrun every process judges its share (a loader of ``make_loader`` repeats no sample)
    and all of them return the scores of the whole.

    Args:
        model: what ``task`` wants; without a task it maps ``batch["image"]`` (N,3,H,W) to logits
            (N,C,H,W).
        loader: gives what ``task`` wants; without a task dicts with ``image`` and ``mask`` (N,H,W).
        metric: has ``update``, ``compute()``, ``reset()`` and ``merge(other)``; it is reset first.
            By default that of the task.
        device: by default where the model is.
        loss: short for ``task=Semantic(loss)``.
        task: what is learnt; see `segedu.tasks`. By default `Semantic`.

    Returns:
        ``metric.compute()``, and ``loss``, its mean over the samples, where predictions have one.

    Raises:
        ValueError: if there is nothing to judge by, the loader does not know how many batches it
            has, or processes do not share it.
    """
    if loss is not None or task is not None:
        task = choose_task(loss, task)
    elif metric is not None:
        task = Semantic()
    else:
        raise ValueError("evaluate needs a metric, a loss or a task")
    metric = task.metric() if metric is None else metric
    device = torch.device(device or next(model.parameters()).device)
    model.to(device).eval()
    task.to(device).eval()
    if metric is not None:
        metric.reset()
    set_epoch(loader, 0)
    summed = torch.zeros(2, device=device)  # loss times samples, samples
    for batch in checked(progress("evaluate", count_batches(loader), batches=loader)):
        batch = to_device(batch, device)
        prediction = task.predict(model, batch)
        if metric is not None:
            task.update(metric, prediction, batch)
        value = task.prediction_loss(prediction, batch)
        if value is not None:
            summed += torch.stack([value, summed.new_ones(())]) * len(prediction)
    scores = {} if metric is None else distributed.merged(metric).compute()
    total, samples = distributed.total(summed)
    if samples > 0:
        scores["loss"] = (total / samples).item()
    if not scores:
        raise ValueError(f"{type(task).__name__} has no metric of its own: give evaluate a metric")
    return scores


def progress(title: str, total: int, initial: int = 0, batches: DataLoader | None = None) -> tqdm:
    """A progress bar on the first process; none with ``TQDM_DISABLE=1`` or ``CI`` set."""
    silent = any(os.environ.get(name, "0") not in ("", "0") for name in ("CI", "TQDM_DISABLE"))
    return tqdm(
        batches,
        desc=title,
        total=total,
        initial=initial,
        leave=False,
        dynamic_ncols=True,
        disable=silent or distributed.rank() > 0,
    )
