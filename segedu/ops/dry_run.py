"""A network run for its shapes alone."""

from typing import Any

import torch
from torch import nn


@torch.no_grad()
def dry_run(model: nn.Module, size: int | tuple[int, ...], in_channels: int = 3) -> Any:
    """Run ``model`` in eval mode on one image of torch's meta device.

    Meta tensors have a shape and no numbers, so the largest network takes no memory and hardly
    any time; hooks and modes see every call. The model stays as it is, on its own device.

    Args:
        model: maps images (N, C, H, W), or volumes (N, C, D, H, W), to whatever it likes.
        size: (H, W), (D, H, W), or one number for a square image.
        in_channels: C.

    Returns:
        What the model returns, its tensors on the meta device.

    Raises:
        ValueError: if the size is not two or three positive numbers.

    Example:
        >>> dry_run(nn.Conv2d(3, 8, 3, stride=2), 65).shape
        torch.Size([1, 8, 32, 32])
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) not in (2, 3) or min(sides) < 1:
        raise ValueError(f"size must be a number, (H, W) or (D, H, W), all positive; got {size}")
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    state = {name: tensor.to("meta") for name, tensor in tensors.items()}
    images = torch.zeros(1, in_channels, *sides, device="meta")
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        return torch.func.functional_call(model, state, (images,))
    finally:
        for module in was_training:
            module.training = True
