"""Batches, whatever they are made of: that they hold numbers, and where they are."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def is_finite(value: Any) -> bool:
    """Whether images are: the ``image`` of a dict, every tensor elsewhere, in nested lists."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(map(is_finite, [value["image"]] if "image" in value else value.values()))
    return not isinstance(value, list | tuple) or all(map(is_finite, value))


def checked(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, none of which holds NaN or infinity.

    Raises:
        ValueError: for the first that does. A loader of `make_loader` names the sample before.
    """
    for number, batch in enumerate(batches, start=1):
        if not is_finite(batch):
            raise ValueError(f"batch {number} of the loader holds NaN or infinity")
        yield batch


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor in nested dicts, lists and tuples, named ones too, to ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        moved = (to_device(value, device) for value in batch)
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch
