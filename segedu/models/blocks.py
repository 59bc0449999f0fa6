"""The few pieces that many papers share and none introduced."""

import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU; stride 1 keeps the size."""
    padding = dilation * (kernel_size - 1) // 2
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def resize(x: Tensor, like: Tensor, align_corners: bool = False) -> Tensor:
    """Resize ``x`` (N, C, h, w) bilinearly to the height and width of ``like`` (N, *, H, W)."""
    size = like.shape[-2:]
    return F.interpolate(x, size, mode="bilinear", align_corners=align_corners)
