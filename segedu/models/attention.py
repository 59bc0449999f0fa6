"""Attention: over positions, over channels, over both; and DANet, built on it."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures
from segedu.models.blocks import conv_bn_relu, resize


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Softmax(Q K^T * scale) V, and the weights. Vaswani et al., NeurIPS 2017, equation 1.

    `torch.nn.functional.scaled_dot_product_attention`, which the layers below use, gives the same
    output without ever storing the weights; this function gives them to look at.

    Args:
        query: (..., L, E).
        key: (..., S, E).
        value: (..., S, V).
        scale: factor on the products; by default 1 / sqrt(E).

    Returns:
        The output (..., L, V) and the weights (..., L, S), whose rows sum to 1.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    weights = (query @ key.transpose(-2, -1) * scale).softmax(dim=-1)  # (..., L, S)
    return weights @ value, weights


def _tokens(x: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, 1, h * w, C): one token per position, one head."""
    return x.flatten(2).transpose(1, 2).unsqueeze(1)


def _attend(tokens: tuple[Tensor, Tensor, Tensor], size: torch.Size) -> Tensor:
    """Query, key, value (N, 1, hw, C), products not scaled -> (N, C, h, w), ``size`` is h, w."""
    y = F.scaled_dot_product_attention(*tokens, scale=1.0)  # (N, 1, hw, C)
    return y.squeeze(1).transpose(1, 2).unflatten(2, size)


