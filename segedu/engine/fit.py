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
from segedu.engine.batches import checked, to_device
from segedu.engine.checks import at_least_one, check_last_batch, check_shard, count_batches
from segedu.engine.evaluation import evaluate, progress
from segedu.engine.history import History, Record, check_monitor, choose_monitor, plain
from segedu.engine.loader import derive_seed, seed_everything, set_epoch
from segedu.engine.optim import average, precision
from segedu.engine.resume import restore, save, settings_of
from segedu.engine.task import Task, TrainingStep, choose_task


def fit(
    model: nn.Module,
    train_loader: DataLoader,
    loss: nn.Module | None = None,
    *,
    epochs: int,
    task: Task | None = None,
    augment: Callable[[Any], Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    val_loader: DataLoader | None = None,
    metric: Any = None,
    device: str | torch.device | None = None,
    amp: bool | None = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    ema_decay: float | None = None,
    shard: bool = False,
    monitor: str | None = None,
    larger_is_better: bool | None = None,
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
        train_loader: a ``DataLoader`` that knows how many batches it has; one of ``make_loader``
            also works under torchrun.
        loss: ``loss(model(batch["image"]), batch["mask"])`` is minimised: ``Semantic(loss)``.
        epochs: epochs in all, those before a resume included.
        task: what is learnt instead, such as ``segedu.tasks.Instance()``.
        augment: changes every batch of the training on its device, such as
            ``segedu.data.transforms.FinishBatch()``.
        optimizer: AdamW with a learning rate of 1e-3 by default.
        scheduler: stepped after every optimizer step (``plateau_lr``: after every epoch).
        val_loader: validation set, judged after every epoch by the metric and, where predictions
            have one, the loss.
        metric: its scores are recorded as ``val_...``; by default that of the task.
        device: the GPU if there is one, else the CPU; under torchrun that of the process.
        amp: mixed precision; ``None`` means on a GPU only.
        clip_norm: longest gradient allowed, in the 2-norm over all parameters.
        accumulate: batches whose gradients are averaged for one optimizer step.
        ema_decay: keep a moving average of the weights; it is what is judged and returned.
        shard: under torchrun give every process a part of weights, gradients and averages (FSDP2)
            instead of all (DDP); checkpoints are the same. It keeps no ``ema_decay``, needs no
            gradient scaler, and a task that uses all parameters.
        monitor: key that picks the best epoch; by default the first that the records have of what
            the task monitors, ``val_loss`` and ``loss``.
        larger_is_better: of ``monitor``; by default not of a key that ends in ``loss``.
        patience: stop after so many epochs without a better one.
        checkpoint_dir: where ``best.pt``, ``last.pt`` and ``history.jsonl`` are kept.
        resume: go on from ``last.pt`` if it exists and was trained the same way.
        config: plain values to keep in the checkpoints; of them a resume may change those of
            `segedu.engine.resume.MAY_CHANGE` only.
        on_epoch: called with the record of every epoch.
        seed: with the same seed the same machine repeats the training bit by bit.

    Raises:
        ValueError: if arguments do not fit together, a resumed training had others, the last
            batch is too small for the network, an image is not finite, or the first record has no
            key ``monitor`` (its epoch is kept: resume with another).
        CheckpointError: if a checkpoint is damaged or cannot be written.
        FloatingPointError: if the loss is no longer finite; the checkpoints are from before.
    """
    device = distributed.setup(device)
    steps = count_batches(train_loader)
    at_least_one(epochs=epochs, accumulate=accumulate, patience=patience, batches=steps)
    task = choose_task(loss, task)
    if val_loader is not None and metric is None:
        metric = task.metric()
    training_step = TrainingStep(model, task, augment).to(device)
    optimizer = optimizer or torch.optim.AdamW(training_step.parameters(), lr=1e-3)
    autocast, scaler = precision(amp, device)
    ema = None if ema_decay is None else average(model, ema_decay)
    judged = ema.module if ema else model
    parts = {"model": model, "task": task, "optimizer": optimizer, "scheduler": scheduler}
    parts |= {"ema": ema, "scaler": scaler if scaler.is_enabled() else None}
    settings = settings_of(optimizer, scheduler, task, train_loader)
    settings |= {"accumulate": accumulate, "clip_norm": clip_norm, "ema_decay": ema_decay}
    about = {"settings": settings | {"seed": seed}, "config": config}
    history = History(restore(checkpoint_dir, parts, about) if resume else [])
    if history:
        record = history.records[-1]
        monitor, larger_is_better = choose_monitor(record, monitor, larger_is_better, task)
        check_monitor(record, monitor)
    check_last_batch(training_step, train_loader, device)
    if shard and distributed.world_size() > 1:
        check_shard(ema, scaler, task)
        network = distributed.sharded(training_step, device, optimizer)
    else:
        network = distributed.parallel(training_step, device, task.uses_all_parameters)
    plateau = isinstance(scheduler, ReduceLROnPlateau)

    with progress("train", epochs * steps, len(history) * steps) as bar:
        for epoch in range(len(history) + 1, epochs + 1):
            if patience is not None and history.stale(monitor, larger_is_better) >= patience:
                break
            record = {"epoch": epoch, "lr": optimizer.param_groups[0]["lr"]}
            start = time.perf_counter()
            # Everything random in an epoch follows from (seed, epoch), so a resume needs no more.
            seed_everything(derive_seed(seed, epoch, distributed.rank()))
            set_epoch(train_loader, epoch)
            network.train()
            losses = []
            for step, batch in enumerate(checked(train_loader)):
                if step % accumulate == 0:
                    optimizer.zero_grad()
                last_of_group = (step + 1) % accumulate == 0 or step + 1 == steps
                group = min(accumulate, steps - step + step % accumulate)
                with distributed.postpone_sync(network, not last_of_group):
                    with autocast():
                        value = network(to_device(batch, device))
                    scaler.scale(value / group).backward()
                if last_of_group:
                    if clip_norm is not None:
                        scaler.unscale_(optimizer)
                        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
                    scaler.step(optimizer)
                    scaler.update()
                    if scheduler and not plateau:
                        scheduler.step()
                    if ema:
                        ema.update_parameters(model)
                losses.append(value.detach())
                bar.update()

            values = torch.stack(losses)
            record["loss"] = distributed.mean(values.mean()).item()
            if not math.isfinite(record["loss"]):
                raise FloatingPointError(
                    f"the loss is no longer finite in epoch {epoch}{_where(values)}: lower the "
                    "learning rate or clip the gradient"
                )
            distributed.gather(network, training_step)
            distributed.share_buffers(judged, task)
            if val_loader is not None:
                scores = evaluate(judged, val_loader, metric, device, task=task)
                record |= {f"val_{key}": score for key, score in plain(scores).items()}
            if plateau:
                scheduler.step(record.get("val_loss", record["loss"]))
            record["seconds"] = time.perf_counter() - start
            history.records.append(record)
            monitor, larger_is_better = choose_monitor(record, monitor, larger_is_better, task)
            best = history.best(monitor, larger_is_better) if monitor in record else None
            bar.set_postfix(loss=record["loss"], best=best)

            if checkpoint_dir is not None:
                save(checkpoint_dir, parts, judged if best == epoch else None, history, about)
            check_monitor(record, monitor)
            if on_epoch:
                on_epoch(record)
    if ema:
        model.load_state_dict(judged.state_dict())
    training_step.eval()
    return history


def _where(losses: torch.Tensor) -> str:
    """Since which batch of this process losses (B,) are not finite."""
    bad = (~losses.isfinite()).nonzero()
    return f", since batch {int(bad[0]) + 1} of {len(losses)}" if len(bad) else ""
