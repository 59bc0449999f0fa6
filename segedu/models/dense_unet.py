"""Dense networks. FC-DenseNet: Jégou et al., CVPRW 2017 (arXiv:1611.09326)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import DenseNetFeatures, Weights
from segedu.models.blocks import center_crop, conv_bn_relu, require_size


class DenseLayer(nn.Sequential):
    """Batch normalisation, ReLU, 3x3 convolution to ``growth_rate`` maps, dropout (table 1)."""

    def __init__(self, in_channels: int, growth_rate: int, dropout: float) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, growth_rate, 3, padding=1),
            nn.Dropout(dropout),
        )
        nn.init.kaiming_uniform_(self[2].weight, nonlinearity="relu")
        nn.init.zeros_(self[2].bias)


class DenseBlock(nn.Module):
    """Layers that see the input and all earlier layers; gives back the new features only.

    On the way down the caller concatenates input and new features; on the way up it does not,
    or the channels would grow without bound (section 3.2 of the paper).
    """

    def __init__(self, in_channels: int, growth_rate: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(in_channels + i * growth_rate, growth_rate, dropout) for i in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, layers * growth_rate, h, w)."""
        new = []
        for layer in self.layers:
            new.append(layer(torch.cat([x, *new], dim=1)))
        return torch.cat(new, dim=1)


class TransitionDown(nn.Sequential):
    """Batch normalisation, ReLU, 1x1 convolution, dropout, 2x2 max pooling (table 1)."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
            nn.Dropout(dropout),
            nn.MaxPool2d(2),
        )


class FCDenseNet(nn.Module):
    """FC-DenseNet, "the one hundred layers tiramisu": a U-Net of dense blocks.

    Faithful: 48 maps in the first convolution, no bottleneck layers, the upsampling path carries
    the new features of each block only, 3x3 transposed convolutions of stride 2, cropped, dropout
    0.2 after every convolution, He initialisation. Different: batch normalisation uses its
    running statistics in eval mode (the authors' code uses those of the test batch).

    Parameters with 11 classes: 1,376,795 (56 layers), 3,463,243 (67), 9,322,091 (103).

    Args:
        num_classes: classes, including the background.
        layers: layers of each dense block on the way down; the same, reversed, on the way up.
        bottleneck: layers of the block in the middle.
        growth_rate: maps that a layer adds.
        in_channels: channels of the images.
        first_width: maps of the first convolution.
        dropout: probability after every convolution.

    Example:
        >>> model = FCDenseNet(5, layers=(2, 2), bottleneck=2, growth_rate=4).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        layers: Sequence[int] = (4, 5, 7, 10, 12),
        bottleneck: int = 15,
        growth_rate: int = 16,
        in_channels: int = 3,
        first_width: int = 48,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, first_width, 3, padding=1)
        self.down = nn.ModuleList()
        self.pool = nn.ModuleList()
        channels, skips = first_width, []
        for count in layers:
            self.down.append(DenseBlock(channels, growth_rate, count, dropout))
            channels += growth_rate * count
            skips.append(channels)
            self.pool.append(TransitionDown(channels, dropout))
        self.bottleneck = DenseBlock(channels, growth_rate, bottleneck, dropout)
        self.unpool = nn.ModuleList()
        self.up = nn.ModuleList()
        new = growth_rate * bottleneck
        for count, skip in zip(reversed(layers), reversed(skips), strict=True):
            self.unpool.append(nn.ConvTranspose2d(new, new, 3, stride=2))
            channels = new + skip
            self.up.append(DenseBlock(channels, growth_rate, count, dropout))
            new = growth_rate * count
        self.classifier = nn.Conv2d(channels + new, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W).

        Raises:
            ValueError: if a side has fewer than 2 ** (number of poolings) pixels.
        """
        require_size(images, 2 ** len(self.down))
        x, skips = self.conv(images), []
        for block, pool in zip(self.down, self.pool, strict=True):
            x = torch.cat([x, block(x)], dim=1)  # (N, 112, H, W), (N, 192, H/2, W/2), ...
            skips.append(x)
            x = pool(x)
        new = self.bottleneck(x)  # (N, 240, H/32, W/32)
        for unpool, block, skip in zip(self.unpool, self.up, reversed(skips), strict=True):
            x = center_crop(unpool(new), skip.shape)
            x = torch.cat([x, skip], dim=1)  # (N, 240 + 656, H/16, W/16), ...
            new = block(x)  # (N, 192, H/16, W/16), ..., (N, 64, H, W)
        return self.classifier(torch.cat([x, new], dim=1))  # (N, C, H, W)


class UpBlock(nn.Sequential):
    """Nearest upsampling to the skip, concatenation, two 3x3 convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__(
            conv_bn_relu(in_channels + skip_channels, out_channels),
            conv_bn_relu(out_channels, out_channels),
        )

    def forward(self, x: Tensor, like: Tensor, skip: Tensor | None) -> Tensor:
        """(N, C, h, w) -> (N, out_channels, H, W), the size of ``like``."""
        x = F.interpolate(x, like.shape[-2:], mode="nearest")
        return super().forward(x if skip is None else torch.cat([x, skip], dim=1))


class DenseUNet(nn.Module):
    """A U-Net whose encoder is DenseNet-121, pre-trainable on ImageNet.

    The 2-D half of H-DenseUNet (Li et al., IEEE TMI 2018, arXiv:1709.07330) is a U-Net on a
    DenseNet-161; this is the form in common use: skips from the stem and from the end of each
    dense block (after the transition's normalisation), nearest upsampling, two 3x3 convolutions a
    level, equal to segmentation_models_pytorch's ``Unet("densenet121")``.

    Parameters: 13,610,533 with 21 classes.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        layers: layers of the four dense blocks.
        growth_rate: maps that a layer adds.
        first_width: maps of the stem.
        decoder_widths: channels of the five decoder levels, deepest first.
        weights: torchvision's DenseNet-121, see `segedu.models.backbones.read_weights`.

    Example:
        >>> small = {"layers": (1, 1, 1, 1), "growth_rate": 4, "first_width": 8}
        >>> model = DenseUNet(5, **small, decoder_widths=(8, 8, 8, 8, 8)).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        layers: tuple[int, int, int, int] = (6, 12, 24, 16),
        growth_rate: int = 32,
        first_width: int = 64,
        decoder_widths: Sequence[int] = (256, 128, 64, 32, 16),
        weights: Weights = None,
    ) -> None:
        super().__init__()
        self.backbone = DenseNetFeatures(in_channels, layers, growth_rate, first_width, weights)
        *skips, channels = self.backbone.channels
        self.decoder = nn.ModuleList()
        for skip, width in zip([*skips[::-1], 0], decoder_widths, strict=True):
            self.decoder.append(UpBlock(channels, skip, width))
            channels = width
        self.classifier = nn.Conv2d(channels, num_classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W).

        Raises:
            ValueError: if a side has fewer than 32 pixels.
        """
        require_size(images, 32)
        *skips, x = self.backbone(images)  # strides 2, 4, 8, 16 and 32
        for block, skip in zip(self.decoder, [*skips[::-1], None], strict=True):
            x = block(x, images if skip is None else skip, skip)  # (N, 256, H/16, W/16), ...
        return self.classifier(x)  # (N, C, H, W)
