"""RefineNet. Lin, Milan, Shen & Reid, CVPR 2017 (arXiv:1611.06612)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures
from segedu.models.blocks import resize


def _conv3x3(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


class ResidualConvUnit(nn.Module):
    """RCU: ReLU, 3x3, ReLU, 3x3, plus the input. No normalisation, no ReLU on the sum (fig. 3b).

    Without ``identity`` the input is not added (for an ablation).
    """

    def __init__(self, channels: int, identity: bool = True) -> None:
        super().__init__()
        self.identity = identity
        self.conv1 = _conv3x3(channels, channels, bias=True)
        self.conv2 = _conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        y = self.conv2(F.relu(self.conv1(F.relu(x))))
        return x + y if self.identity else y


class MultiResolutionFusion(nn.Module):
    """A 3x3 convolution on each path, the coarse one upsampled to the fine one, sum (fig. 3c)."""

    def __init__(self, fine_channels: int, coarse_channels: int) -> None:
        super().__init__()
        self.fine = _conv3x3(fine_channels, fine_channels)
        self.coarse = _conv3x3(coarse_channels, fine_channels)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, C, h, w) and (N, C', h/2, w/2) -> (N, C, h, w)."""
        return self.fine(fine) + resize(self.coarse(coarse), fine, align_corners=True)


class ChainedResidualPooling(nn.Module):
    """CRP: a chain of 5x5 max pooling (stride 1) and 3x3 convolution, all links added (fig. 3d)."""

    def __init__(self, channels: int, stages: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv3x3(channels, channels) for _ in range(stages))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        link = x = F.relu(x)
        for conv in self.convs:
            link = conv(F.max_pool2d(link, 5, stride=1, padding=2))  # sees 4 pixels further
            x = x + link
        return x


class RefineNetBlock(nn.Module):
    """Two RCUs on the features, fusion with the coarser block, CRP, three RCUs (fig. 3a)."""

    def __init__(
        self, channels: int, coarse_channels: int | None, pooling_stages: int, identity: bool = True
    ) -> None:
        super().__init__()
        self.adapt = nn.Sequential(*(ResidualConvUnit(channels, identity) for _ in range(2)))
        self.fusion = MultiResolutionFusion(channels, coarse_channels) if coarse_channels else None
        self.pooling = ChainedResidualPooling(channels, pooling_stages)
        self.output = nn.Sequential(*(ResidualConvUnit(channels, identity) for _ in range(3)))

    def forward(self, features: Tensor, coarse: Tensor | None) -> Tensor:
        """(N, C, h, w), coarse (N, C', h/2, w/2) or None -> (N, C, h, w)."""
        x = self.adapt(features)
        if self.fusion is not None:
            x = self.fusion(x, coarse)
        return self.output(self.pooling(x))


class RefineNet(nn.Module):
    """RefineNet: four blocks in a cascade refine the maps of a ResNet from stride 32 to stride 4.

    Faithful to the released code: pre-activation RCUs, 2 per input path and 3 in the main flow,
    512 channels in the coarsest block and 256 in the others, chains of 4 poolings, dropout 0.5 on
    the two coarsest maps and before the 3x3 classifier. The paper's text describes chains of 2:
    ``pooling_stages``. Different: the logits are upsampled here, not by the caller.

    Parameters: 99,060,309 (ResNet-50), 118,052,437 (ResNet-101) with 21 classes.

    Args:
        num_classes: classes, including the background.
        pooling_stages: links of the chained residual pooling.
        identity: if False, the RCUs do not add their input (for an ablation).
        **resnet: ``depth``, ``in_channels``, ``base_width``, ``layers`` and ``weights``, see
            `segedu.models.backbones.ResNetFeatures`.
            The blocks have ``4 * base_width`` channels, the coarsest twice as many.

    Example:
        >>> import torch
        >>> model = RefineNet(num_classes=5, base_width=4, layers=(1, 1, 1, 1)).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self, num_classes: int, *, pooling_stages: int = 4, identity: bool = True, **resnet: Any
    ) -> None:
        super().__init__()
        self.backbone = ResNetFeatures(**resnet)
        w = 4 * self.backbone.width
        widths = (2 * w, w, w, w)  # coarsest first
        self.reduce = nn.ModuleList(
            _conv3x3(channels, width)
            for channels, width in zip(self.backbone.channels[::-1], widths, strict=True)
        )
        self.blocks = nn.ModuleList(
            RefineNetBlock(width, coarse, pooling_stages, identity)
            for width, coarse in zip(widths, (None, *widths), strict=False)
        )
        self.dropout = nn.Dropout(0.5)
        self.classifier = _conv3x3(widths[-1], num_classes, bias=True)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W)."""
        c2, c3, c4, c5 = self.backbone(images)  # strides 4, 8, 16, 32; 4w, 8w, 16w, 32w channels
        maps = (self.dropout(c5), self.dropout(c4), c3, c2)
        x = None
        for features, reduce, block in zip(maps, self.reduce, self.blocks, strict=True):
            x = block(reduce(features), x)  # (N, 8w, H/32, W/32), ..., (N, 4w, H/4, W/4)
        return resize(self.classifier(self.dropout(x)), images)  # (N, C, H, W)
