"""Clear words for images and targets that cannot be what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def check_images(images: Sequence[Tensor], channels: int) -> None:
    """Raise unless ``images`` is a list of float tensors (channels, H, W).

    Raises:
        TypeError: no list, or not of floating-point tensors.
        ValueError: no image, or another shape.
    """
    if not isinstance(images, list | tuple):
        raise TypeError(f"images must be a list of ({channels}, H, W) tensors, got {_kind(images)}")
    if not images:
        raise ValueError("images must be at least one image, got an empty list")
    for n, image in enumerate(images):
        if not isinstance(image, Tensor) or not image.is_floating_point():
            raise TypeError(
                f"images[{n}] must be a floating-point tensor in [0, 1], got {_kind(image)}"
            )
        if image.ndim != 3 or image.shape[0] != channels or not image.numel():
            raise ValueError(f"images[{n}] must be ({channels}, H, W), got {tuple(image.shape)}")


def check_targets(
    targets: Sequence[Mapping[str, Tensor]] | None,
    images: Sequence[Tensor],
    num_classes: int,
    masks: bool,
) -> None:
    """Raise unless ``targets`` can be learnt from ``images`` (already checked).

    Args:
        targets: one mapping for each image.
        images: the images.
        num_classes: with the background.
        masks: whether masks are needed.

    Raises:
        TypeError: no list of mappings, or tensors of another kind.
        ValueError: missing entries, other shapes, labels that are no class, boxes without area.
    """
    if not isinstance(targets, list | tuple):
        raise TypeError(
            f"targets must be a list with one dict for each image in training, got {_kind(targets)}"
        )
    if len(targets) != len(images):
        raise ValueError(
            f"targets must be one for each image, got {len(targets)} for {len(images)} images"
        )
    keys = ("boxes", "labels", "masks") if masks else ("boxes", "labels")
    for n, (target, image) in enumerate(zip(targets, images, strict=True)):
        if not isinstance(target, Mapping):
            raise TypeError(f"targets[{n}] must be a dict with {', '.join(keys)}, got {target!r}")
        missing = [key for key in keys if key not in target]
        if missing:
            raise ValueError(
                f"targets[{n}] must have {', '.join(keys)}; {', '.join(missing)} missing"
            )
        _check_boxes(target["boxes"], f"targets[{n}]['boxes']")
        _check_labels(target["labels"], f"targets[{n}]['labels']", num_classes)
        count, size = len(target["boxes"]), tuple(image.shape[-2:])
        if len(target["labels"]) != count:
            raise ValueError(
                f"targets[{n}]['labels'] must be ({count},), one for each box, "
                f"got {tuple(target['labels'].shape)}"
            )
        if masks and tuple(target["masks"].shape) != (count, *size):
            raise ValueError(
                f"targets[{n}]['masks'] must be {(count, *size)}, one of the image's size for "
                f"each box, got {tuple(target['masks'].shape)}"
            )


def _check_boxes(boxes: Tensor, name: str) -> None:
    if not isinstance(boxes, Tensor) or not boxes.is_floating_point():
        raise TypeError(f"{name} must be a floating-point tensor, got {_kind(boxes)}")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} must be xyxy (N, 4), got {tuple(boxes.shape)}")
    bad = ~((boxes[:, 2:] > boxes[:, :2]).all(1) & boxes.isfinite().all(1))
    if bool(bad.any()):
        raise ValueError(
            f"{name} must have x0 < x1 and y0 < y1, got {boxes[bad][0].tolist()} at "
            f"{int(bad.nonzero()[0])}"
        )


def _check_labels(labels: Tensor, name: str, num_classes: int) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"{name} must be an int64 tensor, got {_kind(labels)}")
    bad = (labels < 1) | (labels >= num_classes)
    if bool(bad.any()):
        raise ValueError(
            f"{name} must be 1 to {num_classes - 1} (0 is the background), "
            f"got {int(labels[bad][0])}"
        )


def _kind(value: object) -> str:
    return f"a {value.dtype} tensor" if isinstance(value, Tensor) else type(value).__name__
