"""Networks of the command line: built by name, or read from a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from segedu.cli.options import find_device, path

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_model(name: str, num_classes: int, settings: dict[str, Any]) -> nn.Module:
    """``get_model``, with a wrong ``--set`` reported as a mistake of the user."""
    from segedu.models import get_model, list_models

    info = list_models().get(name)
    if info is not None and info.task != "semantic":
        raise ValueError(
            f"--model: {name} is for {info.task} segmentation, but the command line trains "
            "semantic networks only (`python -m segedu models` lists the task of each)"
        )
    try:
        return get_model(name, num_classes, **settings)
    except TypeError as error:
        raise ValueError(f"--set: {error}") from error


def load_model(checkpoint: str, device: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint of ``train`` or ``fit``, ready to predict, and the checkpoint."""
    from segedu.engine import load_checkpoint
    from segedu.engine.checkpoint import network_of

    state = load_checkpoint(path(checkpoint))
    model = network_of(state, checkpoint)
    config = state["config"] or {}
    missing = [name for name in ("classes", "colors") if name not in config]
    if missing:
        raise ValueError(
            f"{checkpoint} does not name its {' and '.join(missing)}: give them to the training, "
            "fit(..., config={'classes': [...], 'colors': [...]})"
        )
    return model.to(find_device(device)), state


def predictor(model: nn.Module, options: argparse.Namespace) -> Callable[[Tensor], Tensor]:
    """Images (N,3,H,W) to probabilities, by the options ``window``, ``tta`` and ``scales``."""
    import torch

    from segedu.engine import predict_tta, sliding_window
    from segedu.engine.inference import probabilities

    device = next(model.parameters()).device

    @torch.no_grad()
    def plain(images: Tensor) -> Tensor:
        images = images.to(device)
        if options.window is not None:
            return sliding_window(model, images, options.window)
        return probabilities(model(images))

    if not options.tta:
        return plain
    return lambda images: predict_tta(
        plain, images, scales=tuple(options.scales), activation=lambda found: found
    )
