"""ResNet. He et al., CVPR 2016 (arXiv:1512.03385)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models import ResNet, WeightsEnum
from torchvision.models.resnet import BasicBlock, Bottleneck

from segedu.models.backbones.weights import Weights, load_weights
from segedu.models.blocks import conv_bn_relu

RESNET_LAYERS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class ResNetFeatures(ResNet):
    """ResNet (He et al., CVPR 2016) that returns the maps of its four stages.

    The parameters keep torchvision's names (``conv1``, ``bn1``, ``layer1`` ... ``layer4``), so its
    checkpoints load. As in torchvision, the stride sits in the 3x3 convolution of a bottleneck.

    Args:
        depth: 18 or 34 (basic blocks), 50, 101 or 152 (bottlenecks).
        in_channels: channels of the images.
        base_width: width of the first stage; 64 is the paper's. The stages have
            4, 8, 16 and 32 times as many output channels (1, 2, 4 and 8 with basic blocks).
        layers: blocks per stage, overrides ``depth`` (for small networks).
        output_stride: 32, 16 or 8; strides of the last stages become dilations (bottlenecks only).
        multi_grid: factors on the dilation of the three blocks of the last stage
            (DeepLabv3, section 3.3), e.g. ``(1, 2, 4)``.
        first_block: dilation of the first block of a dilated stage: ``"previous"`` keeps that of
            the stage before (torchvision), ``"own"`` takes the new one (PSPNet's code).
        deep_stem: three 3x3 convolutions (w-w-2w) in place of the 7x7 one, as in PSPNet's code.
        max_pool: without the pooling after the first convolution all strides are half as large,
            for small images.
        weights: see `read_weights`; torchvision's need ``in_channels=3``, the paper's widths and
            the plain stem.
    """

    def __init__(
        self,
        depth: int = 50,
        *,
        in_channels: int = 3,
        base_width: int = 64,
        layers: Sequence[int] | None = None,
        output_stride: int = 32,
        multi_grid: Sequence[int] | None = None,
        first_block: str = "previous",
        deep_stem: bool = False,
        max_pool: bool = True,
        weights: Weights = None,
    ) -> None:
        if depth not in RESNET_LAYERS:
            raise ValueError(f"depth must be one of {sorted(RESNET_LAYERS)}, got {depth}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        if depth < 50 and (output_stride < 32 or multi_grid is not None):
            raise ValueError(f"only bottlenecks can be dilated: depth must be >= 50, got {depth}")
        if first_block not in ("previous", "own"):
            raise ValueError(f"first_block must be 'previous' or 'own', got {first_block!r}")
        plain = (in_channels, base_width, deep_stem) == (3, 64, False)
        if isinstance(weights, WeightsEnum) and not plain:
            raise ValueError(
                "torchvision's weights need in_channels=3, base_width=64 and deep_stem=False"
            )
        self.width = base_width
        self._stem_width = 2 * base_width if deep_stem else base_width
        block = BasicBlock if depth < 50 else Bottleneck
        super().__init__(block, list(layers or RESNET_LAYERS[depth]))
        del self.avgpool, self.fc
        if deep_stem:
            self.conv1 = nn.Sequential(
                *conv_bn_relu(in_channels, base_width, stride=2),
                *conv_bn_relu(base_width, base_width),
                nn.Conv2d(base_width, 2 * base_width, 3, padding=1, bias=False),
            )
            self.bn1 = nn.BatchNorm2d(2 * base_width)
        elif (in_channels, base_width) != (3, 64):
            self.conv1 = nn.Conv2d(in_channels, base_width, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.bn1 = nn.BatchNorm2d(base_width)
        if not max_pool:
            self.maxpool = nn.Identity()
        self.channels = tuple(base_width * block.expansion * 2**i for i in range(4))

        dilation = 1
        for stage, stride in ((self.layer3, 16), (self.layer4, 32)):
            if output_stride < stride:
                first = dilation if first_block == "previous" else 2 * dilation
                dilation *= 2
                _dilate(stage, [first] + [dilation] * (len(stage) - 1))
        if multi_grid is not None:
            _dilate(self.layer4, [dilation * factor for factor in multi_grid], keep_stride=True)
        load_weights(self, weights, drop=("fc.",))

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        # torchvision fixes the widths at 64, 128, 256, 512; this is the one place that scales them
        if planes == 64:
            self.inplanes = self._stem_width
        return super()._make_layer(block, planes * self.width // 64, blocks, stride, dilate)

    def stem(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> (N, base_width or, if deep, twice that, H/4, W/4)."""
        return self.maxpool(self.relu(self.bn1(self.conv1(images))))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> the outputs of ``layer1`` (stride 4 or 2) to ``layer4``."""
        x, features = self.stem(images), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features


def _dilate(stage: nn.Sequential, dilations: Sequence[int], keep_stride: bool = False) -> None:
    """Give each bottleneck of ``stage`` its dilation; remove the stride unless it is kept."""
    if len(dilations) != len(stage):
        raise ValueError(f"multi_grid needs {len(stage)} factors, got {len(dilations)}")
    for block, dilation in zip(stage, dilations, strict=True):
        block.conv2.dilation = block.conv2.padding = (dilation, dilation)
        if not keep_stride:
            block.conv2.stride = (1, 1)
            if block.downsample is not None:
                block.downsample[0].stride = (1, 1)
