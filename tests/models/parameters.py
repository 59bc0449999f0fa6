"""How large a network is."""

from torch import nn


def count(model: nn.Module) -> int:
    """The number of its parameters."""
    return sum(p.numel() for p in model.parameters())
