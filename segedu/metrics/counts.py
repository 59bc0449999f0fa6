"""How often each pair of labels meets in two label maps: the count under all region metrics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

# A block of label maps that stays in the cache while its runs are found.
BLOCK = 1 << 18
# Above this share of run ends, counting every pixel is faster than counting runs.
_DENSE = 0.15


def runs(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Cut two flat label maps where either changes.

    Label maps are flat almost everywhere, so most of the work of a count is saved by looking at
    one pixel of each run.

    Yields:
        For each block of pixels the labels of its runs in ``a`` and in ``b`` and the run lengths
        (1 everywhere where a block has too many runs to gain anything).
    """
    for start in range(0, len(a), BLOCK):
        x, y = a[start : start + BLOCK], b[start : start + BLOCK]
        change = x[1:] != x[:-1]
        change |= y[1:] != y[:-1]
        last = np.flatnonzero(change)
        if len(last) > _DENSE * len(x):
            yield x, y, np.ones(1, np.int64).repeat(len(x))
            continue
        last = np.append(last, len(x) - 1)
        yield x[last], y[last], np.diff(last, prepend=-1)


def scatter_counts(keys: Tensor, size: int) -> Tensor:
    """Histogram of flat keys in [0, size): int64 (size,), without waiting for a GPU."""
    counts = torch.zeros(size, dtype=torch.int64, device=keys.device)
    one = torch.ones((), dtype=torch.int64, device=keys.device)
    # scatter_add and not bincount, which reads the largest key back to the host
    return counts.scatter_add_(0, keys, one.expand_as(keys))
