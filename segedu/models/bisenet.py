"""BiSeNet. Yu et al., ECCV 2018 (arXiv:1808.00897)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures, Weights
from segedu.models.blocks import conv_bn, conv_bn_relu, require_two_values, resize


def _gate(module: nn.Sequential, x: Tensor) -> Tensor:
    """The pooled map through a 1x1 convolution, normalised: (N, C, h, w) -> (N, C, 1, 1)."""
    require_two_values(module[1], x.shape[0])
    return module(x.mean(dim=(2, 3), keepdim=True))


class AttentionRefinement(nn.Module):
    """ARM: a 3x3 convolution whose channels are gated by their averages (figure 2b)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv_bn_relu(in_channels, out_channels)
        self.gate = conv_bn(out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, out_channels, h, w)."""
        x = self.conv(x)
        return x * _gate(self.gate, x).sigmoid()


class BiSeNetV1(nn.Module):
    """BiSeNet: a shallow path for detail, a deep one for context, fused with gated channels.

    Faithful: three strided convolutions in the spatial path, ResNet-18 with two attention
    refinements and a global average in the context path, feature fusion, two auxiliary outputs.
    As in CoinCheung/BiSeNet, the gate of the fusion is one convolution with normalisation (the
    paper draws two without), and upsampling inside the context path is nearest.

    Parameters with 21 classes: 13,426,495, the auxiliary heads included. Training needs
    at least two images per batch.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        base_width: width of the spatial path and of the first ResNet stage; 64 is the paper's.
        aux_loss: two more heads on the context path in training.
        weights: of ResNet-18, see `segedu.models.backbones.read_weights`.

    Example:
        >>> BiSeNetV1(5, base_width=8).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        base_width: int = 64,
        aux_loss: bool = True,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        w = base_width
        self.backbone = ResNetFeatures(18, in_channels=in_channels, base_width=w, weights=weights)
        self.refine16 = AttentionRefinement(4 * w, 2 * w)
        self.refine32 = AttentionRefinement(8 * w, 2 * w)
        self.smooth32 = conv_bn_relu(2 * w, 2 * w)
        self.smooth16 = conv_bn_relu(2 * w, 2 * w)
        self.average = conv_bn_relu(8 * w, 2 * w, 1)
        self.spatial = nn.Sequential(
            conv_bn_relu(in_channels, w, 7, stride=2),
            conv_bn_relu(w, w, stride=2),
            conv_bn_relu(w, w, stride=2),
            conv_bn_relu(w, 2 * w, 1),
        )
        self.fuse = conv_bn_relu(4 * w, 4 * w, 1)
        self.fuse_gate = conv_bn(4 * w, 4 * w, 1)
        self.classifier = self._head(4 * w, 4 * w, num_classes)
        self.aux_classifiers = nn.ModuleList(
            self._head(2 * w, w, num_classes) for _ in range(2 if aux_loss else 0)
        )

    @staticmethod
    def _head(in_channels: int, width: int, num_classes: int) -> nn.Sequential:
        return nn.Sequential(conv_bn_relu(in_channels, width), nn.Conv2d(width, num_classes, 1))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> logits (N, C, H, W); in training also those of two more heads."""
        _, x8, x16, x32 = self.backbone(images)  # (N, 128, H/8, W/8) ... (N, 512, H/32, W/32)
        context = self.refine32(x32) + _gate(self.average, x32)  # (N, 128, H/32, W/32)
        context16 = self.smooth32(F.interpolate(context, x16.shape[-2:]))  # (N, 128, H/16, W/16)
        context = self.refine16(x16) + context16
        context8 = self.smooth16(F.interpolate(context, x8.shape[-2:]))  # (N, 128, H/8, W/8)
        fused = self.fuse(torch.cat([self.spatial(images), context8], dim=1))  # (N, 256, H/8, W/8)
        fused = fused + fused * _gate(self.fuse_gate, fused).sigmoid()
        logits = resize(self.classifier(fused), images)  # (N, C, H, W)
        if not (self.training and self.aux_classifiers):
            return logits
        aux = zip(self.aux_classifiers, (context8, context16), strict=True)
        return logits, *(resize(head(x), images) for head, x in aux)
