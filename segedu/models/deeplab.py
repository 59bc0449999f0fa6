"""DeepLabv3 and v3+. Chen et al., arXiv:1706.05587 (2017) and ECCV 2018 (arXiv:1802.02611)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segedu.models.backbones import MobileNetV3Features, ResNetFeatures, Weights
from segedu.models.blocks import PooledBranch, conv_bn_relu, resize
from segedu.models.heads import FCNHead, SegmentationNetwork

# v3, section 3.3: doubled when the map is twice as fine (the paper has 16 and 8 only)
RATES = {32: (3, 6, 9), 16: (6, 12, 18), 8: (12, 24, 36)}


def separable_conv_bn_relu(
    in_channels: int, out_channels: int, *, dilation: int = 1
) -> nn.Sequential:
    """A 3x3 convolution per channel, a 1x1 across them, batch normalisation, ReLU (v3+, 3.2)."""
    depthwise = nn.Conv2d(
        in_channels,
        in_channels,
        3,
        padding=dilation,
        dilation=dilation,
        groups=in_channels,
        bias=False,
    )
    return nn.Sequential(depthwise, *conv_bn_relu(in_channels, out_channels, 1))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: one map seen at several rates and as a whole (v3, figure 5).

    A 1x1 convolution, a dilated 3x3 one per rate and the average of the image, each with batch
    normalisation and ReLU, concatenated and projected.

    Args:
        in_channels: channels of the map.
        rates: dilations of the 3x3 convolutions.
        out_channels: of each branch and of the output.
        separable: depthwise-separable 3x3 convolutions (v3+).
        dropout: probability after the projection.

    Example:
        >>> ASPP(8, (2, 4), out_channels=6).eval()(torch.zeros(1, 8, 12, 15)).shape
        torch.Size([1, 6, 12, 15])
    """

    def __init__(
        self,
        in_channels: int,
        rates: Sequence[int],
        out_channels: int = 256,
        *,
        separable: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        conv = separable_conv_bn_relu if separable else conv_bn_relu
        self.convs = nn.ModuleList(
            [
                conv_bn_relu(in_channels, out_channels, 1),
                *(conv(in_channels, out_channels, dilation=rate) for rate in rates),
                PooledBranch(in_channels, out_channels),
            ]
        )
        branches = len(self.convs) * out_channels
        self.project = nn.Sequential(*conv_bn_relu(branches, out_channels, 1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, out_channels, h, w)."""
        return self.project(torch.cat([conv(x) for conv in self.convs], dim=1))


class DeepLabHead(nn.Sequential):
    """ASPP, one 3x3 convolution, 1x1 scores: torchvision's head of v3."""

    def __init__(
        self, in_channels: int, num_classes: int, rates: Sequence[int], width: int = 256
    ) -> None:
        super().__init__(
            ASPP(in_channels, rates, width),
            *conv_bn_relu(width, width),
            nn.Conv2d(width, num_classes, 1),
        )


def deeplab_v3_resnet(
    depth: int,
    num_classes: int,
    *,
    output_stride: int = 8,
    rates: Sequence[int] | None = None,
    aux_loss: bool = False,
    **resnet: Any,
) -> SegmentationNetwork:
    """DeepLabv3 on a dilated ResNet, by default equal to torchvision's ``deeplabv3_resnet50/101``.

    The paper trains at output stride 16 with rates (6, 12, 18) and tests at 8 with doubled rates,
    uses ``multi_grid=(1, 2, 4)`` in the last stage, classifies straight after the ASPP and has no
    auxiliary head; torchvision has stride 8, no multi-grid, and a 3x3 convolution before the
    scores. Training needs at least two images per batch (the image branch is batch-normalised).

    Parameters with 21 classes: 39,638,869 (50), 42,004,074 (50 with the auxiliary head),
    60,996,202 (101 with the auxiliary head).

    Args:
        depth: of the ResNet, 50 or 101.
        num_classes: classes, including the background.
        output_stride: 8, 16 or 32.
        rates: dilations in the ASPP; by default those of the stride, see `RATES`.
        aux_loss: a second head on ``layer3`` in training.
        **resnet: ``in_channels``, ``base_width``, ``layers``, ``multi_grid`` and ``weights`` of the
            backbone, see `segedu.models.backbones.ResNetFeatures`.

    Example:
        >>> model = deeplab_v3_resnet(50, 5, base_width=4, layers=(1, 1, 1, 1)).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """
    backbone = ResNetFeatures(depth, output_stride=output_stride, **resnet)
    rates = RATES[output_stride] if rates is None else rates
    *_, middle, last = backbone.channels
    classifier = DeepLabHead(last, num_classes, rates, 4 * backbone.width)
    aux = FCNHead(middle, num_classes) if aux_loss else None
    return SegmentationNetwork(backbone, classifier, aux)


def deeplab_v3_mobilenet_v3(
    num_classes: int,
    *,
    in_channels: int = 3,
    width_mult: float = 1.0,
    aux_loss: bool = False,
    weights: Weights = None,
) -> SegmentationNetwork:
    """DeepLabv3 on MobileNetV3-Large, equal to torchvision's ``deeplabv3_mobilenet_v3_large``.

    Output stride 16, yet torchvision keeps the rates (12, 24, 36).
    Parameters: 11,025,477 with 21 classes, 11,029,328 with the auxiliary head.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        width_mult: factor on the widths of the backbone and of the head's 256 channels.
        aux_loss: a second head on the map of stride 8 in training.
        weights: of MobileNetV3-Large, see `segedu.models.backbones.read_weights`.

    Example:
        >>> model = deeplab_v3_mobilenet_v3(5, width_mult=0.25).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """
    backbone = MobileNetV3Features(in_channels, width_mult, weights)
    middle, last = backbone.channels
    classifier = DeepLabHead(last, num_classes, RATES[8], int(256 * width_mult))
    aux = FCNHead(middle, num_classes) if aux_loss else None
    return SegmentationNetwork(backbone, classifier, aux)


class DeepLabV3Plus(nn.Module):
    """DeepLabv3+: the ASPP map, upsampled and sharpened with a map of stride 4.

    Faithful: 48 channels from ``layer1`` (1x1, batch normalisation, ReLU), concatenated with the
    ASPP map upsampled by 4, two depthwise-separable 3x3 convolutions of 256, scores, upsampled by
    4; depthwise-separable ASPP. ``separable=False, decoder_convs=1`` is the network of
    VainF/DeepLabV3Plus-Pytorch. Different: a ResNet, while the paper's best numbers are an aligned
    Xception's.

    Parameters with 21 classes: 26,682,725 (50), 45,674,853 (101); 39,761,845 in the form of VainF.

    Args:
        num_classes: classes, including the background.
        output_stride: 8, 16 or 32.
        rates: dilations in the ASPP; by default those of the stride, see `RATES`.
        separable: depthwise-separable convolutions in the ASPP and the decoder.
        decoder_convs: number of 3x3 convolutions in the decoder.
        **resnet: ``depth``, ``in_channels``, ``base_width``, ``layers``, ``multi_grid`` and
            ``weights`` of the backbone, see `segedu.models.backbones.ResNetFeatures`.

    Example:
        >>> model = DeepLabV3Plus(num_classes=5, base_width=4, layers=(1, 1, 1, 1)).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        output_stride: int = 16,
        rates: Sequence[int] | None = None,
        separable: bool = True,
        decoder_convs: int = 2,
        **resnet: Any,
    ) -> None:
        super().__init__()
        self.backbone = ResNetFeatures(output_stride=output_stride, **resnet)
        rates = RATES[output_stride] if rates is None else rates
        low, *_, last = self.backbone.channels
        width = 4 * self.backbone.width  # 256
        low_width = 3 * width // 16  # 48
        conv = separable_conv_bn_relu if separable else conv_bn_relu
        self.project = conv_bn_relu(low, low_width, 1)
        self.aspp = ASPP(last, rates, width, separable=separable, dropout=0.1)
        widths = [low_width + width] + [width] * (decoder_convs - 1)
        self.decoder = nn.Sequential(*(conv(channels, width) for channels in widths))
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W)."""
        low, *_, last = self.backbone(images)  # (N, 256, H/4, W/4), (N, 2048, H/16, W/16)
        low = self.project(low)  # (N, 48, H/4, W/4)
        context = resize(self.aspp(last), low)  # (N, 256, H/4, W/4)
        x = self.decoder(torch.cat([low, context], dim=1))  # (N, 256, H/4, W/4)
        return resize(self.classifier(x), images)  # (N, C, H, W)
