"""Semantic segmentation networks, one file per paper: ``get_model(name, num_classes)``.

Every network maps images (N, 3, H, W) to logits (N, C, H, W); one with auxiliary heads returns
``(logits, *aux_logits)`` in training. Weights are random unless a builder is given some.
"""

import difflib
import importlib
from typing import Any, NamedTuple

from torch import nn


class ModelInfo(NamedTuple):
    """What `list_models` says of a network."""

    builder: str  #: ``"file.callable"`` inside this package, imported when first used
    settings: dict[str, Any]  #: what the name fixes
    description: str  #: one line
    paper: str
    year: int
    parameters: int  #: with 21 classes and otherwise the defaults


_FCN = "Fully Convolutional Networks for Semantic Segmentation"
_UNET = "U-Net: Convolutional Networks for Biomedical Image Segmentation"

_MODELS: dict[str, ModelInfo] = {
    "fcn32s_vgg16": ModelInfo(
        "fcn.FCN", {"stride": 32}, "VGG-16, one upsampling by 32", _FCN, 2015, 136_152_917
    ),
    "fcn16s_vgg16": ModelInfo(
        "fcn.FCN", {"stride": 16}, "VGG-16, a skip from pool4", _FCN, 2015, 134_815_994
    ),
    "fcn8s_vgg16": ModelInfo(
        "fcn.FCN", {"stride": 8}, "VGG-16, skips from pool4 and pool3", _FCN, 2015, 134_489_759
    ),
    "fcn_resnet50": ModelInfo(
        "fcn.fcn_resnet", {"depth": 50}, "dilated ResNet-50, stride 8", _FCN, 2015, 32_957_013
    ),
    "fcn_resnet101": ModelInfo(
        "fcn.fcn_resnet", {"depth": 101}, "dilated ResNet-101, stride 8", _FCN, 2015, 51_949_141
    ),
    "unet": ModelInfo(
        "unet.UNet", {}, "padded and batch-normalised, any size", _UNET, 2015, 31_038_933
    ),
    "unet_valid": ModelInfo(
        "unet.unet_valid", {}, "the paper's: 1 channel, 572 -> 388", _UNET, 2015, 31_031_893
    ),
    "unet_plus_plus": ModelInfo(
        "unet_plus_plus.UNetPlusPlus",
        {},
        "nested skips, deep supervision, pruning",
        "UNet++: A Nested U-Net Architecture for Medical Image Segmentation",
        2018,
        9_163_989,
    ),
}


def list_models() -> dict[str, ModelInfo]:
    """All names that `get_model` knows, each with its paper, year and number of parameters.

    Example:
        >>> list_models()["unet"].year
        2015
    """
    return dict(_MODELS)


def get_model(name: str, num_classes: int, **settings: Any) -> nn.Module:
    """Build a network by name.

    Args:
        name: one of `list_models`.
        num_classes: number of output channels C, at least 1.
        **settings: passed to the builder; ``in_channels`` and ``base_width`` (narrow versions train
            on a CPU in seconds) are common, the builder's docstring lists the others.

    Raises:
        ValueError: for an unknown name or fewer than one class.
        TypeError: for a setting that the builder does not have.

    Example:
        >>> import torch
        >>> model = get_model("unet", num_classes=4, base_width=8)
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 4, 64, 64])
    """
    if name not in _MODELS:
        close = difflib.get_close_matches(name, _MODELS, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(_MODELS)}"
        raise ValueError(f"name: there is no model {name!r}; {hint}")
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes must be an integer of at least 1, got {num_classes!r}")
    info = _MODELS[name]
    file, builder = info.builder.split(".")
    build = getattr(importlib.import_module(f"segedu.models.{file}"), builder)
    return build(num_classes=num_classes, **info.settings, **settings)
