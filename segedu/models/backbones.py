"""Torchvision's classifiers, adapted to give feature maps: random weights unless asked otherwise.

Segmentation needs three things that a classifier does not offer: the maps of several stages,
a smaller output stride (strides replaced by dilation), and narrow versions that train on a CPU.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import (
    DenseNet,
    ResNet,
    VisionTransformer,
    WeightsEnum,
    mobilenet_v3_large,
)
from torchvision.models.resnet import BasicBlock, Bottleneck

from segedu.models.blocks import conv_bn_relu

Weights = WeightsEnum | str | Path | None

VGG16_STAGES = (
    (1, 2),
    (2, 2),
    (4, 3),
    (8, 3),
    (8, 3),
)  # (width multiplier, convolutions) per stage
RESNET_LAYERS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def read_weights(weights: WeightsEnum | str | Path) -> dict[str, Tensor]:
    """Read a state dict from a torchvision weights enum (may download) or from a local file.

    Args:
        weights: a member such as ``ResNet50_Weights.IMAGENET1K_V2``, or the path of a file
            written by ``torch.save(model.state_dict(), path)``.

    Raises:
        TypeError: for anything else.
        FileNotFoundError: if the local file does not exist.
        RuntimeError: if the weights must be downloaded and the network cannot be reached.
    """
    if isinstance(weights, WeightsEnum):
        try:
            return weights.get_state_dict(progress=False, check_hash=True)
        except (URLError, TimeoutError) as error:
            raise RuntimeError(
                f"weights={weights} must be downloaded from {weights.url}, which failed ({error}); "
                "fetch the file elsewhere and pass its path, or use weights=None (random)"
            ) from error
    if not isinstance(weights, str | Path):
        raise TypeError(
            f"weights must be a torchvision weights enum, a path or None, got {weights!r}"
        )
    if not Path(weights).is_file():
        raise FileNotFoundError(f"weights: no file at {str(weights)!r}")
    return torch.load(weights, map_location="cpu", weights_only=True)


def load_weights(module: nn.Module, weights: Weights, drop: tuple[str, ...] = ()) -> None:
    """Load ``weights`` into ``module`` by name, ignoring entries that start with ``drop``.

    Args:
        module: receives the tensors; every tensor it has must be present.
        weights: see `read_weights`; None does nothing.
        drop: prefixes of entries that the module does not have (a classifier's last layer).
    """
    if weights is not None:
        state = read_weights(weights)
        module.load_state_dict({k: v for k, v in state.items() if not k.startswith(drop)})


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
        self._base_width = base_width
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
        return super()._make_layer(block, planes * self._base_width // 64, blocks, stride, dilate)

    def stem(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> (N, base_width (twice that if deep), H/4, W/4)."""
        return self.maxpool(self.relu(self.bn1(self.conv1(images))))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> the outputs of ``layer1`` (stride 4) to ``layer4``."""
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


def vgg16_stages(
    in_channels: int = 3, base_width: int = 64, batch_norm: bool = False
) -> nn.ModuleList:
    """The 13 convolutions of VGG-16 (Simonyan & Zisserman, 2015) as five stages without pooling.

    Args:
        in_channels: channels of the images.
        base_width: width of the first stage; 64 is the paper's (64-128-256-512-512).
        batch_norm: a batch normalisation between each convolution and its ReLU.
    """
    stages, channels = nn.ModuleList(), in_channels
    for multiplier, convolutions in VGG16_STAGES:
        stage = nn.Sequential()
        for _ in range(convolutions):
            width = base_width * multiplier
            stage.append(nn.Conv2d(channels, width, 3, padding=1))
            nn.init.kaiming_normal_(stage[-1].weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(stage[-1].bias)
            if batch_norm:
                stage.append(nn.BatchNorm2d(width))
            stage.append(nn.ReLU(inplace=True))
            channels = width
        stages.append(stage)
    return stages


def load_vgg16(stages: nn.ModuleList, weights: WeightsEnum | str | Path) -> dict[str, Tensor]:
    """Fill ``stages`` from torchvision's VGG-16 and return the entries of its classifier.

    The layers come in the same order in both, so tensors are matched by position.
    """
    state = read_weights(weights)
    features = [value for key, value in state.items() if key.startswith("features.")]
    own = stages.state_dict()
    if [v.shape for v in features] != [v.shape for v in own.values()]:
        raise ValueError(
            "weights do not fit: they need in_channels=3, base_width=64 and the batch_norm "
            "setting that they were trained with"
        )
    stages.load_state_dict(dict(zip(own, features, strict=True)))
    return {key: value for key, value in state.items() if key.startswith("classifier.")}


class MobileNetV3Features(nn.Sequential):
    """MobileNetV3-Large (Howard et al., ICCV 2019) that returns two of its maps.

    The layers keep torchvision's numbers, so that its segmentation checkpoints load. The last
    stage is dilated: output stride 16.

    Args:
        in_channels: channels of the images.
        width_mult: factor on all widths.
        weights: see `read_weights`; needs ``in_channels=3`` and ``width_mult=1``.
    """

    def __init__(
        self, in_channels: int = 3, width_mult: float = 1.0, weights: Weights = None
    ) -> None:
        super().__init__(*mobilenet_v3_large(dilated=True, width_mult=width_mult).features)
        if in_channels != 3:
            first = self[0][0]
            self[0][0] = nn.Conv2d(in_channels, first.out_channels, 3, 2, padding=1, bias=False)
        self.taps = (4, len(self) - 1)  # torchvision's: C2 and the last convolution
        self.channels = tuple(self[tap].out_channels for tap in self.taps)
        if weights is not None:
            state = read_weights(weights)
            prefix = "features."
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            self.load_state_dict(own)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> maps of stride 8 and 16."""
        x, features = images, []
        for index, layer in enumerate(self):
            x = layer(x)
            if index in self.taps:
                features.append(x)
        return features


class DenseNetFeatures(nn.Module):
    """DenseNet (Huang et al., CVPR 2017) that returns the stem and the end of each dense block.

    A block's map is taken after the normalisation and ReLU of the transition that follows it,
    before its 1x1 convolution halves the channels. The layers keep torchvision's names.

    Args:
        in_channels: channels of the images.
        layers: layers of the four dense blocks; (6, 12, 24, 16) is DenseNet-121.
        growth_rate: maps that a layer adds.
        first_width: maps of the stem.
        weights: see `read_weights`; torchvision's need the defaults.
    """

    def __init__(
        self,
        in_channels: int = 3,
        layers: tuple[int, int, int, int] = (6, 12, 24, 16),
        growth_rate: int = 32,
        first_width: int = 64,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        self.features = DenseNet(growth_rate, layers, first_width).features
        if in_channels != 3:
            self.features.conv0 = nn.Conv2d(in_channels, first_width, 7, 2, padding=3, bias=False)
        self.channels = [first_width]
        width = first_width
        for count in layers:
            width += count * growth_rate
            self.channels.append(width)
            width //= 2
        if weights is not None:
            # the published files are older than the names "norm1", "conv1" inside a layer
            state = {
                re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", name): value
                for name, value in read_weights(weights).items()
                if not name.startswith("classifier.")
            }
            self.load_state_dict(state)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> maps of stride 2, 4, 8, 16 and 32."""
        net, features = self.features, []
        x = net.relu0(net.norm0(net.conv0(images)))
        features.append(x)
        x = net.denseblock1(net.pool0(x))
        for transition, block in (
            (net.transition1, net.denseblock2),
            (net.transition2, net.denseblock3),
            (net.transition3, net.denseblock4),
        ):
            x = transition.relu(transition.norm(x))
            features.append(x)
            x = block(transition.pool(transition.conv(x)))
        features.append(net.norm5(x))
        return features


class ViTFeatures(VisionTransformer):
    """Vision transformer (Dosovitskiy et al., ICLR 2021) that returns the maps of chosen layers.

    The layers are torchvision's and keep its names. Images of any size: the border is padded with
    zeros to whole patches, position codes are interpolated from ``image_size``.

    Args:
        layers: number of layers.
        width: channels of a token.
        heads: attention heads per layer.
        taps: indices of the layers whose maps are returned.
        in_channels: channels of the images.
        image_size: size that the position codes are made for, a multiple of ``patch_size``.
        patch_size: pixels a side of a patch.
        weights: see `read_weights`; must be of the same widths, depth and image size.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        taps: Sequence[int],
        *,
        in_channels: int = 3,
        image_size: int = 224,
        patch_size: int = 16,
        weights: Weights = None,
    ) -> None:
        super().__init__(image_size, patch_size, layers, heads, width, 4 * width)
        del self.heads, self.encoder.ln  # each decoder normalises what it takes
        if in_channels != 3:
            self.conv_proj = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)
        self.taps = tuple(taps)
        load_weights(self, weights, drop=("heads.", "encoder.ln."))

    def _positions(self, size: tuple[int, int]) -> Tensor:
        """Position codes of the class token and of h x w patches: (1, 1 + h * w, width)."""
        token, patches = self.encoder.pos_embedding.split([1, self.seq_length - 1], dim=1)
        side = self.image_size // self.patch_size
        if size == (side, side):
            return self.encoder.pos_embedding
        grid = patches.transpose(1, 2).unflatten(2, (side, side))  # (1, width, side, side)
        grid = F.interpolate(grid, size, mode="bilinear")
        return torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> one map (N, width, ceil(H/16), ceil(W/16)) per tap."""
        height, width = images.shape[-2:]
        patch = self.patch_size
        images = F.pad(images, (0, -width % patch, 0, -height % patch))
        x = self.conv_proj(images)  # (N, width, h, w)
        size = tuple(x.shape[-2:])
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        x = self.encoder.dropout(x + self._positions(size))  # (N, 1 + h * w, width)
        features = []
        for index, layer in enumerate(self.encoder.layers):
            x = layer(x)
            if index in self.taps:
                features.append(x[:, 1:].transpose(1, 2).unflatten(2, size))
        return features
