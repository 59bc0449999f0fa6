"""Segmentation by prototypes: one vector per class, read off a few labelled pixels; no training.

Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017 (arXiv:1703.05175); for
pixels Wang et al., PANet: Few-Shot Image Semantic Segmentation with Prototype Alignment, ICCV 2019
(arXiv:1908.06391). The features may come from any network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def prototypes(features: Tensor, masks: Tensor) -> Tensor:
    """The mean feature of each class: masked average pooling (PANet, equations 1 and 2).

    PANet takes the mean within each support image and then over these; here each pixel counts
    once, which is the same for one image.

    Args:
        features: (N, C, h, w) of the labelled images, the support.
        masks: bool (N, K, H, W), the pixels of each class; features are enlarged to their size.

    Returns:
        (K, C).

    Raises:
        ValueError: if a class has no pixel, or the shapes do not fit.
    """
    if masks.ndim != 4 or len(masks) != len(features):
        raise ValueError(
            f"masks must be (N, K, H, W) with N of {len(features)}, got {tuple(masks.shape)}"
        )
    masks = masks.to(features.dtype)
    area = masks.sum((0, 2, 3))  # (K,)
    if empty := (area == 0).nonzero().flatten().tolist():
        raise ValueError(f"masks must show a pixel of each class, got none of {empty}")
    enlarged = F.interpolate(features, masks.shape[-2:], mode="bilinear")
    return torch.einsum("nkhw,nchw->kc", masks, enlarged) / area[:, None]


def similarities(features: Tensor, prototypes: Tensor) -> Tensor:
    """The cosine of the angle between each feature and each prototype.

    Args:
        features: (N, C, h, w).
        prototypes: (K, C).

    Returns:
        (N, K, h, w), from -1 to 1. PANet multiplies them by 20 and takes the softmax.
    """
    return torch.einsum(
        "nchw,kc->nkhw", F.normalize(features, dim=1), F.normalize(prototypes, dim=1)
    )


def nearest(features: Tensor, prototypes: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """For each place the prototype whose direction is most alike: int64 (N, h, w), 0 to K - 1.

    Args:
        features: (N, C, h, w).
        prototypes: (K, C).
        size: height and width to which the similarities are enlarged before the largest is taken.
    """
    scores = similarities(features, prototypes)
    if size is not None:
        scores = F.interpolate(scores, size, mode="bilinear")
    return scores.argmax(1)
