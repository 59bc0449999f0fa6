"""Objects from the bottom up: what Panoptic-DeepLab and the embedding network have in common.

Cheng et al., Panoptic-DeepLab, CVPR 2020 (arXiv:1911.10194), section 3: the targets of a network
that says where the centres of objects are, and the way from classes and groups of pixels to a
panoptic map.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.models.panoptic import PanopticCanvas
from segedu.models.targets import VOID, Target


class Maps(NamedTuple):
    """What the network says, or should say, of N images, at their size."""

    semantic: Tensor  #: (N, C, H, W) logits; as a target (N, H, W) classes, 255 void
    center: Tensor  #: (N, 1, H, W), near 1 at the centre of an object
    offset: Tensor  #: (N, 2, H, W), down and right to the centre of the pixel's object, in pixels


class Weighting(NamedTuple):
    """How much each pixel counts in each loss, (N, H, W)."""

    semantic: Tensor  #: 1, or more on small objects
    center: Tensor  #: 0 in void and crowds
    offset: Tensor  #: 1 on objects only


def center_heatmap(centers: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """The larger of the Gaussians around all centres: (K, 2) -> (H, W) in [0, 1].

    A Gaussian has its top, 1, at the pixel that holds the centre, and ends 3 sigma + 1 beyond.

    Args:
        centers: rows and columns, in pixels.
        size: (H, W).
        sigma: standard deviation in pixels; the paper's is 8 for 1025 x 2049.
    """
    y, x = (torch.arange(n, device=centers.device) for n in size)
    dy, dx = y - centers[:, :1].floor(), x - centers[:, 1:].floor()  # (K, H), (K, W)
    reach = 3 * sigma + 1
    rows, columns = (torch.exp(-(d**2) / (2 * sigma**2)) * (d.abs() <= reach) for d in (dy, dx))
    peaks = rows[:, :, None] * columns[:, None, :]  # (K, H, W)
    return F.pad(peaks, (0, 0, 0, 0, 1, 0)).amax(0)  # the pad answers where there is no object


def make_targets(
    target: Target,
    things: Collection[int],
    *,
    sigma: float = 8.0,
    small_area: int = 4096,
    small_weight: float = 3.0,
    dtype: torch.dtype | None = None,
) -> tuple[Maps, Weighting]:
    """What one panoptic sample asks of the network, without the axis of the batch.

    The centre of an object is its centre of mass. A crowd teaches its class, no centre and no
    offset; void teaches nothing.

    Args:
        target: ``panoptic_seg`` (H, W) of ids and ``segments_info``.
        things: classes that are things.
        sigma: see `center_heatmap`.
        small_area: objects smaller than this, in pixels ...
        small_weight: ... weigh so much in the semantic loss.
        dtype: of the maps and weights; PyTorch's default if not given.
    """
    ids = target["panoptic_seg"]
    size = tuple(ids.shape)
    semantic = torch.full(size, VOID, dtype=torch.int64, device=ids.device)
    offset = torch.zeros(2, *size, device=ids.device, dtype=dtype)
    weighting = Weighting(torch.ones_like(offset[0]), *torch.zeros_like(offset))
    centers = []
    for segment in target["segments_info"]:
        mask = ids == segment["id"]
        semantic[mask] = segment["category_id"]
        if segment.get("iscrowd", False):
            continue
        weighting.center[mask] = 1
        place = mask.nonzero().to(offset.dtype)  # (P, 2), rows and columns
        if segment["category_id"] not in things or not len(place):
            continue
        center = place.mean(0)
        centers.append(center)
        offset[:, mask] = (center - place).T
        weighting.offset[mask] = 1
        if len(place) < small_area:
            weighting.semantic[mask] = small_weight
    stacked = torch.stack(centers) if centers else offset.new_zeros(0, 2)
    return Maps(semantic, center_heatmap(stacked, size, sigma)[None], offset), weighting


def pad_target(target: Target, batch: Tensor) -> dict[str, Any]:
    """The sample at the size of the batch (N, 3, H, W), void at the right and bottom."""
    ids = target["panoptic_seg"]
    (height, width), (rows, columns) = batch.shape[-2:], ids.shape
    padded = F.pad(ids[None], (0, width - columns, 0, height - rows))[0]  # id 0 is nobody's
    return {"panoptic_seg": padded, "segments_info": target["segments_info"]}


def on_things(classes: Tensor, things: Collection[int]) -> Tensor:
    """Where (H, W) the class is a thing."""
    return torch.isin(classes, torch.tensor(sorted(things), dtype=torch.int64).to(classes.device))


def merge(
    logits: Tensor,
    group: Tensor,
    objectness: Tensor,
    things: Collection[int],
    *,
    stuff_area: int = 2048,
) -> dict[str, Any]:
    """Classes and objects of one image -> a panoptic map.

    An object takes the class that most of its pixels have. Stuff of fewer than ``stuff_area``
    pixels is void, and so are pixels of things without an object.

    Args:
        logits: (C, H, W).
        group: (H, W), index of the object on things, -1 elsewhere.
        objectness: (K,), how sure each object is.
        things: classes that are things.
        stuff_area: in pixels.

    Returns:
        ``panoptic_seg`` int32 (H, W), 0 is void, and ``segments_info``: ``id``, ``category_id``,
        ``isthing``, ``area``, and for things ``score``, the objectness times the mean probability
        of the class.
    """
    classes = logits.argmax(0)  # (H, W)
    canvas = PanopticCanvas(classes.shape, classes.device)
    for index in group[group >= 0].unique().tolist():
        mask = group == index
        category = int(classes[mask].mode().values)
        sure = logits[:, mask].softmax(0)[category].mean()
        score = sure.item() * objectness[index].item()
        canvas.add(mask, category, category in things, score=score)
    for category in classes[~on_things(classes, things)].unique().tolist():
        mask = classes == category
        if int(mask.sum()) >= stuff_area:
            canvas.add(mask, category, isthing=False)
    return canvas.result()
