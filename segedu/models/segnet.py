"""SegNet. Badrinarayanan, Kendall & Cipolla, IEEE TPAMI 2017 (arXiv:1511.00561)."""

import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import VGG16_STAGES, Weights, load_vgg16, vgg16_stages
from segedu.models.blocks import require_size


class SegNet(nn.Module):
    """An encoder that remembers where each maximum was, and a decoder that puts it back there.

    Pooling stores the index of every maximum; unpooling places the values at these indices and
    zeros elsewhere, and convolutions fill the gaps. Nothing else crosses from encoder to decoder
    but the size of each map: pooling drops the last row or column of an odd one.

    Args:
        encoder: stages without pooling; a map is pooled by 2 after each.
        decoder: as many stages, deepest first; a map is unpooled before each. The last one ends
            in the logits: no normalisation and no ReLU on them.
    """

    def __init__(self, encoder: nn.ModuleList, decoder: nn.ModuleList) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W).

        Raises:
            ValueError: if a side has fewer than 2 ** (number of poolings) pixels.
        """
        require_size(images, 2 ** len(self.encoder))
        x, pooled = images, []
        for stage in self.encoder:
            x = stage(x)
            size = x.shape[-2:]  # (H, W)
            x, indices = F.max_pool2d(x, 2, return_indices=True)  # (N, C, H // 2, W // 2)
            pooled.append((indices, size))
        for stage, (indices, size) in zip(self.decoder, reversed(pooled), strict=True):
            x = F.max_unpool2d(x, indices, 2, output_size=size)  # (N, C, H, W)
            x = stage(x)
        return x  # (N, C, H, W)


def segnet_vgg16(
    num_classes: int, *, in_channels: int = 3, base_width: int = 64, weights: Weights = None
) -> SegNet:
    """SegNet with the 13 convolutions of VGG-16 and their mirror image.

    Faithful: convolution, batch normalisation and ReLU throughout, a decoder that halves the
    channels in the last convolution of a stage, logits straight from a 3x3 convolution.
    Different: any size works, from 32 pixels on (the original fixes 360 x 480).

    Parameters: 29,455,125 with 21 classes.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        base_width: width of the first stage; 64 is the paper's.
        weights: torchvision's VGG-16 with batch normalisation, see
            `segedu.models.backbones.read_weights`.

    Example:
        >>> import torch
        >>> segnet_vgg16(5, base_width=4).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """
    encoder = vgg16_stages(in_channels, base_width, batch_norm=True)
    if weights is not None:
        load_vgg16(encoder, weights)
    decoder = nn.ModuleList()
    multipliers = [multiplier for multiplier, _ in VGG16_STAGES]
    outputs = [base_width * m for m in multipliers[-2::-1]]  # 512, 256, 128, 64, then the classes
    for (multiplier, convolutions), out in zip(
        reversed(VGG16_STAGES), [*outputs, num_classes], strict=True
    ):
        width = base_width * multiplier
        widths = [width] * (convolutions - 1) + [out]
        decoder.append(nn.Sequential(*(_conv_bn_relu(width, w) for w in widths)))
    decoder[-1][-1] = decoder[-1][-1][0]  # the logits: the bare convolution
    return SegNet(encoder, decoder)


def _conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    # unlike blocks.conv_bn_relu with a bias, which the original keeps before the normalisation
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def segnet_basic(num_classes: int, *, in_channels: int = 3, base_width: int = 64) -> SegNet:
    """SegNet-Basic: four 7x7 convolutions down, four up (section 3.1 of the paper).

    Faithful: 64 channels everywhere, no ReLU in the decoder, a 1x1 classifier. Different: no
    local response normalisation of the input. Parameters: 1,417,237 with 21 classes.

    Example:
        >>> import torch
        >>> segnet_basic(5, base_width=4).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def convolution(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, base_width, 7, padding=3), nn.BatchNorm2d(base_width)]

    encoder = nn.ModuleList(
        nn.Sequential(*convolution(channels), nn.ReLU(inplace=True))
        for channels in (in_channels, base_width, base_width, base_width)
    )
    decoder = nn.ModuleList(nn.Sequential(*convolution(base_width)) for _ in range(4))
    decoder[-1].append(nn.Conv2d(base_width, num_classes, 1))
    return SegNet(encoder, decoder)
