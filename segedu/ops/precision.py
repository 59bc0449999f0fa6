"""Half precision where it is not enough."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """Half precision as float32, which sums over a million pixels need; other types unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_dtype(like: Tensor) -> torch.dtype:
    """In what is to be computed that shall not be rounded: float32, but float64 if that is."""
    return torch.promote_types(like.dtype, torch.float32)
