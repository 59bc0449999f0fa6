"""FPN, Lin et al., CVPR 2017 (arXiv:1612.03144); semantic FPN, Kirillov et al., CVPR 2019."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures
from segedu.models.blocks import resize


class FeaturePyramid(nn.Module):
    """Maps of several strides, made equally wide and given the meaning of the coarser ones.

    Faithful (figure 3): a 1x1 convolution on each map, the coarser result added after nearest
    upsampling, a 3x3 convolution on each sum; biases, no normalisation, no ReLU. The names are
    torchvision's, so the weights of its ``FeaturePyramidNetwork`` load.

    Args:
        in_channels: channels of the maps, finest first.
        out_channels: channels of every level.
        extra_level: append a level of half the size (every second pixel of the last), as detectors
            want.
        upsample: mode of the upsampling; "nearest" is the paper's.
        top_down: add the coarser results; if False, each level knows its own map only (table 1d
            of the paper).

    Example:
        >>> import torch
        >>> maps = [torch.zeros(1, 8, 32, 32), torch.zeros(1, 16, 16, 16)]
        >>> [tuple(level.shape) for level in FeaturePyramid([8, 16], 4, extra_level=True)(maps)]
        [(1, 4, 32, 32), (1, 4, 16, 16), (1, 4, 8, 8)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        extra_level: bool = False,
        *,
        upsample: str = "nearest",
        top_down: bool = True,
    ) -> None:
        super().__init__()
        self.extra_level, self.upsample, self.top_down = extra_level, upsample, top_down
        self.inner_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, out_channels, 1)) for channels in in_channels
        )
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(out_channels, out_channels, 3, padding=1)) for _ in in_channels
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, C_i, h_i, w_i), finest first -> maps (N, out_channels, h_i, w_i)."""
        lateral = [block(x) for block, x in zip(self.inner_blocks, features, strict=True)]
        if self.top_down:
            for i in range(len(lateral) - 2, -1, -1):  # from the coarsest but one
                size = lateral[i].shape[-2:]
                lateral[i] = lateral[i] + F.interpolate(lateral[i + 1], size, mode=self.upsample)
        levels = [block(x) for block, x in zip(self.layer_blocks, lateral, strict=True)]
        if self.extra_level:
            levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        return levels


class SemanticBranch(nn.Module):
    """Every level brought to stride 4 in steps of 2, then summed (semantic FPN, figure 3).

    A step is a 3x3 convolution, group normalisation, ReLU and bilinear upsampling by 2: three for
    stride 32, two for 16, one for 8, and one without upsampling for stride 4. A group of the
    normalisation has 4 channels.

    Args:
        in_channels: channels of each level.
        width: channels of the sum, a multiple of 4; 128 is the paper's.
        levels: number of levels.

    Raises:
        ValueError: a width that is no multiple of 4.
    """

    def __init__(self, in_channels: int, width: int = 128, levels: int = 4) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise ValueError(f"width must be a multiple of 4 (channels to a group), got {width}")

        def step(channels: int) -> nn.Sequential:
            conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            return nn.Sequential(conv, nn.GroupNorm(width // 4, width), nn.ReLU(inplace=True))

        self.levels = nn.ModuleList(
            nn.ModuleList(step(width if i else in_channels) for i in range(max(level, 1)))
            for level in range(levels)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (N, C, h_i, w_i), finest first -> (N, width, h_0, w_0)."""
        total = self.levels[0][0](levels[0])  # (N, width, H/4, W/4)
        for index in range(1, len(self.levels)):
            x = levels[index]
            # the sizes on the way are those of the levels in between, so that odd ones fit too
            for step, like in zip(self.levels[index], reversed(levels[:index]), strict=True):
                x = resize(step(x), like)
            total = total + x
        return total


class SemanticFPN(nn.Module):
    """Semantic FPN (Kirillov et al., CVPR 2019, arXiv:1901.02446, section 3): ResNet, FPN, one sum.

    Parameters: 28,478,933 with 21 classes.

    Args:
        num_classes: classes, including the background.
        top_down: as of `FeaturePyramid`.
        **resnet: ``depth``, ``in_channels``, ``base_width``, ``layers`` and ``weights``, see
            `segedu.models.backbones.ResNetFeatures`. ``base_width`` must be even:
            the pyramid has ``4 * base_width`` channels, the branch half as many.

    Example:
        >>> import torch
        >>> model = SemanticFPN(5, base_width=4, layers=(1, 1, 1, 1)).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(self, num_classes: int, *, top_down: bool = True, **resnet: Any) -> None:
        super().__init__()
        self.backbone = ResNetFeatures(**resnet)
        w = self.backbone.width
        if w % 2:
            raise ValueError(f"base_width must be even, got {w}")
        self.fpn = FeaturePyramid(self.backbone.channels, 4 * w, top_down=top_down)
        self.branch = SemanticBranch(4 * w, 2 * w)
        self.classifier = nn.Conv2d(2 * w, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W)."""
        levels = self.fpn(self.backbone(images))  # (N, 256, H/4, W/4), ..., (N, 256, H/32, W/32)
        return resize(self.classifier(self.branch(levels)), images)  # (N, C, H, W)
