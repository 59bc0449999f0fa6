"""The state of a training on the disk: written after every epoch, and taken up again.

A folder holds ``last.pt`` (everything), ``best.pt`` (the network of the best epoch) and
``history.jsonl`` (the records, one line each). ``last.pt`` is the truth: if a crash separates the
three, the next start mends the others.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from segedu.engine import distributed
from segedu.engine.checkpoint import is_plain, load_checkpoint, save_checkpoint
from segedu.engine.history import History
from segedu.engine.task import Task
from segedu.files import sweep
from segedu.models.state import load_state

#: What a resumed training may have otherwise: how long, where, and on what it runs.
MAY_CHANGE = frozenset(
    {
        *("epochs", "patience", "device", "workers", "cache", "decoded", "shard"),
        *("out", "data", "command", "machine"),
    }
)
_ABOUT = {"history", "config", "settings", "network"}


def settings_of(
    optimizer: torch.optim.Optimizer, scheduler: Any, task: Task, loader: DataLoader
) -> dict[str, Any]:
    """What decides a training, in plain values, before its first step.

    Args:
        optimizer: its rates are those before the schedule, if there is one that keeps them.
        scheduler: or ``None``.
        task: what is learnt.
        loader: of the training.
    """
    groups = optimizer.param_groups
    settings = {
        "optimizer": type(optimizer).__name__,
        "weight_decay": [group.get("weight_decay") for group in groups],
        "schedule": None if scheduler is None else type(scheduler).__name__,
        "task": " ".join(repr(task).split()),
        "images": len(loader.dataset) if hasattr(loader.dataset, "__len__") else None,
        "batch_size": (loader.batch_size or 0) * distributed.world_size(),
    }
    if not isinstance(scheduler, ReduceLROnPlateau):  # that one forgets where it began
        settings["lr"] = [float(group.get("initial_lr", group["lr"])) for group in groups]
    return settings


def save(
    folder: str | Path,
    parts: dict[str, Any],
    best_model: nn.Module | None,
    history: History,
    about: dict[str, Any],
) -> None:
    """Write ``last.pt``, ``history.jsonl`` and, if there is one, the model to ``best.pt``.

    Every process has to call it; the first one writes.

    Args:
        folder: where the files are.
        parts: everything that has a ``state_dict``, by name; absent parts are ``None``.
        best_model: the model of this epoch if it is the best so far.
        history: the records.
        about: ``settings`` and ``config``, plain values.

    Raises:
        CheckpointError: if a checkpoint cannot be written.
    """
    states = {n: distributed.whole(p.state_dict()) for n, p in parts.items() if p is not None}
    if distributed.rank() > 0:
        return
    network = getattr(parts["model"], "built_as", None)
    about = about | {"history": history.records, "network": network if is_plain(network) else None}
    # The best first: if we die between the two, the epoch is repeated bit by bit.
    if best_model is not None:
        save_checkpoint(Path(folder, "best.pt"), {"model": best_model.state_dict(), **about})
    save_checkpoint(Path(folder, "last.pt"), {**states, **about})
    history.to_jsonl(Path(folder, "history.jsonl"))


def restore(
    folder: str | Path | None, parts: dict[str, Any], about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Give every part its state of ``last.pt``; without that file leave them as they are.

    Args:
        folder: where ``last.pt`` is.
        parts: everything that has a ``load_state_dict``, by name; absent parts are ``None``.
        about: ``settings`` and ``config`` of the training that wants to go on.

    Returns:
        The history so far, empty if there is no ``last.pt``.

    Raises:
        ValueError: if there is no folder, or the training had other parts, settings or a network
            of other shapes.
        CheckpointError: if the file is damaged.
    """
    if folder is None:
        raise ValueError("resume needs a checkpoint_dir")
    if distributed.rank() == 0:  # the only one that writes
        sweep(folder)
    path = Path(folder, "last.pt")
    if not path.exists():
        return []
    states = load_checkpoint(path)
    present = {name for name, part in parts.items() if part is not None}
    if present != states.keys() - _ABOUT:
        raise ValueError(
            f"cannot resume: {path} has {sorted(states.keys() - _ABOUT)}, "
            f"this training has {sorted(present)}"
        )
    changed = [
        *differences(states["config"] or {}, about["config"] or {}),
        *differences(states["settings"], about["settings"]),
    ]
    if changed:
        raise ValueError(
            f"cannot resume {path}: {'; '.join(changed)}; go on as it began, or train anew "
            "elsewhere"
        )
    for name in sorted(present, key=lambda name: not isinstance(parts[name], nn.Module)):
        if isinstance(parts[name], nn.Module):
            load_state(parts[name], states[name], f"cannot resume: {name} of {path}")
        else:
            _load(parts[name], states[name], f"cannot resume: {name} of {path}")
    history = History(states["history"])
    if distributed.rank() == 0:
        history.to_jsonl(Path(folder, "history.jsonl"))
    return history.records


def nothing_left(folder: str | Path, done: int, epochs: int) -> str:
    """What to tell someone whose resumed training had nothing to do."""
    if done >= epochs:
        return f"{folder} has all its {done} epochs: ask for more than {done} to go on"
    return f"{folder} stopped after {done} epochs for want of progress: give it more patience"


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Which values of the same name differ, each as ``name was ..., is ... now``.

    Values of `MAY_CHANGE` are left out, and so are names that one of the two does not have. A
    tuple equals the list of the same values.
    """
    return [
        f"{name} was {before[name]!r}, is {now[name]!r} now"
        for name in now
        if name in before and name not in MAY_CHANGE and _listed(before[name]) != _listed(now[name])
    ]


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _load(part: Any, state: dict[str, Any], what: str) -> None:
    """State of an optimizer, a schedule or a gradient scaler."""
    try:
        part.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{what} does not fit: {error}") from error
