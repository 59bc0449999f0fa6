"""Fully convolutional networks. Long, Shelhamer & Darrell, CVPR 2015 (arXiv:1411.4038)."""

from typing import Any

import torch
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures, Weights, load_vgg16, vgg16_stages
from segedu.models.heads import FCNHead, SegmentationNetwork

# Caffe's crop offsets of the released networks: skips from pool4 and pool3, then the output.
_PAPER_CROPS = {32: (19,), 16: (5, 27), 8: (5, 9, 31)}


def bilinear_kernel(channels: int, size: int) -> Tensor:
    """Weights (channels, channels, size, size) with which a transposed convolution interpolates.

    Each channel is upsampled by itself; stride ``size // 2`` gives bilinear interpolation
    (section 3.3 of the paper).

    Example:
        >>> bilinear_kernel(1, 4)[0, 0, 1]
        tensor([0.1875, 0.5625, 0.5625, 0.1875])
    """
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 else factor - 0.5
    ramp = 1 - (torch.arange(size) - center).abs() / factor  # (size,)
    kernel = torch.zeros(channels, channels, size, size)
    kernel[range(channels), range(channels)] = torch.outer(ramp, ramp)
    return kernel


def _add_cropped(upsampled: Tensor, skip: Tensor, offset: int) -> Tensor:
    """Sum over the region that both maps cover; ``skip`` starts ``offset`` pixels in."""
    height = min(upsampled.shape[-2], skip.shape[-2] - offset)
    width = min(upsampled.shape[-1], skip.shape[-1] - offset)
    skip = skip[..., offset : offset + height, offset : offset + width]
    return upsampled[..., :height, :width] + skip


class FCN(nn.Module):
    """FCN-32s, -16s or -8s on VGG-16: a convolutional classifier, upsampled in one to three steps.

    Faithful: VGG-16 with ceil-mode pooling, its fully connected layers as 7x7 and 1x1
    convolutions with dropout 0.5, 1x1 score layers initialised with zeros, skips from pool4 and
    pool3 added after each upsampling by 2, transposed convolutions that start as bilinear
    interpolation. ``paper_padding=True`` is the released form: 100 pixels of padding at the first
    convolution, none elsewhere, and crops at fixed offsets.
    Different: the default pads each layer so that nothing is cropped but the excess of odd sizes,
    which gives the same receptive fields without a 200-pixel border to compute; batch
    normalisation is offered for training from scratch; all transposed convolutions are learnable
    (the release freezes them and reports no significant difference).

    Parameters: 136,152,917 (32s), 134,815,994 (16s), 134,489,759 (8s) with 21 classes.

    Args:
        num_classes: classes, including the background.
        stride: 32, 16 or 8, the stride of the finest map that is scored.
        in_channels: channels of the images.
        base_width: width of the first VGG stage; 64 is the paper's.
        head_width: width of the two convolutions that were fully connected; 4096 is the paper's.
        batch_norm: batch normalisation in the VGG stages.
        dropout: probability in the head.
        paper_padding: the released form with ``padding=100`` and crops.
        weights: torchvision VGG-16 weights or a local file of them; also fills the head if it has
            the paper's widths.

    Example:
        >>> model = FCN(num_classes=5, stride=8, base_width=4, head_width=16).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        stride: int = 8,
        *,
        in_channels: int = 3,
        base_width: int = 64,
        head_width: int = 4096,
        batch_norm: bool = False,
        dropout: float = 0.5,
        paper_padding: bool = False,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        if stride not in _PAPER_CROPS:
            raise ValueError(f"stride must be 32, 16 or 8, got {stride}")
        self.stages = vgg16_stages(in_channels, base_width, batch_norm)
        pools = {f"pool{n}": nn.MaxPool2d(2, ceil_mode=True) for n in range(1, 6)}
        self.pools = nn.ModuleDict(pools)
        self.head = nn.Sequential(
            nn.Conv2d(8 * base_width, head_width, 7, padding=0 if paper_padding else 3),  # fc6
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(head_width, head_width, 1),  # fc7
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        for layer in (self.head[0], self.head[3]):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

        # one score layer per map that is used: fc7, then pool4, then pool3
        steps = len(_PAPER_CROPS[stride])
        widths = (head_width, 8 * base_width, 4 * base_width)[:steps]
        self.score = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in widths)
        for layer in self.score:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        factors = [2] * (steps - 1) + [stride]
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(
                num_classes,
                num_classes,
                2 * factor,
                stride=factor,
                padding=0 if paper_padding else factor // 2,
                bias=False,
            )
            for factor in factors
        )
        for layer in self.upsample:
            with torch.no_grad():
                layer.weight.copy_(bilinear_kernel(num_classes, layer.kernel_size[0]))

        self.crops = _PAPER_CROPS[stride] if paper_padding else (0,) * steps
        if weights is not None:
            self._load(weights)
        if paper_padding:
            self.stages[0][0].padding = (100, 100)

    def _load(self, weights: Weights) -> None:
        classifier = load_vgg16(self.stages, weights)
        for target, name in ((self.head[0], "classifier.0"), (self.head[3], "classifier.3")):
            weight = classifier[f"{name}.weight"]
            if weight.numel() == target.weight.numel():
                target.weight.data.copy_(weight.view_as(target.weight))
                target.bias.data.copy_(classifier[f"{name}.bias"])

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W); H and W are free."""
        x, pooled = images, []
        for stage, pool in zip(self.stages, self.pools.values(), strict=True):
            x = pool(stage(x))
            pooled.append(x)  # (N, w, H/2, W/2) ... (N, 8w, H/32, W/32)
        scores = self.score[0](self.head(x))  # (N, C, H/32, W/32)
        skips = (pooled[3], pooled[2])  # (N, 8w, H/16, W/16), (N, 4w, H/8, W/8)
        skip_layers = zip(self.upsample, self.score[1:], skips, self.crops, strict=False)
        for upsample, score, skip, offset in skip_layers:
            scores = _add_cropped(upsample(scores), score(skip), offset)  # (N, C, H/16, W/16), ...
        scores = self.upsample[-1](scores)  # (N, C, >= H, >= W)
        offset, (height, width) = self.crops[-1], images.shape[-2:]
        return scores[..., offset : offset + height, offset : offset + width].contiguous()


def fcn_resnet(
    depth: int, num_classes: int, *, aux_loss: bool = False, **resnet: Any
) -> SegmentationNetwork:
    """FCN on a dilated ResNet (output stride 8), equal to torchvision's ``fcn_resnet50/101``.

    Parameters with 21 classes: 32,957,013 (50), 35,322,218 (50 with the auxiliary head),
    54,314,346 (101 with the auxiliary head).

    Args:
        depth: 50 or 101.
        num_classes: classes, including the background.
        aux_loss: a second head on ``layer3``; torchvision's recipe weights its loss by 0.5.
        **resnet: ``in_channels``, ``base_width``, ``layers`` and ``weights``, see
            `segedu.models.backbones.ResNetFeatures`.

    Example:
        >>> model = fcn_resnet(50, num_classes=5, base_width=4, layers=(1, 1, 1, 1)).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """
    backbone = ResNetFeatures(depth, output_stride=8, **resnet)
    classifier = FCNHead(backbone.channels[3], num_classes)
    aux = FCNHead(backbone.channels[2], num_classes) if aux_loss else None
    return SegmentationNetwork(backbone, classifier, aux)
