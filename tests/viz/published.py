"""Published networks, each drawn once for all tests that look at its stages."""

import functools

import torch

from segedu import viz
from segedu.models import get_model
from segedu.viz.architecture import Architecture

NAMES = [
    *("unet", "unet_plus_plus", "fcn8s_vgg16", "segnet_vgg16", "pspnet_resnet50"),
    *("deeplab_v3_plus_resnet50", "semantic_fpn_resnet50", "fc_densenet56", "enet", "segformer_b0"),
]


def build(name: str) -> torch.nn.Module:
    with torch.device("meta"):  # no memory, no time
        return get_model(name, 5)


@functools.cache
def drawn(name: str) -> Architecture:
    """For images of 192 pixels a side."""
    return viz.architecture(build(name), 192)
