"""Segmentation networks, one file per paper: ``get_model(name, num_classes)``.

A semantic network maps images (N, 3, H, W) to logits (N, C, H, W); one with auxiliary heads
returns ``(logits, *aux_logits)`` in training. H and W are free; networks that pool and need a least
size refuse smaller images and name it. A volume network does the same with volumes
(N, 1, D, H, W), and with images if ``dimensions=2``. An instance network takes a list of images
(3, H, W) and, in training, targets, as torchvision's do. A promptable network takes images and
points, boxes or masks on them. Weights are random unless some are asked for: those of a builder, or
``weights="scenes"``, which come with the package for tiny networks (`trained_weights`).
"""

import difflib
import importlib
import inspect
from typing import Any, get_type_hints

from torch import nn

from segedu.models.catalogue import MODELS, ModelInfo
from segedu.models.counting import Cost, cost
from segedu.models.kinds import check_kind
from segedu.models.live_memory import Memory, memory
from segedu.models.trained import (
    TrainedWeights,
    are_wanted,
    find_weights,
    load_trained,
    trained_weights,
)

__all__ = [
    "Cost",
    "Memory",
    "ModelInfo",
    "TrainedWeights",
    "cost",
    "get_model",
    "list_models",
    "memory",
    "trained_weights",
]


def list_models(task: str | None = None) -> dict[str, ModelInfo]:
    """All names that `get_model` knows, each with its paper, year and number of parameters.

    Args:
        task: only the networks for ``"semantic"``, ``"volume"`` (semantic in 3-D), ``"instance"``,
            ``"panoptic"`` or ``"promptable"`` segmentation.

    Raises:
        ValueError: for another task.

    Example:
        >>> list_models()["unet"].year
        2015
    """
    tasks = {info.task for info in MODELS.values()}
    if task is not None and task not in tasks:
        raise ValueError(f"task must be one of {sorted(tasks)}, got {task!r}")
    return {name: info for name, info in MODELS.items() if task in (None, info.task)}


def get_model(name: str, num_classes: int | None = None, **settings: Any) -> nn.Module:
    """Build a network by name.

    Args:
        name: one of `list_models`.
        num_classes: number of output channels C, at least 1; left out for a promptable network,
            which knows no classes, and with ``weights="scenes"``, which know theirs.
        **settings: passed to the builder; ``in_channels`` and ``base_width`` (narrow versions train
            on a CPU in seconds) are common, the builder's docstring lists the others. They win over
            what the name fixes. ``weights="scenes"`` loads what comes with the package, trained on
            scenes (`trained_weights`), and brings the settings of that training.

    Returns:
        The network. Its attribute ``built_as`` holds the arguments that build it again; with
        weights of the package ``trained`` says what they are.

    Raises:
        ValueError: for an unknown name, fewer than one class, a setting of another kind, or
            weights that are not there or have other classes or shapes.
        TypeError: for a setting that the builder does not have.

    Example:
        >>> import torch
        >>> model = get_model("unet", num_classes=4, base_width=8)
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 4, 64, 64])
    """
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(MODELS)}"
        raise ValueError(f"name: there is no model {name!r}; {hint}")
    info, trained = MODELS[name], settings.get("weights")
    if is_trained := are_wanted(name, trained):
        weights = find_weights(name, settings.pop("weights"), num_classes)
        num_classes, settings = weights.num_classes, weights.settings | settings
    if info.task == "promptable":
        if num_classes is not None:
            raise ValueError(f"num_classes must be left out, {name} knows none; got {num_classes}")
    elif isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes must be an integer of at least 1, got {num_classes!r}")
    else:
        settings["num_classes"] = num_classes
    file, builder = info.builder.split(".")
    build = getattr(importlib.import_module(f"segedu.models.{file}"), builder)
    hints = get_type_hints(build.__init__ if inspect.isclass(build) else build)
    for setting, parameter in inspect.signature(build).parameters.items():
        if setting in settings and setting in hints:
            default = None if parameter.default is parameter.empty else parameter.default
            check_kind(setting, settings[setting], hints[setting], default)
    for setting in ("in_channels", "base_width"):  # which some builders hand on to another
        if settings.get(setting) is not None:
            check_kind(setting, settings[setting], int)
            if settings[setting] < 1:
                raise ValueError(f"{setting} must be at least 1, got {settings[setting]}")
    network = build(**(info.settings | settings))
    if is_trained:
        load_trained(network, name, trained)
    # What builds it again without the files of its first weights, for a checkpoint has newer ones.
    # Some builders do more with weights than to load them: they say what has the same effect.
    kept = {key: value for key, value in settings.items() if not key.startswith("weights")}
    network.built_as = {"name": name, **kept, **getattr(network, "instead_of_weights", {})}
    return network
