"""The training loop: plain PyTorch, on a CPU, on a GPU, or on many under ``torchrun``."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader

from segedu.engine import distributed
from segedu.engine.checkpoint import restore, save
from segedu.engine.checks import at_least_one
from segedu.engine.evaluation import ComputeLoss, choose_loss, evaluate, progress, to_device
from segedu.engine.history import History, Record, plain
from segedu.engine.loader import derive_seed, seed_everything, set_epoch
from segedu.engine.optim import average, precision


def fit(
    model: nn.Module,
    train_loader: DataLoader,
    loss: nn.Module | None = None,
    *,
    epochs: int,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    val_loader: DataLoader | None = None,
    metric: Any = None,
    device: str | torch.device | None = None,
    amp: bool | None = None,
    compute_loss: ComputeLoss | None = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    ema_decay: float | None = None,
    monitor: str | None = None,
    patience: int | None = None,
    checkpoint_dir: str | Path | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    on_epoch: Callable[[Record], None] | None = None,
    seed: int = 0,
) -> History:
    """Train ``model`` (left in eval mode) and return what happened in each epoch.

    Args:
        model: moved to the device and trained in place.
        train_loader: any ``DataLoader``; one of ``make_loader`` also works under torchrun.
        loss: ``loss(model(batch["image"]), batch["mask"])`` is minimised.
        epochs: epochs in all, those before a resume included.
        optimizer: AdamW with a learning rate of 1e-3 by default.
        scheduler: stepped after every optimizer step (``plateau_lr``: after every epoch).
        val_loader: validation set, judged after every epoch by ``loss`` and ``metric``.
        metric: for example ``SemanticMetrics``; its scores are recorded as ``val_...``.
        device: the GPU if there is one, else the CPU; under torchrun that of the process.
        amp: mixed precision; ``None`` means on a GPU only.
        compute_loss: ``compute_loss(model, batch)`` instead of ``loss``, for other kinds of model.
        clip_norm: longest gradient allowed, in the 2-norm over all parameters.
        accumulate: batches whose gradients are averaged for one optimizer step.
        ema_decay: keep a moving average of the weights; it is what is judged and returned.
        monitor: key that picks the best epoch; else ``val_mean_iou``, ``val_loss`` or ``loss``.
        patience: stop after so many epochs without a better one.
        checkpoint_dir: where ``best.pt`` and ``last.pt`` are kept.
        resume: go on from ``last.pt`` if it exists.
        config: plain values to keep in the checkpoints.
        on_epoch: called with the record of every epoch.
        seed: with the same seed the same machine repeats the training bit by bit.

    Raises:
        ValueError: if arguments do not fit together.
        CheckpointError: if a checkpoint is damaged or cannot be written.
        FloatingPointError: if the loss is no longer finite; the checkpoints are from before.
    """
    device = distributed.setup(device)
    steps = len(train_loader)
    at_least_one(epochs=epochs, accumulate=accumulate, patience=patience, batches=steps)
    compute_loss = choose_loss(loss, compute_loss, device)
    if monitor is None:
        monitor = "loss" if val_loader is None else "val_loss" if metric is None else "val_mean_iou"
    model.to(device)
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-3)
    autocast, scaler = precision(amp, device)
    ema = None if ema_decay is None else average(model, ema_decay)
    judged = ema.module if ema else model
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "ema": ema}
    parts["scaler"] = scaler if scaler.is_enabled() else None
    history = History(restore(checkpoint_dir, parts) if resume else [])
    network = distributed.parallel(model, device)
    plateau = isinstance(scheduler, ReduceLROnPlateau)

    with progress("train", epochs * steps, len(history) * steps) as bar:
        for epoch in range(len(history) + 1, epochs + 1):
            if patience is not None and history.stale(monitor) >= patience:
                break
            record = {"epoch": epoch, "lr": optimizer.param_groups[0]["lr"]}
            start = time.perf_counter()
            # Everything random in an epoch follows from (seed, epoch), so a resume needs no more.
            seed_everything(derive_seed(seed, epoch, distributed.rank()))
            set_epoch(train_loader, epoch)
            network.train()
            losses = []
            for step, batch in enumerate(train_loader):
                if step % accumulate == 0:
                    optimizer.zero_grad()
                last_of_group = (step + 1) % accumulate == 0 or step + 1 == steps
                group = min(accumulate, steps - step + step % accumulate)
                with distributed.postpone_sync(network, not last_of_group):
                    with autocast():
                        value = compute_loss(network, to_device(batch, device))
                    scaler.scale(value / group).backward()
                if last_of_group:
                    if clip_norm is not None:
                        scaler.unscale_(optimizer)
                        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
                    scaler.step(optimizer)
                    scaler.update()
                    if scheduler and not plateau:
                        scheduler.step()
                    if ema:
                        ema.update_parameters(model)
                losses.append(value.detach())
                bar.update()

            record["loss"] = distributed.mean(torch.stack(losses).mean()).item()
            if not math.isfinite(record["loss"]):
                raise FloatingPointError(f"loss is {record['loss']} in epoch {epoch}: lower the lr")
            if val_loader is not None:
                scores = evaluate(judged, val_loader, metric, loss=loss, device=device)
                record |= {f"val_{key}": score for key, score in plain(scores).items()}
            if plateau:
                scheduler.step(record.get("val_loss", record["loss"]))
            record["seconds"] = time.perf_counter() - start
            history.records.append(record)
            bar.set_postfix(loss=record["loss"], best=history.best(monitor))

            if checkpoint_dir is not None and distributed.rank() == 0:
                best = judged if history.best(monitor) == epoch else None
                save(checkpoint_dir, parts, best, history.records, config)
            if on_epoch:
                on_epoch(record)
    if ema:
        model.load_state_dict(judged.state_dict())
    model.eval()
    return history
