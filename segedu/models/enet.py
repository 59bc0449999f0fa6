"""ENet. Paszke, Chaurasia, Kim & Culurciello, 2016 (arXiv:1606.02147)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.blocks import require_size


def _activation(encoder: bool) -> nn.Module:
    return nn.PReLU() if encoder else nn.ReLU(inplace=True)  # section 4: PReLU, decoder ReLU


def _conv(
    in_channels: int, out_channels: int, encoder: bool, kernel_size=1, **how
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, bias=False, **how),
        nn.BatchNorm2d(out_channels),
        _activation(encoder),
    )


class InitialBlock(nn.Module):
    """A strided 3x3 convolution beside a pooled copy of the image (figure 2a)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, 2, padding=1, bias=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = _activation(encoder=True)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 16, H/2, W/2)."""
        return self.activation(self.norm(torch.cat([self.conv(images), self.pool(images)], dim=1)))


class Bottleneck(nn.Module):
    """Project to a quarter of the channels, convolve, expand, drop maps, add (figure 2b).

    Args:
        channels: of input and output.
        dropout: probability with which a whole map is dropped.
        dilation: of the 3x3 convolution.
        asymmetric: a 5x1 and a 1x5 convolution in place of the 3x3 one.
        encoder: PReLU in place of ReLU.
    """

    def __init__(
        self,
        channels: int,
        dropout: float,
        *,
        dilation: int = 1,
        asymmetric: bool = False,
        encoder: bool = True,
    ) -> None:
        super().__init__()
        width = channels // 4
        if asymmetric:
            middle = [
                *_conv(width, width, encoder, (5, 1), padding=(2, 0)),
                *_conv(width, width, encoder, (1, 5), padding=(0, 2)),
            ]
        else:
            middle = [*_conv(width, width, encoder, 3, padding=dilation, dilation=dilation)]
        self.branch = nn.Sequential(
            _conv(channels, width, encoder),
            *middle,
            _conv(width, channels, encoder),
            nn.Dropout2d(dropout),
        )
        self.activation = _activation(encoder)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        return self.activation(x + self.branch(x))


class DownBottleneck(nn.Module):
    """Max pooling, padded with empty channels, beside a strided bottleneck; keeps the indices."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        width = in_channels // 4
        self.branch = nn.Sequential(
            _conv(in_channels, width, True, 2, stride=2),
            _conv(width, width, True, 3, padding=1),
            _conv(width, out_channels, True),
            nn.Dropout2d(dropout),
        )
        self.activation = _activation(encoder=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, h, w) -> (N, C', h/2, w/2) and the indices of the maxima, (N, C, h/2, w/2)."""
        branch = self.branch(x)
        pooled, indices = F.max_pool2d(x, 2, return_indices=True)
        empty = branch.shape[1] - pooled.shape[1]
        pooled = F.pad(pooled, (0, 0, 0, 0, 0, empty))
        return self.activation(pooled + branch), indices


class UpBottleneck(nn.Module):
    """Unpooling to the remembered places beside a bottleneck with a transposed convolution."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        width = in_channels // 4
        self.main = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.project = _conv(in_channels, width, False)
        self.up = nn.ConvTranspose2d(width, width, 2, stride=2, bias=False)
        self.expand = nn.Sequential(
            nn.BatchNorm2d(width),
            _activation(encoder=False),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.Dropout2d(dropout),
        )
        self.activation = _activation(encoder=False)

    def forward(self, x: Tensor, indices: Tensor, size: torch.Size) -> Tensor:
        """(N, C, h, w) -> (N, C', *size), size being about (2h, 2w)."""
        main = F.max_unpool2d(self.main(x), indices, 2, output_size=size)
        return self.activation(main + self.expand(self.up(self.project(x), output_size=size)))


class ENet(nn.Module):
    """ENet: early downsampling, a deep thin encoder, a decoder that only fills in (table 1).

    Faithful: initial block of 16 maps, dropout 0.01 in the first stage and 0.1 after it, dilated
    and asymmetric bottlenecks in turn, pooling indices for unpooling, no biases, PReLU in the
    encoder and ReLU in the decoder, a transposed convolution for the scores. As in
    davidtvs/PyTorch-ENet a PReLU has one slope for all its channels.

    Parameters: 351,948 with 21 classes.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        base_width: maps of the initial block; 16 is the paper's. The stages have 4 and 8 times
            as many.

    Example:
        >>> ENet(5, base_width=8).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(self, num_classes: int, *, in_channels: int = 3, base_width: int = 16) -> None:
        super().__init__()
        first, second, third = base_width, 4 * base_width, 8 * base_width
        self.initial = InitialBlock(in_channels, first)
        self.down1 = DownBottleneck(first, second, 0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(second, 0.01) for _ in range(4)))
        self.down2 = DownBottleneck(second, third, 0.1)
        kinds = [{}, {"dilation": 2}, {"asymmetric": True}, {"dilation": 4}]
        kinds += [{}, {"dilation": 8}, {"asymmetric": True}, {"dilation": 16}]
        self.stage2 = nn.Sequential(*(Bottleneck(third, 0.1, **kind) for kind in kinds))
        self.stage3 = nn.Sequential(*(Bottleneck(third, 0.1, **kind) for kind in kinds))
        self.up4 = UpBottleneck(third, second, 0.1)
        self.stage4 = nn.Sequential(*(Bottleneck(second, 0.1, encoder=False) for _ in range(2)))
        self.up5 = UpBottleneck(second, first, 0.1)
        self.stage5 = Bottleneck(first, 0.1, encoder=False)
        self.classifier = nn.ConvTranspose2d(first, num_classes, 3, 2, padding=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W).

        Raises:
            ValueError: if a side has fewer than 8 pixels.
        """
        require_size(images, 8)
        x = self.initial(images)  # (N, 16, H/2, W/2)
        size1 = x.shape[-2:]
        x, indices1 = self.down1(x)  # (N, 64, H/4, W/4)
        x = self.stage1(x)
        size2 = x.shape[-2:]
        x, indices2 = self.down2(x)  # (N, 128, H/8, W/8)
        x = self.stage3(self.stage2(x))
        x = self.stage4(self.up4(x, indices2, size2))  # (N, 64, H/4, W/4)
        x = self.stage5(self.up5(x, indices1, size1))  # (N, 16, H/2, W/2)
        return self.classifier(x, output_size=images.shape[-2:])  # (N, C, H, W)
