"""Lite R-ASPP. Howard et al., ICCV 2019 (arXiv:1905.02244), section 6.4."""

from torch import Tensor, nn

from segedu.models.backbones import MobileNetV3Features, Weights
from segedu.models.blocks import conv_bn_relu, resize


class LRASPPHead(nn.Module):
    """One 1x1 branch gated by the pooled image, then scores of a coarse and a fine map summed.

    Args:
        low_channels: channels of the map of stride 8.
        high_channels: channels of the map of stride 16.
        num_classes: classes, including the background.
        width: channels of the branch; 128 is the paper's.
    """

    def __init__(
        self, low_channels: int, high_channels: int, num_classes: int, width: int = 128
    ) -> None:
        super().__init__()
        self.cbr = conv_bn_relu(high_channels, width, 1)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(high_channels, width, 1, bias=False), nn.Sigmoid()
        )
        self.low_classifier = nn.Conv2d(low_channels, num_classes, 1)
        self.high_classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(N, C, h, w) and (N, C', h/2, w/2) -> scores (N, K, h, w)."""
        x = self.cbr(high) * self.scale(high)  # (N, 128, h/2, w/2)
        return self.low_classifier(low) + self.high_classifier(resize(x, low))


class LRASPP(nn.Module):
    """LR-ASPP on MobileNetV3-Large, equal to torchvision's ``lraspp_mobilenet_v3_large``.

    Torchvision's checkpoint loads unrenamed. Different from the paper, as in torchvision: the gate
    pools the whole image instead of 49 x 49 windows.

    Parameters: 3,221,538 with 21 classes.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        width_mult: factor on the widths of the backbone and of the head's 128 channels.
        weights: of MobileNetV3-Large, see `segedu.models.backbones.read_weights`.

    Example:
        >>> import torch
        >>> LRASPP(5, width_mult=0.25).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width_mult: float = 1.0,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        self.backbone = MobileNetV3Features(in_channels, width_mult, weights)
        low, high = self.backbone.channels
        self.classifier = LRASPPHead(low, high, num_classes, int(128 * width_mult))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W)."""
        low, high = self.backbone(images)  # (N, 40, H/8, W/8), (N, 960, H/16, W/16)
        return resize(self.classifier(low, high), images)  # (N, C, H, W)