class NonLocal2d(nn.Module):
    """Non-local block, embedded Gaussian (Wang et al., CVPR 2018, arXiv:1711.07971, figure 2).

    Every position attends to all others. As in the paper there is no 1 / sqrt(d), and the last
    normalisation starts at zero, so that the block is the identity at first.
    526,592 parameters for 512 channels.

    Args:
        channels: of input and output; the embeddings have half as many.
        subsample: max-pool keys and values by 2 (section 3.3).

    Example:
        >>> x = torch.rand(2, 8, 6, 7)
        >>> torch.equal(NonLocal2d(8)(x), x)
        True
    """

    def __init__(self, channels: int, subsample: bool = False) -> None:
        super().__init__()
        width = max(channels // 2, 1)
        self.theta = nn.Conv2d(channels, width, 1)
        self.phi = nn.Conv2d(channels, width, 1)
        self.g = nn.Conv2d(channels, width, 1)
        self.pool = nn.MaxPool2d(2) if subsample else nn.Identity()
        self.out = nn.Sequential(nn.Conv2d(width, channels, 1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.out[1].weight)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query (N, 1, hw, C/2), key and value (N, 1, hw or hw/4, C/2)."""
        maps = (self.theta(x), self.pool(self.phi(x)), self.pool(self.g(x)))
        return tuple(_tokens(y) for y in maps)

    def attention(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> weights (N, hw, hw), how much each position takes from each other.

        With ``subsample`` (N, hw, hw/4), the columns being the pooled positions.
        """
        return scaled_dot_product_attention(*self._project(x), scale=1.0)[1].squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        return x + self.out(_attend(self._project(x), x.shape[-2:]))


class PositionAttention(nn.Module):
    """Position attention of DANet (Fu et al., CVPR 2019, arXiv:1809.02983, section 3.2).

    Queries and keys have C/8 channels, products are not scaled, and the result is weighted by a
    learnt ``gamma`` that starts at 0. 328,321 parameters for 512 channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(channels // 8, 1)
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query and key (N, 1, hw, C/8), value (N, 1, hw, C)."""
        return tuple(_tokens(conv(x)) for conv in (self.query, self.key, self.value))

    def attention(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> weights (N, hw, hw), how much each position takes from each other."""
        return scaled_dot_product_attention(*self._project(x), scale=1.0)[1].squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        return self.gamma * _attend(self._project(x), x.shape[-2:]) + x


class ChannelAttention(nn.Module):
    """Channel attention of DANet (section 3.3): channels attend to channels, without projections.

    The released code takes the softmax of ``rowmax - energy``, which equals that of ``-energy``:
    a channel attends to those least like it. The only parameter is ``gamma``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def attention(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> weights (N, C, C), how much each channel takes from each other."""
        channels = x.flatten(2)  # (N, C, hw)
        return scaled_dot_product_attention(-channels, channels, channels, scale=1.0)[1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        channels = x.flatten(2).unsqueeze(1)  # (N, 1, C, hw)
        y = F.scaled_dot_product_attention(-channels, channels, channels, scale=1.0)
        return self.gamma * y.squeeze(1).view_as(x) + x


class SqueezeExcitation(nn.Module):
    """Channels gated by their averages (Hu et al., CVPR 2018, arXiv:1709.01507).

    Args:
        channels: of input and output.
        reduction: factor between the channels and the hidden layer; 16 is the paper's.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        width = max(channels // reduction, 1)
        self.fc1 = nn.Conv2d(channels, width, 1)
        self.fc2 = nn.Conv2d(width, channels, 1)

    def attention(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> gates (N, C, 1, 1) in (0, 1)."""
        squeezed = x.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        return self.fc2(F.relu(self.fc1(squeezed))).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        return x * self.attention(x)


class CBAM(nn.Module):
    """Channels gated, then positions gated (Woo et al., ECCV 2018, arXiv:1807.06521).

    The channel gate passes average and maximum through one small network and adds; the position
    gate convolves the mean and the maximum over channels, 7x7 with batch normalisation.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        width = max(channels // reduction, 1)
        self.fc1 = nn.Conv2d(channels, width, 1, bias=False)
        self.fc2 = nn.Conv2d(width, channels, 1, bias=False)
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def channel_attention(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> gates (N, C, 1, 1) in (0, 1)."""
        pooled = (x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True))
        return sum(self.fc2(F.relu(self.fc1(p))) for p in pooled).sigmoid()

    def position_attention(self, x: Tensor) -> Tensor:
        """(N, C, h, w), channels gated -> gates (N, 1, h, w) in (0, 1)."""
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return self.norm(self.conv(pooled)).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        x = x * self.channel_attention(x)
        return x * self.position_attention(x)


class DANetHead(nn.Module):
    """Position and channel attention side by side, summed; each is also scored by itself."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        width = in_channels // 4
        self.position = nn.Sequential(
            conv_bn_relu(in_channels, width), PositionAttention(width), conv_bn_relu(width, width)
        )
        self.channel = nn.Sequential(
            conv_bn_relu(in_channels, width), ChannelAttention(), conv_bn_relu(width, width)
        )
        self.classifiers = nn.ModuleList(
            nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, C, h, w) -> scores (N, K, h, w) of the sum, of the positions, of the channels."""
        position, channel = self.position(x), self.channel(x)  # (N, C/4, h, w)
        maps = (position + channel, position, channel)
        return tuple(c(m) for c, m in zip(self.classifiers, maps, strict=True))


class DANet(nn.Module):
    """Dual attention network (Fu et al., CVPR 2019, arXiv:1809.02983) on a ResNet of stride 8.

    Faithful: multi-grid dilations (4, 8, 16) in the last stage, three outputs in training.
    Different: torchvision's 7x7 stem and its dilation of the first block of a stage.

    Parameters: 47,465,729 with 21 classes.

    Args:
        num_classes: classes, including the background.
        multi_grid: factors on the dilations of the last stage, one per block, or None; a shorter
            last stage takes the first of them.
        **resnet: ``depth``, ``in_channels``, ``base_width``, ``layers`` and ``weights``, see
            `segedu.models.backbones.ResNetFeatures`.

    Example:
        >>> model = DANet(5, base_width=4, layers=(1, 1, 1, 1)).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        multi_grid: Sequence[int] | None = (1, 2, 4),
        **resnet: Any,
    ) -> None:
        super().__init__()
        if multi_grid is not None and resnet.get("layers"):
            multi_grid = multi_grid[: resnet["layers"][-1]]
        self.backbone = ResNetFeatures(output_stride=8, multi_grid=multi_grid, **resnet)
        self.head = DANetHead(self.backbone.channels[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> logits (N, C, H, W); in training also those of each attention."""
        scores = self.head(self.backbone(images)[-1])  # 3 x (N, C, H/8, W/8)
        if self.training:
            return tuple(resize(score, images) for score in scores)
        return resize(scores[0], images)
