"""From the caller's images and targets to one batch, and from its detections back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.mask_rcnn.settings import Settings
from segedu.models.targets import normalize, stack_images
from segedu.ops import clip_boxes, paste_masks
from segedu.ops.precision import full_dtype

Size = tuple[int, int]
Target = dict[str, Tensor]


class Batch(NamedTuple):
    """Images of several sizes in one tensor, each in the upper left corner."""

    images: Tensor  #: float (N, C, H, W), normalised, padded with zeros
    sizes: list[Size]  #: height and width of each image in it
    original_sizes: list[Size]  #: and those that it came with


class Transform(nn.Module):
    """Normalise, scale, batch; scale boxes back and put masks into the image.

    As torchvision's: bilinear without antialiasing for images, nearest for masks, sizes rounded
    down. In training each image draws one of ``settings.min_size`` (multi-scale training). Neither
    the caller's images nor the targets are changed.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> tuple[Batch, list[Target] | None]:
        """Images (C, H_i, W_i) -> a batch, and the targets in its coordinates."""
        original = [(image.shape[-2], image.shape[-1]) for image in images]
        sizes = [self.new_size(size) for size in original]
        scaled = [
            _resize(self.normalize(image)[None], size, mode="bilinear")[0]
            for image, size in zip(images, sizes, strict=True)
        ]
        batch = Batch(stack_images(scaled), sizes, original)
        if targets is None:
            return batch, None
        dtype = full_dtype(batch.images)
        return batch, [
            _scale_target(*every, dtype) for every in zip(targets, original, sizes, strict=True)
        ]

    def new_size(self, size: Size) -> Size:
        """Height and width that an image of ``size`` is scaled to."""
        choices = self.settings.min_sizes
        wanted = choices[int(torch.rand(()) * len(choices))] if self.training else choices[-1]
        scale = min(wanted / min(size), self.settings.max_size / max(size))
        return max(int(size[0] * scale), 1), max(int(size[1] * scale), 1)

    def normalize(self, image: Tensor) -> Tensor:
        """(C, H, W) in [0, 1] -> mean 0 and deviation 1 over ImageNet."""
        image = image.as_subclass(Tensor)  # no tv_tensor: plain ones are faster
        return normalize(image, tuple(self.settings.image_mean), tuple(self.settings.image_std))

    def back(self, detections: list[Target], batch: Batch) -> list[Target]:
        """Detections in the coordinates of the caller's images, masks (D, M, M) -> (D, 1, H, W)."""
        return [_restore(*every) for every in zip(detections, *batch[1:], strict=True)]


def _restore(detection: Target, size: Size, original: Size) -> Target:
    result = detection | {"boxes": _scale_boxes(detection["boxes"], size, original)}
    if "masks" in result:
        result["masks"] = paste_masks(result["masks"], result["boxes"], original)[:, None]
    return result


def _scale_target(target: Mapping[str, Tensor], old: Size, new: Size, dtype: torch.dtype) -> Target:
    """Boxes, labels and masks of the objects that can be learnt, for an image of size ``new``."""
    boxes = target["boxes"].as_subclass(Tensor).to(dtype)
    # What lies outside of the image touches no anchor and would so be the best match of all.
    kept = (sides(clip_boxes(boxes, old)) > 0).all(1)
    if "iscrowd" in target:  # a region of many objects teaches nothing about one
        kept &= ~torch.as_tensor(target["iscrowd"], device=boxes.device).bool()
    scaled = {
        "boxes": _scale_boxes(boxes[kept], old, new),
        "labels": target["labels"][kept].long(),
    }
    if "masks" in target:
        masks = target["masks"].as_subclass(Tensor)[kept, None].to(dtype)  # (N, 1, H, W)
        scaled["masks"] = _resize(masks, new, mode="nearest")[:, 0]
    return scaled


def sides(boxes: Tensor) -> Tensor:
    """Width and height (N, 2) of xyxy boxes (N, 4)."""
    return boxes[:, 2:] - boxes[:, :2]


def _scale_boxes(boxes: Tensor, old: Size, new: Size) -> Tensor:
    """Boxes xyxy (N, 4) of an image of size ``old``, for one of size ``new``."""
    y, x = new[0] / old[0], new[1] / old[1]
    return boxes * boxes.new_tensor([x, y, x, y])


def _resize(maps: Tensor, size: Size, mode: str) -> Tensor:
    """(N, C, H, W) -> (N, C, *size); also for N = 0, which PyTorch refuses."""
    if not len(maps):
        return maps.new_zeros(*maps.shape[:2], *size)
    return F.interpolate(maps, size, mode=mode)
