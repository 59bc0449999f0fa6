"""A dilated backbone with heads, as torchvision builds FCN and DeepLabv3, and PSPNet here."""

from torch import Tensor, nn

from segedu.models.blocks import resize


class FCNHead(nn.Sequential):
    """Torchvision's head: 3x3 convolution to a quarter of the width, dropout 0.1, 1x1 scores."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        width = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(width, num_classes, 1),
        )


class SegmentationNetwork(nn.Module):
    """A dilated backbone, a classifier on its last map and, in training, one on the map before.

    The names ``backbone``, ``classifier`` and ``aux_classifier`` are torchvision's, so its
    checkpoints load unrenamed; the output is a tensor, not a dictionary.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classifier: nn.Module,
        aux_classifier: nn.Module | None = None,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = aux_classifier

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) -> logits (N, C, H, W), in training with an auxiliary head a pair."""
        *_, middle, last = self.backbone(images)  # (N, 1024, H/8, W/8), (N, 2048, H/8, W/8)
        logits = resize(self.classifier(last), images, self.align_corners)  # (N, C, H, W)
        if self.training and self.aux_classifier is not None:
            return logits, resize(self.aux_classifier(middle), images, self.align_corners)
        return logits
