"""The pieces of YOLACT: pyramid, prototypes, head and anchors."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.fpn import FeaturePyramid
from segedu.ops import BoxCoder, box_convert

ANCHOR_SIZES = (24 / 550, 48 / 550, 96 / 550, 192 / 550, 384 / 550)  # of P3 to P7
ASPECT_RATIOS = (1.0, 0.5, 2.0)
CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))  # SSD's variances 0.1 and 0.2


class Pyramid(nn.Module):
    """P3 to P7 (section 4): an FPN on C3 to C5 and two convolutions of stride 2 on top of it.

    Different from Lin et al., as in the authors' code: bilinear upsampling, and a ReLU after each
    3x3 convolution of the FPN (none after the two on top).
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.fpn = FeaturePyramid(in_channels, channels, upsample="bilinear")
        self.downsample = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(2)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps of stride 8, 16 and 32 -> maps (N, channels, h, w) of stride 8, ..., 128."""
        levels = [F.relu(level) for level in self.fpn(features)]
        for conv in self.downsample:
            levels.append(conv(levels[-1]))
        return levels


class ProtoNet(nn.Sequential):
    """Prototype masks (section 3.1): P3 (N, C, h, w) -> (N, prototypes, 2h, 2w).

    The last ReLU keeps them at or above zero but unbounded: a prototype may be very sure.
    """

    def __init__(self, channels: int, prototypes: int) -> None:
        def conv() -> list[nn.Module]:
            return [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]

        upsample = nn.Upsample(scale_factor=2, mode="bilinear")
        last = nn.Conv2d(channels, prototypes, 1)
        super().__init__(*conv(), *conv(), *conv(), upsample, *conv(), last, nn.ReLU(inplace=True))


class Head(nn.Module):
    """Class scores, box offsets and mask coefficients of every anchor (section 3.2).

    One head for all levels, three anchors at a place. tanh lets a detection take a prototype away.
    """

    def __init__(self, channels: int, num_classes: int, prototypes: int) -> None:
        super().__init__()
        self.widths = (4, num_classes, prototypes)
        self.shared = nn.Conv2d(channels, channels, 3, padding=1)
        self.box, self.score, self.coefficient = (
            nn.Conv2d(channels, len(ASPECT_RATIOS) * width, 3, padding=1) for width in self.widths
        )

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps (N, C, h_i, w_i) -> (N, A, 4), (N, A, num_classes), (N, A, prototypes)."""
        levels = [F.relu(self.shared(level)) for level in levels]
        boxes, scores, coefficients = (
            torch.cat([_per_anchor(conv(level), width) for level in levels], dim=1)
            for conv, width in zip(
                (self.box, self.score, self.coefficient), self.widths, strict=True
            )
        )
        return boxes, scores, coefficients.tanh()

    def renew_scores(self, num_classes: int) -> None:
        """Exchange the layer of the class scores for a new one."""
        old, self.widths = self.score, (self.widths[0], num_classes, self.widths[2])
        channels = len(ASPECT_RATIOS) * num_classes
        self.score = nn.Conv2d(old.in_channels, channels, 3, padding=1).to(old.weight)


def _per_anchor(x: Tensor, width: int) -> Tensor:
    """(N, 3 * width, h, w) -> (N, h * w * 3, width), row by row, the three of a place together."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, width)


def square_anchors(grids: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """Anchors at the centres of the cells of each level's grid (h, w): xyxy (A, 4), image = [0, 1].

    Faithful to the authors' code, not to the paper: widths are ``size * sqrt(ratio)``, but heights
    are the same (a slip that the published weights are used to), so the "aspect ratios" 1, 1/2 and
    2 are three sizes. In the dtype and on the device of ``like``.
    """
    levels = []
    for grid, size in zip(grids, ANCHOR_SIZES, strict=True):
        y, x = ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in grid)
        side = size * like.new_tensor(ASPECT_RATIOS).sqrt()  # (3,)
        y, x, side = torch.broadcast_tensors(y[:, None, None], x[:, None], side)  # (h, w, 3)
        levels.append(torch.stack((x, y, side, side), dim=-1).reshape(-1, 4))
    return box_convert(torch.cat(levels), "cxcywh", "xyxy")


class Output(NamedTuple):
    """What the network says of N images with A anchors."""

    boxes: Tensor  #: (N, A, 4), offsets from the anchors
    scores: Tensor  #: (N, A, num_classes), logits, background first
    coefficients: Tensor  #: (N, A, K) in (-1, 1)
    prototypes: Tensor  #: (N, K, h, w), >= 0
    semantic: Tensor  #: (N, num_classes - 1, h / 2, w / 2), logits


def assemble(prototypes: Tensor, coefficients: Tensor) -> Tensor:
    """Add prototypes (K, h, w) up by coefficients (P, K) -> (P, h, w), logits (section 3.3)."""
    return torch.einsum("pk,khw->phw", coefficients, prototypes)


def edges(like: Tensor, size: tuple[int, int]) -> Tensor:
    """(W, H, W, H), what a box in fractions of an image of ``size`` (H, W) is multiplied by."""
    height, width = size
    return like.new_tensor([width, height, width, height])
