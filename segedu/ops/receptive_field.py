"""What one unit of a network sees: in theory from its layers, in effect from its gradient."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Layer(NamedTuple):
    """What of a convolution or pooling matters for its receptive field."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: int = 0


class ReceptiveField(NamedTuple):
    """Receptive field of a unit after a stack of layers, in pixels of the input.

    ``size`` is its width, ``jump`` the distance between the fields of two neighbours, ``start``
    the centre of the first unit's field (pixel 0 has its centre at 0).
    """

    size: int
    jump: int
    start: float


class EffectiveField(NamedTuple):
    """Square of ``size`` pixels around (``row``, ``column``), in pixels of the input."""

    size: int
    row: float
    column: float


def receptive_fields(layers: Sequence[Sequence[int]]) -> list[ReceptiveField]:
    """Compute the theoretical receptive field after each layer.

    With kernel k, stride s, dilation d and padding p, size r, jump j and start c become
    ``r + (k - 1) d j``, ``j s`` and ``c + ((k - 1) d / 2 - p) j`` (Araujo, Norris and Sim 2019,
    "Computing receptive fields of convolutional neural networks", equations 1 to 4).

    Args:
        layers: ``(kernel, stride, dilation, padding)`` from the input on; the last ones may be
            left out (stride 1, dilation 1, padding 0).

    Raises:
        ValueError: if there are no layers, or one has a number out of range.

    Example:
        >>> receptive_fields([(3, 1, 1, 1), (2, 2)])[-1]
        ReceptiveField(size=4, jump=2, start=0.5)
    """
    if not layers:
        raise ValueError("layers must hold at least one layer, got none")
    fields = []
    size, jump, start = 1, 1, 0.0
    for number, values in enumerate(layers):
        kernel, stride, dilation, padding = Layer(*values)
        if min(kernel, stride, dilation) < 1 or padding < 0:
            raise ValueError(
                f"layer {number} must have kernel, stride, dilation >= 1 and padding >= 0, "
                f"got {tuple(values)}"
            )
        start += ((kernel - 1) * dilation / 2 - padding) * jump
        size += (kernel - 1) * dilation * jump
        jump *= stride
        fields.append(ReceptiveField(size, jump, start))
    return fields


def effective_field(gradient: Tensor, share: float = 0.95) -> EffectiveField:
    """Compute the smallest square around the centre of a gradient that holds ``share`` of it.

    The magnitude of the gradient of one output unit says how much each input pixel moves it; far
    fewer pixels do than the theoretical field holds (Luo et al. 2016, "Understanding the effective
    receptive field in deep convolutional neural networks").

    Args:
        gradient: gradient of one output unit with respect to the input, (H, W) or (C, H, W).
        share: part of the total magnitude, 0 < share <= 1.

    Raises:
        ValueError: if the gradient has another shape or is all 0, or ``share`` is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in 0..1 and not be 0, got {share}")
    if gradient.ndim not in (2, 3) or not gradient.any():
        raise ValueError(
            f"gradient must be (H, W) or (C, H, W) and not all 0, got {tuple(gradient.shape)}"
        )
    strength = gradient.double().abs()
    strength = strength.sum(0) if strength.ndim == 3 else strength  # (H, W)
    strength = strength / strength.sum()
    rows, columns = (
        torch.arange(n, dtype=torch.double, device=strength.device) for n in strength.shape
    )
    row, column = strength.sum(1) @ rows, strength.sum(0) @ columns
    # distance (H, W) in the maximum norm, so that all pixels up to a distance are a square
    distance = torch.maximum((rows - row).abs()[:, None], (columns - column).abs()).flatten()
    order = distance.argsort(stable=True)
    held = strength.flatten()[order].cumsum(0)
    # rounding may leave the last sum a little below 1
    last = min(int(torch.searchsorted(held, share)), len(held) - 1)
    return EffectiveField(2 * round(distance[order][last].item()) + 1, row.item(), column.item())
