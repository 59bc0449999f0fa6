"""Anchors: the boxes that a detector corrects, the same few at every place of every level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cell_anchors(sizes: Sequence[float], aspect_ratios: Sequence[float]) -> Tensor:
    """Anchors around the origin, Ren et al. (2015), section 3.1.1.

    Args:
        sizes: square roots of the areas, in pixels.
        aspect_ratios: height / width.

    Returns:
        xyxy float32 (A, 4) with A = ratios · sizes, the sizes of one ratio side by side. Edges are
        rounded to whole pixels, as torchvision does and detectron2 does not.

    Raises:
        ValueError: a size or ratio that is not positive.
    """
    for name, values in (("sizes", sizes), ("aspect_ratios", aspect_ratios)):
        if not all(value > 0 for value in values):
            raise ValueError(f"{name} must be positive, got {tuple(values)}")
    size = torch.tensor(sizes, dtype=torch.float32)
    root = torch.tensor(aspect_ratios, dtype=torch.float32).sqrt()[:, None]
    width, height = (1 / root * size).flatten(), (root * size).flatten()  # (A,)
    return (torch.stack((-width, -height, width, height), dim=1) / 2).round()


def grid_anchors(cell: Tensor, grid_size: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Put the anchors of one cell at every place of a feature map.

    Args:
        cell: xyxy (A, 4) around the origin.
        grid_size: (height, width) of the feature map.
        stride: pixels from one place to the next, (down, right).

    Returns:
        xyxy (height · width · A, 4) in pixels, row by row, the A of one place side by side; the
        first place is the corner (0, 0) of the image.

    Raises:
        ValueError: ``cell`` is not (A, 4), or a stride below 1.
    """
    if cell.ndim != 2 or cell.shape[1] != 4:
        raise ValueError(f"cell must be (A, 4), got {tuple(cell.shape)}")
    if min(stride) < 1:
        raise ValueError(f"stride must be two numbers >= 1, got {tuple(stride)}")
    y, x = (
        torch.arange(n, device=cell.device, dtype=cell.dtype) * s
        for n, s in zip(grid_size, stride, strict=True)
    )
    y, x = torch.meshgrid(y, x, indexing="ij")
    place = torch.stack((x, y, x, y), dim=-1)[:, :, None]  # (height, width, 1, 4)
    return (place + cell).reshape(-1, 4)


def pyramid_anchors(
    image_size: tuple[int, int],
    grid_sizes: Sequence[tuple[int, int]],
    sizes: Sequence[Sequence[float]],
    aspect_ratios: Sequence[Sequence[float]],
    device: torch.device | str | None = None,
) -> list[Tensor]:
    """Anchors of each level of a feature pyramid, equal to torchvision's ``AnchorGenerator``.

    Args:
        image_size: (height, width) of the padded image; the strides follow by division.
        grid_sizes: (height, width) of each level.
        sizes: anchor sizes of each level in pixels; ((32,), (64,), …) is FPN's choice, Lin et al.
            (2017), section 4.1.
        aspect_ratios: height / width, for each level.
        device: where the anchors are made.

    Returns:
        For each level, xyxy float32 (height · width · A, 4).

    Raises:
        ValueError: not one entry for each level, or a map larger than the image.
    """
    if not len(grid_sizes) == len(sizes) == len(aspect_ratios):
        raise ValueError(
            "grid_sizes, sizes and aspect_ratios must have one entry for each level, got "
            f"{len(grid_sizes)}, {len(sizes)} and {len(aspect_ratios)}"
        )
    return [
        grid_anchors(
            cell_anchors(size, ratio).to(device),
            grid,
            (image_size[0] // grid[0], image_size[1] // grid[1]),
        )
        for grid, size, ratio in zip(grid_sizes, sizes, aspect_ratios, strict=True)
    ]
