"""Exact Euclidean distance transform of masks with any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Numbers held at once by the quadratic step of the torch version (256 MiB in float64).
_CHUNK = 1 << 25


def distance_transform(mask: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """Distance from every element to the nearest ``False`` one, 0 at those themselves.

    On the CPU SciPy does the work; on a GPU the separable form of Felzenszwalb & Huttenlocher
    (2012), one axis after the other with the minimum over each line taken by brute force.

    Args:
        mask: bool (*S).
        spacing: distance between neighbours along each axis, default 1.

    Returns:
        float64 (*S) on the mask's device; ``inf`` everywhere if nothing is ``False``.

    Raises:
        ValueError: ``spacing`` has not one positive number for each axis.
    """
    spacing = check_spacing(spacing, mask.ndim)
    if bool(mask.all()):
        return torch.full(mask.shape, torch.inf, dtype=torch.float64, device=mask.device)
    if mask.is_cuda:
        return separable_transform(mask, spacing)
    from scipy.ndimage import distance_transform_edt

    return torch.from_numpy(distance_transform_edt(mask.numpy(), sampling=spacing))


def check_spacing(spacing: Sequence[float] | None, ndim: int) -> tuple[float, ...]:
    """Spacing as a tuple of ``ndim`` positive floats, 1 by default."""
    spacing = (1.0,) * ndim if spacing is None else tuple(float(s) for s in spacing)
    if len(spacing) != ndim or not all(0 < s < float("inf") for s in spacing):
        raise ValueError(f"spacing must be {ndim} positive numbers, got {spacing}")
    return spacing


def separable_transform(mask: Tensor, spacing: tuple[float, ...]) -> Tensor:
    """Squared distances grow axis by axis: D(i) = min over j of D(j) + (s (i - j))²."""
    squared = torch.where(mask, torch.inf, 0.0).double()
    for axis, step in enumerate(spacing):
        lines = squared.movedim(axis, -1)
        n = lines.shape[-1]
        place = torch.arange(n, device=mask.device, dtype=torch.float64) * step
        cost = (place[:, None] - place) ** 2  # (n, n)
        flat = lines.reshape(-1, n)
        nearest = [
            (part[:, None, :] + cost).amin(-1) for part in flat.split(max(1, _CHUNK // n**2))
        ]
        squared = torch.cat(nearest).view(lines.shape).movedim(-1, axis)
    return squared.sqrt()
