"""Fast-SCNN. Poudel, Liwicki & Cipolla, BMVC 2019 (arXiv:1902.04502)."""

import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.blocks import conv_bn_relu, resize
from segedu.models.pspnet import PyramidPooling


def _separable(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Depthwise 3x3 and pointwise 1x1 convolution, each normalised and rectified."""
    return nn.Sequential(
        conv_bn_relu(in_channels, in_channels, 3, stride=stride, groups=in_channels),
        conv_bn_relu(in_channels, out_channels, 1),
    )


class InvertedResidual(nn.Module):
    """MobileNetV2's bottleneck: widen by 6, depthwise 3x3, narrow without ReLU (table 2)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        width = 6 * in_channels
        self.residual = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            conv_bn_relu(in_channels, width, 1),
            conv_bn_relu(width, width, 3, stride=stride, groups=width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h/stride, w/stride)."""
        return x + self.layers(x) if self.residual else self.layers(x)


class FeatureFusion(nn.Module):
    """The coarse map, upsampled and convolved depthwise, plus the fine one (table 3)."""

    def __init__(self, fine_channels: int, coarse_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = conv_bn_relu(coarse_channels, coarse_channels, 3, groups=coarse_channels)
        self.coarse = nn.Sequential(
            nn.Conv2d(coarse_channels, out_channels, 1), nn.BatchNorm2d(out_channels)
        )
        self.fine = nn.Sequential(
            nn.Conv2d(fine_channels, out_channels, 1), nn.BatchNorm2d(out_channels)
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, C, h, w) and (N, C', h/4, w/4) -> (N, out_channels, h, w)."""
        coarse = self.coarse(self.depthwise(resize(coarse, fine, align_corners=True)))
        return F.relu(self.fine(fine) + coarse)


class FastSCNN(nn.Module):
    """Fast-SCNN: one shallow stem of stride 8, shared by a detail and a context path (table 1).

    Faithful: learning to downsample (32, 48, 64), nine inverted residuals (64, 96, 128), pyramid
    pooling, fusion by addition, two separable convolutions before the scores. Different: the
    optional auxiliary head on the stem is Tramac/Fast-SCNN-pytorch's, whose first convolution,
    unlike table 1 and this network, is not padded.

    Parameters: 1,138,309 with 21 classes. Training needs at least two images per batch.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        base_width: channels of the first convolution; 32 is the paper's, all others scale.
        aux_loss: a second head on the stem in training.

    Example:
        >>> import torch
        >>> FastSCNN(5, base_width=8).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        base_width: int = 32,
        aux_loss: bool = False,
    ) -> None:
        super().__init__()
        w = base_width
        self.downsample = nn.Sequential(
            conv_bn_relu(in_channels, w, 3, stride=2),
            _separable(w, 3 * w // 2, stride=2),
            _separable(3 * w // 2, 2 * w, stride=2),
        )
        blocks, channels = [], 2 * w
        for width, stride in ((2 * w, 2), (3 * w, 2), (4 * w, 1)):
            blocks.append(InvertedResidual(channels, width, stride))
            blocks += [InvertedResidual(width, width, 1) for _ in range(2)]
            channels = width
        self.context = nn.Sequential(
            *blocks, PyramidPooling(channels), conv_bn_relu(2 * channels, channels, 1)
        )
        self.fusion = FeatureFusion(2 * w, channels, channels)
        self.classifier = nn.Sequential(
            _separable(channels, channels),
            _separable(channels, channels),
            nn.Dropout(0.1),
            nn.Conv2d(channels, num_classes, 1),
        )
        self.aux_classifier = None
        if aux_loss:
            self.aux_classifier = nn.Sequential(
                *conv_bn_relu(2 * w, w), nn.Dropout(0.1), nn.Conv2d(w, num_classes, 1)
            )

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) -> logits (N, C, H, W), in training with an auxiliary head a pair."""
        fine = self.downsample(images)  # (N, 64, H/8, W/8)
        coarse = self.context(fine)  # (N, 128, H/32, W/32)
        x = self.fusion(fine, coarse)  # (N, 128, H/8, W/8)
        logits = resize(self.classifier(x), images, align_corners=True)  # (N, C, H, W)
        if self.training and self.aux_classifier is not None:
            return logits, resize(self.aux_classifier(fine), images, align_corners=True)
        return logits
