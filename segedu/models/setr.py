"""SETR. Zheng et al., CVPR 2021 (arXiv:2012.15840)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ViTFeatures, Weights
from segedu.models.blocks import ChannelNorm, conv_bn_relu

# layers, channels, heads; the paper uses "large" and "base" (table 1)
SIZES = {
    "tiny": (12, 192, 3),
    "small": (12, 384, 6),
    "base": (12, 768, 12),
    "large": (24, 1024, 16),
}


def _enlarge(factor: int) -> nn.Upsample:
    return nn.Upsample(scale_factor=factor, mode="bilinear")


def _upsampling_head(
    width: int, num_classes: int, kernel_size: int, steps: int, factor: int, channels: int
) -> nn.Sequential:
    """Normalise; ``steps`` times convolve and enlarge by ``factor``; score."""
    layers: list[nn.Module] = [ChannelNorm(width, eps=1e-6)]
    for _ in range(steps):
        layers += [conv_bn_relu(width, channels, kernel_size), _enlarge(factor)]
        width = channels
    return nn.Sequential(*layers, nn.Conv2d(channels, num_classes, 1))


class MultiLevelAggregation(nn.Module):
    """MLA: four maps, summed from the deepest up, each convolved, enlarged by 4, concatenated."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.norms = nn.ModuleList(ChannelNorm(width, eps=1e-6) for _ in range(4))
        self.project = nn.ModuleList(conv_bn_relu(width, channels, 1) for _ in range(4))
        self.smooth = nn.ModuleList(conv_bn_relu(channels, channels) for _ in range(4))
        self.enlarge = nn.ModuleList(
            nn.Sequential(conv_bn_relu(channels, half), conv_bn_relu(half, half), _enlarge(4))
            for _ in range(4)
        )

    def forward(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Four maps (N, D, h, w) -> (N, 4 * channels / 2, 4h, 4w) and the four smoothed maps."""
        total: Tensor | float = 0.0
        streams = []
        levels = zip(self.norms, self.project, features, strict=True)
        for norm, project, x in reversed(list(levels)):
            total = total + project(norm(x))  # (N, 256, h, w)
            streams.append(self.smooth[len(streams)](total))
        enlarged = [layer(x) for layer, x in zip(self.enlarge, streams, strict=True)]
        return torch.cat(enlarged, dim=1), streams


class SETR(nn.Module):
    """SETR: a plain vision transformer as encoder, and one of three decoders.

    ``"naive"``: 1x1 convolution, upsampling. ``"pup"``: progressive upsampling, four times a 3x3
    convolution and a factor of 2 (three times with patches of 8 pixels). ``"mla"``: multi-level
    feature aggregation of four layers.
    Faithful: patches of 16 pixels, layers 10, 15, 20 and 24 of 24 (6, 12, 18 and 24 for MLA),
    auxiliary heads in training. Different: any size works, by padding and by interpolating the
    position codes; the codes are made for 224 pixels, which torchvision's weights are, not 768. The
    authors' PUP has a fourth auxiliary head, on the last layer; here that has the main one alone.

    Parameters with 19 classes and codes for 768 pixels: 306,536,524 (naive), 318,467,148 (PUP),
    310,679,135 (MLA), 1,024 more than in mmsegmentation 1.2: there the projection of the patches
    has no bias unless asked for.

    Args:
        num_classes: classes, including the background.
        decoder: ``"naive"``, ``"pup"`` or ``"mla"``.
        size: ``"tiny"``, ``"small"``, ``"base"`` or ``"large"``.
        layers: how many, 4 or more; those of ``size`` if not given.
        patch_size: pixels a side of a patch, a power of 2 from 4 on; 16 is the paper's.
        in_channels: channels of the images.
        image_size: pixels a side that the position codes are made for.
        channels: width of the decoder; 256 is the paper's.
        aux_loss: heads on the other three layers (on all four with MLA) in training.
        weights: torchvision's ViT of the same size, see `segedu.models.backbones.read_weights`.

    Example:
        >>> model = SETR(5, "pup", size="tiny", channels=16).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        decoder: str = "naive",
        *,
        size: str = "large",
        layers: int | None = None,
        patch_size: int = 16,
        in_channels: int = 3,
        image_size: int = 224,
        channels: int = 256,
        aux_loss: bool = True,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
        if decoder not in ("naive", "pup", "mla"):
            raise ValueError(f"decoder must be 'naive', 'pup' or 'mla', got {decoder!r}")
        if patch_size < 4 or patch_size.bit_count() > 1:
            raise ValueError(f"patch_size must be a power of 2 from 4 on, got {patch_size}")
        if layers is not None and layers < 4:
            raise ValueError(f"layers must be 4 or more, for the decoder reads four, got {layers}")
        all_layers, width, heads = SIZES[size]
        layers = layers or all_layers
        depths = (6, 12, 18, 24) if decoder == "mla" else (10, 15, 20, 24)  # of 24
        taps = [depth * layers // 24 - 1 for depth in depths]
        self.backbone = ViTFeatures(
            layers,
            width,
            heads,
            taps,
            in_channels=in_channels,
            image_size=image_size,
            patch_size=patch_size,
            weights=weights,
        )
        self.aggregate = None
        if decoder == "mla":
            self.aggregate = MultiLevelAggregation(width, channels)
            self.classifier = nn.Conv2d(2 * channels, num_classes, 1)
            aux = [nn.Conv2d(channels, num_classes, 1) for _ in range(4)]
        else:
            doublings = patch_size.bit_length() - 1
            kernel, steps, factor = (1, 1, 4) if decoder == "naive" else (3, doublings, 2)
            self.classifier = _upsampling_head(width, num_classes, kernel, steps, factor, channels)
            steps, factor = (1, 4) if decoder == "naive" else (2, patch_size // 4)
            aux = [
                _upsampling_head(width, num_classes, kernel, steps, factor, channels)
                for _ in range(3)
            ]
        self.aux_classifiers = nn.ModuleList(aux if aux_loss else [])

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> logits (N, C, H, W); in training also those of other layers."""
        features = self.backbone(images)  # 4 x (N, 1024, H/16, W/16)
        if self.aggregate is not None:
            last, streams = self.aggregate(features)  # (N, 512, H/4, W/4), 4 x (N, 256, H/16, W/16)
        else:
            *streams, last = features
        height, width = images.shape[-2:]
        patch = self.backbone.patch_size
        padded = (height + -height % patch, width + -width % patch)

        def finish(scores: Tensor) -> Tensor:
            scores = F.interpolate(scores, padded, mode="bilinear")  # (N, C, >= H, >= W)
            return scores[..., :height, :width]

        logits = finish(self.classifier(last))
        if not (self.training and self.aux_classifiers):
            return logits
        aux = zip(self.aux_classifiers, streams, strict=True)
        return logits, *(finish(head(x)) for head, x in aux)
