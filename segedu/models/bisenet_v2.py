"""BiSeNet V2. Yu et al., IJCV 2021 (arXiv:2004.02147)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.blocks import conv_bn, conv_bn_relu, require_two_values, resize


class Stem(nn.Module):
    """A strided convolution, then convolutions beside pooling, concatenated (figure 4a)."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = conv_bn_relu(in_channels, width, stride=2)
        self.left = nn.Sequential(
            conv_bn_relu(width, width // 2, 1), conv_bn_relu(width // 2, width, stride=2)
        )
        self.right = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse = conv_bn_relu(2 * width, width)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 16, H/4, W/4)."""
        x = self.conv(images)
        return self.fuse(torch.cat([self.left(x), self.right(x)], dim=1))


class GatherExpansion(nn.Module):
    """3x3 convolution, depthwise expansion by 6, projection, shortcut (figure 5)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        wide = 6 * in_channels
        expand = conv_bn(in_channels, wide, stride=stride, groups=in_channels)
        if stride == 2:
            expand.extend(conv_bn(wide, wide, groups=wide))
        self.layers = nn.Sequential(
            conv_bn_relu(in_channels, in_channels),
            *expand,
            nn.ReLU(inplace=True),
            *conv_bn(wide, out_channels, 1),
        )
        self.shortcut = nn.Sequential()
        if stride == 2:
            self.shortcut.extend(conv_bn(in_channels, in_channels, stride=2, groups=in_channels))
            self.shortcut.extend(conv_bn(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, out_channels, h/stride, w/stride)."""
        return F.relu(self.layers(x) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """The average of the map added to each of its positions (figure 4b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = conv_bn_relu(channels, channels, 1)
        self.last = conv_bn_relu(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        require_two_values(self.norm, x.shape[0])
        return self.last(x + self.conv(self.norm(x.mean(dim=(2, 3), keepdim=True))))


class BilateralGuidedAggregation(nn.Module):
    """Each branch gates the other at its own resolution, then they are summed (figure 6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def separable() -> nn.Sequential:
            pointwise = nn.Conv2d(channels, channels, 1, bias=False)
            return nn.Sequential(*conv_bn(channels, channels, groups=channels), pointwise)

        self.detail = separable()
        self.detail_down = nn.Sequential(
            *conv_bn(channels, channels, stride=2), nn.AvgPool2d(3, stride=2, padding=1)
        )
        self.semantic_up = conv_bn(channels, channels)
        self.semantic = separable()
        self.conv = conv_bn_relu(channels, channels)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """(N, C, h, w) and (N, C, h/4, w/4) -> (N, C, h, w)."""
        size = detail.shape[-2:]
        fine = self.detail(detail) * F.interpolate(self.semantic_up(semantic), size).sigmoid()
        coarse = self.detail_down(detail) * self.semantic(semantic).sigmoid()
        return self.conv(fine + F.interpolate(coarse, size))


class AuxiliaryHead(nn.Module):
    """A booster of the semantic branch: convolution, nearest upsampling, convolution, scores."""

    def __init__(self, in_channels: int, stride: int, num_classes: int, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn_relu(in_channels, width),
            nn.Dropout(0.1),
            nn.Upsample(scale_factor=2),
            conv_bn_relu(width, stride**2),
            nn.Conv2d(stride**2, num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, K, 2h, 2w)."""
        return self.layers(x)


class BiSeNetV2(nn.Module):
    """BiSeNet V2: a wide shallow detail branch and a thin deep semantic branch, no backbone.

    Faithful to table 1 of the paper; as in CoinCheung/BiSeNet there is a ReLU after the depthwise
    expansion and after the aggregation, and the head has 1024 channels.

    Parameters with 21 classes: 5,236,265, the auxiliary heads included. Training needs at
    least two images per batch.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        base_width: width of the detail branch; 64 is the paper's. The semantic branch starts with
            a quarter of it.
        head_width: channels of the convolution before the scores.
        aux_loss: four more heads on the semantic branch in training.

    Example:
        >>> BiSeNetV2(5, base_width=16, head_width=32).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        base_width: int = 64,
        head_width: int = 1024,
        aux_loss: bool = True,
    ) -> None:
        super().__init__()
        w = base_width
        plan = ((in_channels, w, 2), (w, w, 3), (w, 2 * w, 3))  # input, output, convolutions
        self.detail = nn.Sequential()
        for channels, width, count in plan:
            self.detail.append(conv_bn_relu(channels, width, stride=2))
            self.detail.extend(conv_bn_relu(width, width) for _ in range(count - 1))
        self.stages = nn.ModuleList([Stem(in_channels, w // 4)])
        for channels, width, count in ((w // 4, w // 2, 2), (w // 2, w, 2), (w, 2 * w, 4)):
            rest = (GatherExpansion(width, width, 1) for _ in range(count - 1))
            self.stages.append(nn.Sequential(GatherExpansion(channels, width, 2), *rest))
        self.context = ContextEmbedding(2 * w)
        self.aggregation = BilateralGuidedAggregation(2 * w)
        self.classifier = nn.Sequential(
            conv_bn_relu(2 * w, head_width), nn.Dropout(0.1), nn.Conv2d(head_width, num_classes, 1)
        )
        widths = ((w // 4, 4), (w // 2, 8), (w, 16), (2 * w, 32)) if aux_loss else ()
        self.aux_classifiers = nn.ModuleList(
            AuxiliaryHead(channels, stride, num_classes, 2 * w) for channels, stride in widths
        )

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> logits (N, C, H, W); in training also those of four more heads."""
        x, maps = images, []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)  # (N, 16, H/4, W/4), (N, 32, H/8, W/8), (N, 64, H/16, W/16), ...
        semantic = self.context(x)  # (N, 128, H/32, W/32)
        detail = self.detail(images)  # (N, 128, H/8, W/8)
        logits = resize(self.classifier(self.aggregation(detail, semantic)), images)
        if not (self.training and self.aux_classifiers):
            return logits
        aux = zip(self.aux_classifiers, maps, strict=True)
        return logits, *(resize(head(x), images) for head, x in aux)
