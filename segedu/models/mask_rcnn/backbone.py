"""A ResNet whose four maps become five levels of one width; normalisation that can stand still."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segedu.models.attention import SqueezeExcitation
from segedu.models.backbones import ResNetFeatures
from segedu.models.fpn import FeaturePyramid

# from the deepest on, as torchvision counts its ``trainable_backbone_layers``
STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1", "bn1")


class ResNetFPN(nn.Module):
    """ResNet and feature pyramid with a fifth level of stride 64, for the largest anchors.

    Args:
        channels: of every level.
        attention: let each level weigh its channels by what the image shows, with weights of its
            own (squeeze and excitation). Not in any of the papers here.
        **resnet: see `segedu.models.backbones.ResNetFeatures`.
    """

    def __init__(self, channels: int = 256, attention: bool = False, **resnet: Any) -> None:
        super().__init__()
        self.body = ResNetFeatures(**resnet)
        self.fpn = FeaturePyramid(self.body.channels, channels, extra_level=True)
        self.gates = nn.ModuleList(
            SqueezeExcitation(channels) if attention else nn.Identity() for _ in range(5)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> levels (N, channels, h, w) of strides 4, 8, 16, 32 and 64."""
        levels = self.fpn(self.body(images))
        return [gate(level) for gate, level in zip(self.gates, levels, strict=True)]

    def train_stages(self, count: int) -> None:
        """Let only the last ``count`` of the ResNet's five parts learn, the pyramid always.

        Raises:
            ValueError: ``count`` is not 0 to 5.
        """
        if count not in range(6):
            raise ValueError(f"trainable_backbone_layers must be 0 to 5, got {count}")
        trained = STAGES[:count] if count < 5 else STAGES
        for name, parameter in self.body.named_parameters():
            parameter.requires_grad_(name.startswith(trained))


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation with statistics and weights that stay: detectors see 2 images at a time.

    Args:
        channels: of the maps.
        eps: added to the variance; 0 for torchvision's COCO weights, which were trained so.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            self.register_buffer(name, torch.full((channels,), float(value)))
        self.register_load_state_dict_pre_hook(_forget_batches)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()  # (C,)
        bias = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + bias[:, None, None]


def _forget_batches(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    state.pop(f"{prefix}num_batches_tracked", None)  # which batch normalisation counts


def freeze_batch_norms(module: nn.Module, eps: float = 1e-5) -> None:
    """Put a `FrozenBatchNorm2d` with the same values in place of every batch normalisation."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps)
            frozen.load_state_dict(child.state_dict())
            setattr(module, name, frozen)
        else:
            freeze_batch_norms(child, eps)
