"""PSPNet. Zhao, Shi, Qi, Wang & Jia, CVPR 2017 (arXiv:1612.01105)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures
from segedu.models.blocks import PooledBranch, conv_bn_relu
from segedu.models.heads import SegmentationNetwork


class PyramidPooling(nn.Module):
    """The map itself beside its averages over 1x1, 2x2, 3x3 and 6x6 regions (figure 3).

    Args:
        in_channels: channels of the map; each of the L levels is reduced to 1/L of them, rounded
            down.
        bins: regions per side at each level.
        align_corners: of the bilinear upsampling; True is the released code's.

    Attributes:
        out_channels: of the output: twice ``in_channels`` if L divides them.

    Raises:
        ValueError: if there is no level, or there are more levels than channels.

    Example:
        >>> PyramidPooling(8).eval()(torch.zeros(1, 8, 12, 15)).shape
        torch.Size([1, 16, 12, 15])
    """

    def __init__(
        self, in_channels: int, bins: Sequence[int] = (1, 2, 3, 6), align_corners: bool = True
    ) -> None:
        super().__init__()
        if not 1 <= len(bins) <= in_channels:
            raise ValueError(
                f"bins must name 1 to {in_channels} levels, one channel each, got {tuple(bins)}"
            )
        width = in_channels // len(bins)
        self.levels = nn.ModuleList(
            PooledBranch(in_channels, width, size, align_corners) for size in bins
        )
        self.out_channels = in_channels + width * len(bins)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, out_channels, h, w)."""
        return torch.cat([x, *(level(x) for level in self.levels)], dim=1)


def _head(in_channels: int, width: int, num_classes: int) -> list[nn.Module]:
    dropout = nn.Dropout2d(0.1)
    return [*conv_bn_relu(in_channels, width), dropout, nn.Conv2d(width, num_classes, 1)]


def pspnet(
    depth: int,
    num_classes: int,
    *,
    bins: Sequence[int] = (1, 2, 3, 6),
    deep_stem: bool = True,
    aux_loss: bool = True,
    **resnet: Any,
) -> SegmentationNetwork:
    """PSPNet: a ResNet of output stride 8, pyramid pooling, one 3x3 convolution, scores.

    Faithful to hszhao/semseg: stem of three 3x3 convolutions, dilation 2 and 4 in every block of
    the last two stages, corners aligned in every upsampling, an auxiliary head on ``layer3`` whose
    loss is weighted by 0.4. Different: any size works; the released code asks for 8 n + 1 pixels,
    at which the corners of all maps fall together.

    Parameters with 21 classes: 49,081,578 (50), 68,073,706 (101), the auxiliary head included.
    Training needs at least two images per batch (the 1x1 level is batch-normalised).

    Args:
        depth: of the ResNet, 50 or 101.
        num_classes: classes, including the background.
        bins: regions per side at each level of the pyramid; ``()`` leaves the pyramid out.
        deep_stem: False for torchvision's 7x7 stem, which its weights need.
        aux_loss: whether training returns ``(logits, aux_logits)``.
        **resnet: ``in_channels``, ``base_width``, ``layers`` and ``weights``, see
            `segedu.models.backbones.ResNetFeatures`.

    Example:
        >>> model = pspnet(50, 5, base_width=4, layers=(1, 1, 1, 1)).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """
    backbone = ResNetFeatures(
        depth, output_stride=8, first_block="own", deep_stem=deep_stem, **resnet
    )
    *_, middle, last = backbone.channels
    pyramid = PyramidPooling(last, bins) if bins else nn.Identity()
    width = pyramid.out_channels if bins else last
    classifier = nn.Sequential(pyramid, *_head(width, last // 4, num_classes))
    aux = nn.Sequential(*_head(middle, middle // 4, num_classes)) if aux_loss else None
    return SegmentationNetwork(backbone, classifier, aux, align_corners=True)
