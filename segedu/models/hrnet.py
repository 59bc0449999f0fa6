"""HRNet. Sun et al., arXiv:1904.04514 (2019); Wang et al., IEEE TPAMI 2020 (arXiv:1908.07919)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from segedu.models.blocks import conv_bn, conv_bn_relu, resize


def _exchange(source: int, target: int, widths: Sequence[int]) -> nn.Module:
    """From branch ``source`` to branch ``target``: 1x1 to go up, strided 3x3 down (figure 3)."""
    if source == target:
        return nn.Identity()
    if source > target:
        return conv_bn(widths[source], widths[target], 1)
    steps = [
        conv_bn_relu(widths[source], widths[source], stride=2) for _ in range(target - source - 1)
    ]
    return nn.Sequential(*steps, conv_bn(widths[source], widths[target], 3, stride=2))


class HighResolutionModule(nn.Module):
    """Parallel branches of basic blocks, then every branch receives the sum of all (section 3)."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width) for _ in range(blocks))) for width in widths
        )
        indices = range(len(widths))
        self.fuse = nn.ModuleList(
            nn.ModuleList(_exchange(source, target, widths) for source in indices)
            for target in indices
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (N, w * 2^i, h / 2^i, w / 2^i) -> maps of the same shapes."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for target, exchanges in zip(maps, self.fuse, strict=True):
            total: Tensor | float = 0.0
            for exchange, x in zip(exchanges, maps, strict=True):
                y = exchange(x)
                if y.shape != target.shape:  # from a coarser branch
                    y = resize(y, target)
                total = total + y
            fused.append(F.relu(total))
        return fused


class Transition(nn.Module):
    """Adapts the branches that exist and opens one of half the size from the coarsest."""

    def __init__(self, before: Sequence[int], after: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Identity() if old == new else conv_bn_relu(old, new)
            for old, new in zip(before, after, strict=False)
        )
        self.branches.append(conv_bn_relu(before[-1], after[-1], stride=2))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """k maps -> k + 1 maps."""
        return [branch(x) for branch, x in zip(self.branches, [*maps, maps[-1]], strict=True)]


class HRNet(nn.Module):
    """HRNetV2: a network that never gives up stride 4 and exchanges with coarser branches.

    Faithful to HRNet-Semantic-Segmentation: a stem of two 3x3 convolutions of stride 2, four
    bottlenecks, stages of 1, 4 and 3 modules with 2, 3 and 4 branches, all maps upsampled to
    stride 4, concatenated and classified by two 1x1 convolutions, the first with a bias before
    its normalisation. Different: the logits are upsampled here, not by the caller.

    Parameters with 21 classes: 9,641,661 (18), 29,547,477 (32), 65,860,821 (48).

    Args:
        num_classes: classes, including the background.
        width: channels of the finest branch, 18, 32 or 48 in the paper; each coarser one has
            twice as many.
        in_channels: channels of the images.
        stem_width: channels of the stem; the bottlenecks give 4 times as many.
        modules: modules in each of the stages with 2, 3 and 4 branches.
        blocks: basic blocks per branch in a module.

    Example:
        >>> model = HRNet(5, width=4, stem_width=8, modules=(1, 1, 1), blocks=1).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 18,
        *,
        in_channels: int = 3,
        stem_width: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn_relu(in_channels, stem_width, stride=2),
            conv_bn_relu(stem_width, stem_width, stride=2),
        )
        wide = 4 * stem_width
        first = Bottleneck(stem_width, stem_width, downsample=conv_bn(stem_width, wide, 1))
        rest = [Bottleneck(wide, stem_width) for _ in range(blocks - 1)]
        self.stage1 = nn.Sequential(first, *rest)
        before, self.stages = [wide], nn.ModuleList()
        for branches, count in enumerate(modules, start=2):
            widths = [width * 2**i for i in range(branches)]
            stage = [HighResolutionModule(widths, blocks) for _ in range(count)]
            self.stages.append(nn.Sequential(Transition(before, widths), *stage))
            before = widths
        self.classifier = nn.Sequential(
            nn.Conv2d(sum(before), sum(before), 1),
            nn.BatchNorm2d(sum(before)),
            nn.ReLU(inplace=True),
            nn.Conv2d(sum(before), num_classes, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W)."""
        maps = [self.stage1(self.stem(images))]  # (N, 256, H/4, W/4)
        for stage in self.stages:
            maps = stage(maps)  # (N, w, H/4, W/4), (N, 2w, H/8, W/8), ...
        finest = maps[0]
        x = torch.cat([finest, *(resize(x, finest) for x in maps[1:])], dim=1)
        return resize(self.classifier(x), images)  # (N, C, H, W)
