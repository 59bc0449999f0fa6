"""Labels that networks make: of what they are sure of, and of where a classifier looks.

Both are masks with gaps, 255 where nothing is said, as `segedu.losses.CrossEntropyLoss` takes them.
A teacher whose weights are the running mean of the student's (Tarvainen & Valpola 2017, "Mean
teachers are better role models") needs no code here: PyTorch has it as
``torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.data.pairs import IGNORE_INDEX


def pseudo_labels(logits: Tensor, threshold: float = 0.95) -> tuple[Tensor, Tensor]:
    """The likeliest class of each pixel where it is likely enough (Lee 2013; Sohn et al. 2020).

    Args:
        logits: float (N, C, *S), of a network or of its teacher; no gradient comes back.
        threshold: least probability, in [0, 1]; 0 labels every pixel.

    Returns:
        int64 (N, *S), 255 where no class is likely enough, and the confidence (N, *S), the
        probability of the likeliest class.

    Raises:
        ValueError: a threshold out of range, or logits of another shape.
    """
    _check_threshold(threshold)
    if logits.ndim < 3:
        raise ValueError(f"logits must be (N, C, ...), got {tuple(logits.shape)}")
    confidence, labels = logits.detach().softmax(1).max(1)
    return labels.masked_fill(confidence < threshold, IGNORE_INDEX), confidence


def activation_maps(features: Tensor, weight: Tensor) -> Tensor:
    """Where a classifier looks: class activation maps (Zhou et al. 2016, Eq. 2).

    The score of class c is the mean over the places of ``weight[c] · features``; the map is that
    product before the mean. What speaks against the class is cut off, and each map is divided by
    its largest value, so that classes can be compared.

    Args:
        features: float (N, D, h, w), what is averaged before the last layer.
        weight: float (C, D), of that layer.

    Returns:
        (N, C, h, w) in [0, 1], 0 everywhere where nothing speaks for the class; no gradient.

    Raises:
        ValueError: the shapes do not fit.
    """
    if features.ndim != 4 or weight.ndim != 2 or weight.shape[1] != features.shape[1]:
        raise ValueError(
            "features must be (N, D, h, w) and weight (C, D), got "
            f"{tuple(features.shape)} and {tuple(weight.shape)}"
        )
    maps = torch.einsum("ndhw,cd->nchw", features.detach(), weight.detach()).relu()
    largest = maps.amax((2, 3), keepdim=True)
    return maps / largest.where(largest > 0, 1)


def seeds(
    maps: Tensor, tags: Tensor, size: tuple[int, int] | None = None, threshold: float = 0.2
) -> Tensor:
    """The pixels that a classifier is most excited by, as a mask to learn from.

    Each pixel gets the class of the largest map among those that the image is tagged with, if that
    is at least a share of its maximum: 20 % as in Zhou et al. 2016, section 3.2.

    Args:
        maps: of `activation_maps`, (N, C, h, w).
        tags: bool (N, C), the classes of each image.
        size: (H, W) of the mask; the maps are enlarged bilinearly.
        threshold: in (0, 1].

    Returns:
        int64 (N, H, W), 255 where no map is large enough.

    Raises:
        ValueError: the shapes do not fit, or the threshold is out of range.
    """
    _check_threshold(threshold)
    if threshold == 0:
        raise ValueError("threshold must be above 0, which every map reaches, got 0")
    if maps.ndim != 4 or tags.shape != maps.shape[:2]:
        raise ValueError(
            f"maps must be (N, C, h, w) and tags (N, C), got {tuple(maps.shape)} and "
            f"{tuple(tags.shape)}"
        )
    if size is not None and tuple(size) != tuple(maps.shape[2:]):
        maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    value, labels = (maps * tags[:, :, None, None]).max(1)
    return labels.masked_fill(value < threshold, IGNORE_INDEX)


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1], got {threshold}")
