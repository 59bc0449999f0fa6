"""3-D U-Net. Çiçek et al., MICCAI 2016 (arXiv:1606.06650), and the plain U-Net of nnU-Net.

Both are written once for images (N, C, H, W) and volumes (N, C, D, H, W): ``dimensions`` picks
the layers, everything else is the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segedu.models.blocks import center_crop
from segedu.models.unet import check_size


def layer(name: str, dimensions: int) -> type[nn.Module]:
    """The layer ``name`` of ``torch.nn`` for so many spatial dimensions, such as ``Conv3d``.

    Raises:
        ValueError: if ``dimensions`` is neither 2 nor 3.
    """
    if dimensions not in (2, 3):
        raise ValueError(f"dimensions must be 2 or 3, got {dimensions!r}")
    return getattr(nn, f"{name}{dimensions}d")


def initialise(module: nn.Module, slope: float = 0.0) -> None:
    """He's initialisation of every convolution for a (leaky) ReLU with this ``slope``."""
    for part in module.modules():
        if isinstance(part, nn.modules.conv._ConvNd):
            nn.init.kaiming_normal_(part.weight, a=slope)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class UNet3d(nn.Module):
    """The 3-D U-Net: a U-Net of volumes that doubles its channels before it pools.

    Faithful: per level two 3x3x3 convolutions with batch normalisation and ReLU, of which the
    second doubles the channels, so that pooling meets no bottleneck (section 2); 2x2x2 max pooling;
    2x2x2 up-convolutions that keep the channels; three poolings. ``padded=False`` is the paper's
    network of valid convolutions, which turns 132 x 132 x 116 voxels into 44 x 44 x 28.
    Different by default: the convolutions are padded, so the output covers the input and any size
    works, from ``2 ** depth`` voxels on.

    Parameters: 19,074,627 with 3 channels and 3 classes. The paper's 19,069,955 are those of the
    convolutions (no biases in the up-convolutions); scale and shift of the batch normalisations
    make the other 4,672.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the volumes.
        base_width: channels of the first convolution.
        depth: number of poolings.
        dimensions: 3 for volumes, 2 for images.
        padded: pad the convolutions; if False, the size must fit (`forward` says which do).

    Example:
        >>> model = UNet3d(num_classes=3, base_width=2).eval()
        >>> model(torch.zeros(1, 1, 17, 24, 9)).shape
        torch.Size([1, 3, 17, 24, 9])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 1,
        base_width: int = 32,
        depth: int = 3,
        dimensions: int = 3,
        padded: bool = True,
    ) -> None:
        super().__init__()
        self.padded = padded

        def two_convs(*channels: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for inputs, outputs in zip(channels, channels[1:], strict=False):
                conv = layer("Conv", dimensions)(inputs, outputs, 3, padding=int(padded))
                norm = layer("BatchNorm", dimensions)(outputs)
                layers += [conv, norm, nn.ReLU(inplace=True)]
            return nn.Sequential(*layers)

        widths = [base_width * 2**level for level in range(depth + 2)]  # 32, 64, 128, 256, 512
        self.encoder = nn.ModuleList([two_convs(in_channels, *widths[:2])])
        for width in widths[1:-1]:
            self.encoder.append(two_convs(width, width, 2 * width))
        self.pool = layer("MaxPool", dimensions)(2)
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        for width in widths[-1:1:-1]:  # 512, 256, 128
            up = layer("ConvTranspose", dimensions)(width, width, 2, stride=2, bias=False)
            self.ups.append(up)
            self.decoder.append(two_convs(width // 2 + width, width // 2, width // 2))
        self.classifier = layer("Conv", dimensions)(widths[1], num_classes, 1)
        initialise(self)

    def forward(self, volumes: Tensor) -> Tensor:
        """Volumes (N, 1, D, H, W) -> logits (N, C, D, H, W), smaller if the convolutions are valid.

        Raises:
            ValueError: if the volume is too small for the poolings, or, with valid convolutions, if
                a pooling would meet an odd size.
        """
        check_size(volumes, len(self.decoder), self.padded)
        x, skips = volumes, []
        for level in self.encoder[:-1]:
            x = level(x)
            skips.append(x)  # (N, 2w, D, H, W), (N, 4w, D/2, H/2, W/2), ...
            x = self.pool(x)
        x = self.encoder[-1](x)  # (N, 16w, D/8, H/8, W/8)
        for up, level, skip in zip(self.ups, self.decoder, reversed(skips), strict=True):
            x = up(x)  # (N, 16w, ~D/4, ~H/4, ~W/4)
            if self.padded:
                x = center_crop(x, skip.shape)  # an odd size lost a voxel in pooling: restore it
            else:
                skip = center_crop(skip, x.shape)
            x = level(torch.cat([skip, x], dim=1))  # (N, 8w, D/4, H/4, W/4), ...
        return self.classifier(x)  # (N, C, D, H, W)


class PlainUNet(nn.Module):
    """The plain U-Net that nnU-Net configures (Isensee et al., Nature Methods 2021).

    Two 3x3x3 convolutions per stage, each with instance normalisation and leaky ReLU (slope 0.01);
    a stride of 2 instead of pooling; 2x2x2 up-convolutions; a 1x1x1 classifier on every stage of
    the decoder for deep supervision. Width doubles from stage to stage up to ``max_width`` (320 in
    3-D, 512 in 2-D). With these defaults it is ``PlainConvUNet`` of nnU-Net v2.
    Different: any input size works; nnU-Net plans stages, strides and kernels for each data set,
    here they are the same along all axes, so volumes of thick slices should be resampled first.

    Parameters with 1 channel and 2 classes: 31,195,594 (3-D, 6 stages), 46,324,558 (2-D, 8
    stages). The biases before the normalisations, which these cancel, are among them, as in
    nnU-Net.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the volumes.
        base_width: channels of the first stage.
        stages: resolutions, the full one included.
        max_width: most channels of a stage.
        dimensions: 3 for volumes, 2 for images.
        deep_supervision: in training also return the logits of the lower resolutions; if False,
            their classifiers do not exist.

    Example:
        >>> model = PlainUNet(num_classes=2, base_width=4, stages=3)
        >>> [tuple(logits.shape) for logits in model(torch.zeros(1, 1, 16, 20, 12))]
        [(1, 2, 16, 20, 12), (1, 2, 8, 10, 6)]
        >>> model.eval()(torch.zeros(1, 1, 17, 20, 9)).shape
        torch.Size([1, 2, 17, 20, 9])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 1,
        base_width: int = 32,
        stages: int = 6,
        max_width: int | None = None,
        dimensions: int = 3,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        if stages < 2:
            raise ValueError(f"stages must be at least 2, got {stages}")
        if max_width is None:
            max_width = 320 if dimensions == 3 else 512
        self.deep_supervision = deep_supervision

        def two_convs(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels, step in ((inputs, stride), (outputs, 1)):
                conv = layer("Conv", dimensions)(channels, outputs, 3, step, padding=1)
                norm = layer("InstanceNorm", dimensions)(outputs, affine=True)
                layers += [conv, norm, nn.LeakyReLU(0.01, inplace=True)]
            return nn.Sequential(*layers)

        widths = [min(base_width * 2**stage, max_width) for stage in range(stages)]
        self.encoder = nn.ModuleList([two_convs(in_channels, widths[0])])
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            self.encoder.append(two_convs(inputs, outputs, stride=2))
        self.ups, self.decoder, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for inputs, outputs in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.ups.append(layer("ConvTranspose", dimensions)(inputs, outputs, 2, stride=2))
            self.decoder.append(two_convs(2 * outputs, outputs))
            if deep_supervision or len(self.decoder) == stages - 1:
                self.heads.append(layer("Conv", dimensions)(outputs, num_classes, 1))
        initialise(self, slope=0.01)

    def forward(self, volumes: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Volumes (N, 1, D, H, W) -> logits (N, C, D, H, W).

        In training with deep supervision a tuple: those of the full resolution first, then
        (N, C, D/2, H/2, W/2), ... (`segedu.losses.AuxiliaryLoss` compares them with full targets).

        Raises:
            ValueError: if the last stage would see a single voxel, which instance normalisation
                always maps to zero.
        """
        self._check_size(volumes.shape[2:])
        x, skips = volumes, []
        for stage in self.encoder:
            x = stage(x)  # (N, w, D, H, W), (N, 2w, D/2, H/2, W/2), ...
            skips.append(x)
        outputs = []
        for up, stage, skip in zip(self.ups, self.decoder, skips[-2::-1], strict=True):
            x = center_crop(up(x), skip.shape)  # an odd size was rounded up: cut the surplus voxel
            x = stage(torch.cat([x, skip], dim=1))
            outputs.append(x)
        heads = zip(reversed(self.heads), reversed(outputs), strict=False)
        if self.training and self.deep_supervision:
            return tuple(head(x) for head, x in heads)
        head, x = next(heads)
        return head(x)

    def _check_size(self, size: Sequence[int]) -> None:
        factor = 2 ** (len(self.encoder) - 1)
        if max(size) <= factor:
            raise ValueError(
                f"{len(self.encoder)} stages need more than {factor} voxels along some axis, got "
                f"{' x '.join(map(str, size))}"
            )
