"""Judging a model, and the two small things that judging and training share."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from segedu.engine import distributed
from segedu.engine.loader import set_epoch

ComputeLoss = Callable[[nn.Module, Any], Tensor]


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: DataLoader,
    metric: Any = None,
    device: str | torch.device | None = None,
    *,
    loss: nn.Module | None = None,
) -> dict[str, Any]:
    """Judge ``model`` (left in eval mode) on all samples of ``loader``, in full precision.

    Under torchrun every process judges its share (a loader of ``make_loader`` repeats no sample)
    and all of them return the scores of the whole.

    Args:
        model: maps ``batch["image"]`` (N,3,H,W) to logits (N,C,H,W).
        loader: gives dicts with ``image`` and ``mask`` (N,H,W).
        metric: has ``update(logits, target)``, ``compute()``, ``reset()`` and ``merge(other)``;
            it is reset first.
        device: by default where the model is.
        loss: if given, its mean over the images is the score ``loss``.

    Returns:
        ``metric.compute()``, and ``loss``.

    Raises:
        ValueError: if there is neither a metric nor a loss, or processes do not share the loader.
    """
    if metric is None and loss is None:
        raise ValueError("evaluate needs a metric or a loss")
    device = torch.device(device or next(model.parameters()).device)
    model.to(device).eval()
    if metric is not None:
        metric.reset()
    set_epoch(loader, 0)
    summed = torch.zeros(2, device=device)  # loss times images, images
    for batch in progress("evaluate", len(loader), batches=loader):
        batch = to_device(batch, device)
        logits = model(batch["image"])
        if metric is not None:
            metric.update(logits, batch["mask"])
        if loss is not None:
            summed += torch.stack([loss(logits, batch["mask"]), summed.new_ones(())]) * len(logits)
    scores = {} if metric is None else distributed.merged(metric).compute()
    if loss is not None:
        mean, images = distributed.total(summed)
        scores["loss"] = (mean / images).item()
    return scores


def choose_loss(
    loss: nn.Module | None, compute_loss: ComputeLoss | None, device: torch.device
) -> ComputeLoss:
    """``compute_loss(model, batch)`` as given, or that of a semantic batch out of ``loss``.

    Raises:
        ValueError: if there is none, or both.
    """
    if (loss is None) == (compute_loss is None):
        raise ValueError("give either loss or compute_loss")
    if compute_loss is not None:
        return compute_loss
    loss.to(device)  # it may hold class weights
    return lambda model, batch: loss(model(batch["image"]), batch["mask"])


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor in nested dicts, lists and tuples to ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


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
