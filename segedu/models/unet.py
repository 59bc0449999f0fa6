"""U-Net. Ronneberger, Fischer & Brox, MICCAI 2015 (arXiv:1505.04597)."""

import itertools

import torch
from torch import Tensor, nn

from segedu.models.blocks import center_crop, require_size


def double_conv(in_channels: int, out_channels: int, padded: bool, batch_norm: bool) -> nn.Module:
    """Twice: 3x3 convolution, (batch normalization,) ReLU. Without padding a map loses 4 pixels."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        # batch normalization has its own shift, so a bias before it would be a useless parameter
        layers.append(
            nn.Conv2d(channels, out_channels, 3, padding=int(padded), bias=not batch_norm)
        )
        if batch_norm:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class UpBlock(nn.Module):
    """2x2 up-convolution to half the channels, concatenation with the skip, double convolution."""

    def __init__(
        self, in_channels: int, padded: bool, batch_norm: bool, skip_connections: bool
    ) -> None:
        super().__init__()
        width = in_channels // 2
        self.padded, self.skip_connections = padded, skip_connections
        self.up = nn.ConvTranspose2d(in_channels, width, 2, stride=2)
        self.conv = double_conv(2 * width if skip_connections else width, width, padded, batch_norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, 2C, h, w), skip (N, C, ~2h, ~2w) -> (N, C, ~2h, ~2w)."""
        x = self.up(x)  # (N, C, 2h, 2w)
        if self.padded:
            x = center_crop(x, skip.shape)  # adds a row of zeros where pooling lost an odd pixel
        else:
            skip = center_crop(skip, x.shape)  # the paper's crop: what was lost without padding
        return self.conv(torch.cat([skip, x], dim=1) if self.skip_connections else x)


class UNet(nn.Module):
    """U-Net, in the padded and batch-normalized form of today (default) or as in the paper.

    Faithful: two 3x3 convolutions per level, 2x2 max pooling, channels doubled on the way down,
    2x2 up-convolutions that halve them, skips concatenated (not added), 1x1 classifier.
    ``padded=False, batch_norm=False, dropout=0.5`` is the paper's network (`unet_valid`): valid
    convolutions, cropped skips, dropout at the end of the contracting path; 572 x 572 -> 388 x 388.
    Different by default: padding keeps the size, so the output covers the input and any size
    works, from ``2 ** depth`` pixels on; batch normalization replaces dropout.

    Parameters: 31,037,698 (3 channels, 2 classes); the paper's form 31,030,658 (1 channel,
    2 classes).

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        base_width: channels of the first level, doubled at each of the ``depth`` levels below.
        depth: number of poolings; 4 is the paper's.
        padded: pad the convolutions; if False, the size must fit (`forward` says which do).
        batch_norm: batch normalization after each 3x3 convolution.
        dropout: probability at the end of the contracting path.
        skip_connections: if False, the decoder sees only the map from below (for an ablation).

    Example:
        >>> model = UNet(num_classes=5, base_width=4).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        base_width: int = 64,
        depth: int = 4,
        padded: bool = True,
        batch_norm: bool = True,
        dropout: float = 0.0,
        skip_connections: bool = True,
    ) -> None:
        super().__init__()
        self.padded = padded
        widths = [base_width * 2**level for level in range(depth + 1)]  # 64, 128, ..., 1024
        self.encoder = nn.ModuleList(
            double_conv(channels, width, padded, batch_norm)
            for channels, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.ModuleList(
            UpBlock(width, padded, batch_norm, skip_connections) for width in widths[:0:-1]
        )
        self.classifier = nn.Conv2d(base_width, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # section 3 of the paper: deviation sqrt(2 / fan in)
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W), smaller if the convolutions are valid.

        Raises:
            ValueError: if the image is too small for the poolings, or, with valid convolutions, if
                a pooling would meet an odd size.
        """
        check_size(images, len(self.decoder), self.padded)
        x, skips = images, []
        for level in self.encoder[:-1]:
            x = level(x)
            skips.append(x)  # (N, w, H, W), (N, 2w, H/2, W/2), (N, 4w, H/4, W/4), ...
            x = self.pool(x)
        x = self.dropout(self.encoder[-1](x))  # (N, 16w, H/16, W/16)
        for level, skip in zip(self.decoder, reversed(skips), strict=True):
            x = level(x, skip)  # (N, 8w, H/8, W/8), ..., (N, w, H, W)
        return self.classifier(x)  # (N, C, H, W)


def check_size(images: Tensor, depth: int, padded: bool) -> None:
    """Refuse ``images`` (N, C, *S) whose size does not survive ``depth`` poolings.

    Raises:
        ValueError: if they are too small, or, with valid convolutions, if a pooling would meet an
            odd size.
    """
    if padded:
        return require_size(images, 2**depth)
    for size in images.shape[2:]:
        if not valid_output_size(size, depth):
            fits = next(n for n in itertools.count(size) if valid_output_size(n, depth))
            raise ValueError(
                f"valid convolutions need an even size at every pooling: {size} pixels do not "
                f"fit, the next size that does is {fits}"
            )


def valid_output_size(size: int, depth: int = 4) -> int:
    """Pixels that valid convolutions leave of ``size``; 0 if a pooling would meet an odd size.

    Example:
        >>> valid_output_size(572), valid_output_size(571)
        (388, 0)
    """
    for _ in range(depth):
        size -= 4
        if size % 2:
            return 0
        size //= 2
    size -= 4
    for _ in range(depth):
        size = 2 * size - 4
    return max(size, 0)


def unet_valid(
    num_classes: int, *, in_channels: int = 1, base_width: int = 64, depth: int = 4
) -> UNet:
    """The network of the paper's figure 1: valid convolutions, 572 x 572 -> 388 x 388.

    To segment a whole image, mirror its border and predict tile by tile (overlap-tile strategy).

    Example:
        >>> unet_valid(2, base_width=4)(torch.zeros(1, 1, 572, 572)).shape
        torch.Size([1, 2, 388, 388])
    """
    return UNet(
        num_classes,
        in_channels=in_channels,
        base_width=base_width,
        depth=depth,
        padded=False,
        batch_norm=False,
        dropout=0.5,
    )
