"""The few pieces that many papers share and none introduced."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Convolution without bias, batch normalisation; stride 1 keeps the size."""
    padding = dilation * (kernel_size - 1) // 2
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
    )


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
    how = {"stride": stride, "dilation": dilation, "groups": groups}
    return conv_bn(in_channels, out_channels, kernel_size, **how).append(nn.ReLU(inplace=True))


def check_width(width: int) -> None:
    """Refuse a width that cannot be normalised in 32 groups."""
    if width < 32 or width % 32:
        raise ValueError(f"width must be a multiple of 32 (groups), got {width}")


def conv_norm(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """Convolution without bias, group normalisation in 32 groups."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(32, out_channels))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a map (N, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        # 3, not -1: PyTorch's way to ONNX takes a negative place as it is.
        return super().forward(x.movedim(1, 3)).movedim(3, 1)


def resize(x: Tensor, like: Tensor, align_corners: bool = False) -> Tensor:
    """Resize ``x`` (N, C, h, w) bilinearly to the height and width of ``like`` (N, *, H, W)."""
    size = like.shape[-2:]
    return F.interpolate(x, size, mode="bilinear", align_corners=align_corners)


def center_crop(x: Tensor, size: torch.Size) -> Tensor:
    """The centre of ``x`` (N, C, *S), or ``x`` centred in zeros where ``size`` is larger."""
    amounts = []
    for axis in range(-1, 1 - x.ndim, -1):  # F.pad begins with the last axis
        missing = size[axis] - x.shape[axis]
        before = int(missing / 2)  # towards zero, so that cropping undoes padding
        amounts += [before, missing - before]
    return F.pad(x, amounts)  # negative amounts crop


class PooledBranch(nn.Sequential):
    """Average pooling to ``bins`` x ``bins``, 1x1 convolution, batch normalisation, ReLU, resize.

    The context branch of PSPNet (each bin) and of DeepLabv3 (one bin).
    """

    def __init__(
        self, in_channels: int, out_channels: int, bins: int = 1, align_corners: bool = False
    ) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(bins), *conv_bn_relu(in_channels, out_channels, 1))
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, out_channels, h, w)."""
        require_two_values(self[2], x.shape[0] * self[0].output_size ** 2)
        return resize(super().forward(x), x, self.align_corners)


def require_two_values(norm: nn.Module, values: int) -> None:
    """Say clearly why a batch of one image cannot be normalised after global pooling."""
    if norm.training and values < 2 and isinstance(norm, nn.BatchNorm2d):
        raise ValueError(
            "training needs a batch of at least 2 images: after global pooling, one image leaves "
            "batch normalisation a single value per channel (which it would always map to zero)"
        )


def require_size(images: Tensor, minimum: int) -> None:
    """Refuse images (N, C, *S) whose poolings would leave nothing."""
    size = images.shape[2:]
    if min(size) < minimum:
        raise ValueError(
            f"images need at least {minimum} pixels a side, got {' x '.join(map(str, size))} "
            f"({' x '.join('DHW'[-len(size) :])})"
        )
