"""Pretrained weights: from a torchvision enum or a local file, never without being asked."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

Weights = WeightsEnum | str | Path | None


def read_weights(weights: WeightsEnum | str | Path) -> dict[str, Tensor]:
    """Read a state dict from a torchvision weights enum (may download) or from a local file.

    Args:
        weights: a member such as ``ResNet50_Weights.IMAGENET1K_V2``, or the path of a file
            written by ``torch.save(model.state_dict(), path)``.

    Raises:
        TypeError: for anything else.
        FileNotFoundError: if the local file does not exist.
        RuntimeError: if the weights must be downloaded and the network cannot be reached.
    """
    if isinstance(weights, WeightsEnum):
        try:
            return weights.get_state_dict(progress=False, check_hash=True)
        except (URLError, TimeoutError) as error:
            raise RuntimeError(
                f"weights={weights} must be downloaded from {weights.url}, which failed ({error}); "
                "fetch the file elsewhere and pass its path, or use weights=None (random)"
            ) from error
    if not isinstance(weights, str | Path):
        raise TypeError(
            f"weights must be a torchvision weights enum, a path or None, got {weights!r}"
        )
    if not Path(weights).is_file():
        raise FileNotFoundError(f"weights: no file at {str(weights)!r}")
    return torch.load(weights, map_location="cpu", weights_only=True)


def load_weights(module: nn.Module, weights: Weights, drop: tuple[str, ...] = ()) -> None:
    """Load ``weights`` into ``module`` by name, ignoring entries that start with ``drop``.

    Args:
        module: receives the tensors; every tensor it has must be present.
        weights: see `read_weights`; None does nothing.
        drop: prefixes of entries that the module does not have (a classifier's last layer).
    """
    if weights is not None:
        state = read_weights(weights)
        module.load_state_dict({k: v for k, v in state.items() if not k.startswith(drop)})


def rename(
    state: Mapping[str, Tensor], table: Iterable[tuple[str, str | Callable[[re.Match[str]], str]]]
) -> dict[str, Tensor]:
    """Apply a table of (pattern, replacement) to every name, one row after the other."""
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in table:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed
