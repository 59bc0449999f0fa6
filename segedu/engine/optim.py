"""Learning rates over time and over parameters, and the choice of precision.

Every schedule is one of torch's schedulers. ``fit`` calls ``step()`` after each optimizer step,
so lengths are counted in steps, not epochs; only ``plateau_lr`` is asked once per epoch.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def poly_lr(
    optimizer: Optimizer, total_steps: int, *, power: float = 0.9, warmup_steps: int = 0
) -> LambdaLR:
    """lr = lr0 (1 - t / T)^power, the schedule of DeepLab (Chen et al. 2017, section 4.1).

    Args:
        optimizer: its groups keep their own lr0.
        total_steps: T, epochs times optimizer steps per epoch, warm-up included.
        power: 1 is a straight line.
        warmup_steps: steps of linear rise to lr0 before the decay.
    """
    return _schedule(optimizer, lambda progress: (1 - progress) ** power, total_steps, warmup_steps)


def cosine_lr(
    optimizer: Optimizer, total_steps: int, *, floor: float = 0.0, warmup_steps: int = 0
) -> LambdaLR:
    """Half a cosine from lr0 to ``floor * lr0`` (Loshchilov & Hutter 2017, equation 5).

    Args:
        optimizer: its groups keep their own lr0.
        total_steps: optimizer steps of the whole training, warm-up included.
        floor: share of lr0 at the end, 0..1.
        warmup_steps: steps of linear rise to lr0 before the decay.
    """
    return _schedule(
        optimizer,
        lambda progress: floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2,
        total_steps,
        warmup_steps,
    )


def step_lr(
    optimizer: Optimizer, milestones: list[int], *, gamma: float = 0.1, warmup_steps: int = 0
) -> LambdaLR:
    """lr0 times ``gamma`` for each of the ``milestones`` (in optimizer steps) that has passed."""

    def factor(step: int) -> float:
        return gamma ** sum(step >= milestone for milestone in milestones)

    return LambdaLR(optimizer, lambda step: _warmup(step, warmup_steps) * factor(step))


def plateau_lr(optimizer: Optimizer, *, patience: int = 5, gamma: float = 0.1) -> ReduceLROnPlateau:
    """Multiply lr by ``gamma`` after ``patience`` epochs without a lower validation loss.

    Without a validation set ``fit`` shows it the training loss.
    """
    return ReduceLROnPlateau(optimizer, factor=gamma, patience=patience)


def parameter_groups(
    model: nn.Module,
    lr: float,
    *,
    multipliers: dict[str, float] | None = None,
    weight_decay: float = 0.0,
) -> list[dict]:
    """Groups for an optimizer: a learning rate by name, no weight decay on norms and biases.

    Args:
        model: its trainable parameters are sorted into groups.
        lr: learning rate of all that ``multipliers`` does not name.
        multipliers: prefix of parameter names to factor on ``lr``; the longest prefix wins.
            ``{"backbone": 0.1}`` trains the backbone ten times slower.
        weight_decay: for parameters of two and more dimensions (weights of layers).

    Raises:
        ValueError: if no parameter has one of the prefixes.
    """
    multipliers = multipliers or {}
    groups: dict[tuple[str, bool], dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        matches = [prefix for prefix in multipliers if name.startswith(prefix)]
        prefix = max(matches, key=len, default="")
        decays = parameter.ndim >= 2
        group = {
            "params": [],
            "lr": lr * multipliers.get(prefix, 1.0),
            "weight_decay": weight_decay if decays else 0.0,
        }
        groups.setdefault((prefix, decays), group)["params"].append(parameter)
    unused = set(multipliers) - {prefix for prefix, _ in groups}
    if unused:
        known = sorted({name.split(".")[0] for name, _ in model.named_parameters()})
        raise ValueError(f"multipliers: no parameter starts with {sorted(unused)}; found {known}")
    return list(groups.values())


def precision(
    amp: bool | None, device: torch.device
) -> tuple[Callable[[], AbstractContextManager], torch.amp.GradScaler]:
    """Autocast and gradient scaler for mixed precision (Micikevicius et al. 2018).

    bfloat16 has the range of float32 and needs no scaling. GPUs that only emulate it (such as
    the T4) get float16, whose small gradients must be scaled up to survive.

    Args:
        amp: mixed precision or not; ``None`` means on a GPU only.
        device: where the model computes.

    Returns:
        A function that opens an autocast context, and a scaler (idle unless float16 is used).
    """
    enabled = device.type == "cuda" if amp is None else amp
    half = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = torch.float16 if half else torch.bfloat16
    autocast = partial(torch.autocast, device.type, dtype=dtype, enabled=enabled)
    return autocast, torch.amp.GradScaler(device.type, enabled=enabled and half)


def average(model: nn.Module, decay: float) -> AveragedModel:
    """A moving average of the weights and buffers of ``model``.

    The average starts as a copy after the first step; then
    average = decay * average + (1 - decay) * model (Polyak & Juditsky 1992; Tarvainen & Valpola
    2017, equation 1).

    Args:
        model: what will be passed to ``update_parameters`` after each step.
        decay: strictly between 0 and 1; about 1 / (1 - decay) steps are remembered.

    Raises:
        ValueError: if ``decay`` is out of range.
    """
    if not 0 < decay < 1:
        raise ValueError(f"ema_decay must lie between 0 and 1, got {decay}")
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def _schedule(
    optimizer: Optimizer, shape: Callable[[float], float], total_steps: int, warmup_steps: int
) -> LambdaLR:
    """Linear warm-up, then ``shape`` of the progress (0..1) through the remaining steps."""
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            f"need 0 <= warmup_steps < total_steps, got {warmup_steps} and {total_steps}"
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return _warmup(step, warmup_steps)
        return shape(min(1.0, (step - warmup_steps) / (total_steps - warmup_steps)))

    return LambdaLR(optimizer, factor)


def _warmup(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / (warmup_steps + 1))
