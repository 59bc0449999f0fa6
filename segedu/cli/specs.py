"""Losses, optimizers and schedules by name with settings, such as ``focal:gamma=1+0.5*dice``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from segedu.cli.options import literal

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Losses of several classes: the name here -> the class in `segedu.losses`.
LOSSES = {
    "ce": "CrossEntropyLoss",
    "dice": "DiceLoss",
    "focal": "FocalLoss",
    "adaptive_focal": "AdaptiveFocalLoss",
    "sigmoid_focal": "SigmoidFocalLoss",
    "ohem": "OHEMLoss",
    "jaccard": "JaccardLoss",
    "tversky": "TverskyLoss",
    "focal_tversky": "FocalTverskyLoss",
    "generalized_dice": "GeneralizedDiceLoss",
    "lovasz": "LovaszSoftmaxLoss",
    "boundary": "BoundaryLoss",
    "hausdorff": "HausdorffDTLoss",
}
OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}
SCHEDULES = ("poly", "cosine", "step", "plateau", "constant")


class Spec(NamedTuple):
    """A name, its settings, and in a sum its factor."""

    name: str
    settings: dict[str, Any]
    factor: float = 1.0


def parse(text: str, option: str, names: Sequence[str]) -> Spec:
    """``factor*name:key=value,key=value``; the factor and the settings may be left out.

    Raises:
        ValueError: if the name is none of ``names``, or the rest is malformed.
    """
    match = re.fullmatch(r"(?:([\d.eE-]+)\*)?(\w+)(?::(.+))?", text.strip())
    if match is None:
        raise ValueError(f"{option}: expected NAME or NAME:KEY=VALUE,KEY=VALUE, got {text!r}")
    factor, name, rest = match.groups()
    if name not in names:
        raise ValueError(f"{option} must be one of {', '.join(names)}; got {name!r}")
    settings = {}
    for part in _split(rest or "", ","):
        key, equals, value = part.partition("=")
        if not (key.isidentifier() and equals and value):
            raise ValueError(f"{option}: expected {name}:KEY=VALUE, got {part!r}")
        settings[key] = literal(value)
    try:
        return Spec(name, settings, float(factor or 1))
    except ValueError:
        raise ValueError(f"{option}: the factor of {name} is no number, {factor!r}") from None


def build_loss(text: str, class_weights: torch.Tensor | None = None) -> nn.Module:
    """A loss, or the sum of several.

    Args:
        text: such as ``ce``, ``focal:gamma=1``, ``ce+0.5*dice``.
        class_weights: (C,), for every part that takes weights of classes.

    Raises:
        ValueError: for an unknown loss or setting, or weights that no part takes.
    """
    from segedu import losses

    specs = [parse(part, "--loss", tuple(LOSSES)) for part in _split(text, "+") or [""]]
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError(f"--loss: {text!r} names a loss twice")
    parts, weighted = {}, False
    for spec in specs:
        build, settings = getattr(losses, LOSSES[spec.name]), dict(spec.settings)
        known = inspect.signature(build).parameters
        name = next((n for n in ("weight", "alpha") if n in known and spec.name in _WEIGHED), None)
        if class_weights is not None and name is not None:
            settings.setdefault(name, class_weights)
            weighted = True
        parts[spec.name] = (_built(build, settings, "--loss", spec.name, known), spec.factor)
    if class_weights is not None and not weighted:
        raise ValueError(f"--class-weights: {text} takes none; {', '.join(_WEIGHED)} do")
    return losses.CombinedLoss(parts)


_WEIGHED = ("ce", "ohem", "focal", "adaptive_focal")


def build_optimizer(
    text: str, parameters: Sequence[dict[str, Any]], lr: float
) -> torch.optim.Optimizer:
    """An optimizer of torch by name; SGD has a momentum of 0.9 unless said otherwise.

    A ``weight_decay`` in ``text`` is of all parameters, as in torch, whatever the groups say.

    Raises:
        ValueError: for an unknown name or setting.
    """
    import torch

    spec = parse(text, "--optimizer", tuple(OPTIMIZERS))
    build = getattr(torch.optim, OPTIMIZERS[spec.name])
    settings = ({"momentum": 0.9} if spec.name == "sgd" else {}) | spec.settings
    if "weight_decay" in spec.settings:
        parameters = [{"params": [p for group in parameters for p in group["params"]]}]
    known = inspect.signature(build).parameters
    return _built(build, {"params": parameters, "lr": lr, **settings}, "--optimizer", text, known)


def build_schedule(
    text: str, optimizer: torch.optim.Optimizer, steps: int, warmup: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """The learning rate over so many optimizer steps; None for a constant one.

    Raises:
        ValueError: for an unknown name or setting, or a warm-up that the schedule does not have.
    """
    from segedu.engine import optim

    spec = parse(text, "--schedule", SCHEDULES)
    if spec.name in ("plateau", "constant") and warmup:
        raise ValueError(f"--warmup: the schedule {spec.name} has none")
    if spec.name == "constant":
        return None
    build = getattr(optim, f"{spec.name}_lr")
    fixed: dict[str, Any] = {} if spec.name == "plateau" else {"warmup_steps": warmup}
    if spec.name in ("poly", "cosine"):
        fixed["total_steps"] = steps
    known = inspect.signature(build).parameters
    return _built(
        build, {"optimizer": optimizer, **fixed, **spec.settings}, "--schedule", text, known
    )


def _built(
    build: Callable[..., Any], settings: dict[str, Any], option: str, name: str, known: Any
) -> Any:
    """``build(**settings)``, with a setting that it does not have named as the user wrote it."""
    shown = [n for n in known if n not in ("params", "optimizer", "lr", "total_steps")]
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ValueError(
            f"{option}: {name} has no setting {unknown[0]!r}; its settings are {', '.join(shown)}"
        )
    try:
        return build(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{option}: {name}: {error}") from error


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that stand in no brackets; none of an empty text."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if text else []
