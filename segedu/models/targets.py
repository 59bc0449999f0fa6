"""What the networks for objects take: images of any size in a list, targets checked by name."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from segedu.ops import binary_masks

VOID = 255  # class of a pixel that teaches nothing
IMAGE_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1]
IMAGE_STD = (0.229, 0.224, 0.225)
STRIDE = 32  # of the coarsest map of a ResNet: sides are padded to multiples of it

Target = Mapping[str, Any]


def check_images(
    images: Sequence[Tensor], targets: Sequence[Target] | None, wanted: bool, channels: int = 3
) -> None:
    """Refuse what is not a list of float images (3, H, W) with, if ``wanted``, a target for each.

    Raises:
        TypeError: an image is not a floating-point tensor.
        ValueError: there is no image, one is not (``channels``, H, W), or targets are missing.
    """
    if len(images) == 0:
        raise ValueError("images must not be empty")
    for i, image in enumerate(images):
        if not isinstance(image, Tensor) or not image.is_floating_point():
            kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
            raise TypeError(f"images[{i}] must be a float tensor in [0, 1], got {kind}")
        if image.ndim != 3 or image.shape[0] != channels or image.numel() == 0:
            raise ValueError(f"images[{i}] must be ({channels}, H, W), got {tuple(image.shape)}")
    if wanted and targets is None:
        raise ValueError("targets must be given in training")
    if wanted and len(targets) != len(images):
        raise ValueError(f"got {len(targets)} targets for {len(images)} images")


def check_instances(
    target: Target,
    size: tuple[int, int],
    num_classes: int,
    name: str,
    keys: tuple[str, ...] = ("boxes", "labels", "masks"),
) -> None:
    """Refuse a target that is not ``boxes`` (M, 4), ``labels`` (M,) and ``masks`` (M, H, W).

    Detectors without masks leave them out of ``keys``.

    Raises:
        TypeError: an entry is not a tensor.
        ValueError: a key is missing, shapes do not fit, a box has no area or is not finite, masks
            hold other values than 0 and 1, or a label is not in 1, ..., ``num_classes`` - 1 (0 is
            the background).
    """
    _require(target, keys, name)
    for key in keys:
        if not isinstance(target[key], Tensor):
            raise TypeError(f"{name}[{key!r}] must be a tensor, got {type(target[key]).__name__}")
    boxes, labels = target["boxes"], target["labels"]
    count = len(labels)
    expected = {"boxes": (count, 4), "labels": (count,), "masks": (count, *size)}
    for key in keys:
        if tuple(target[key].shape) != expected[key]:
            raise ValueError(
                f"{name}[{key!r}] must be {expected[key]}, got {tuple(target[key].shape)}"
            )
    if not bool((boxes[:, 2:] > boxes[:, :2]).all() & boxes.isfinite().all()):
        raise ValueError(f"{name}['boxes'] must be xyxy with an area, got {boxes.tolist()}")
    for key in keys[1:]:
        if target[key].is_floating_point():
            raise ValueError(f"{name}[{key!r}] must be integer or bool, got {target[key].dtype}")
    if "masks" in keys:
        binary_masks(target["masks"], f"{name}['masks']")
    if count and not 1 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"{name}['labels'] must be in 1, ..., {num_classes - 1} (0 is the background), "
            f"got {labels.tolist()}"
        )


def check_segments(target: Target, size: tuple[int, int], num_classes: int, name: str) -> None:
    """Refuse a target that is not ``panoptic_seg`` (H, W) with its ``segments_info``.

    Raises:
        ValueError: a key is missing, the map is not integer (H, W), an id is not positive or
            occurs twice, or a category is not in 0, ..., ``num_classes`` - 1.
    """
    _require(target, ("panoptic_seg", "segments_info"), name)
    ids = target["panoptic_seg"]
    if tuple(ids.shape) != size or ids.is_floating_point():
        raise ValueError(
            f"{name}['panoptic_seg'] must be integer {size}, got {ids.dtype} {tuple(ids.shape)}"
        )
    listed = [segment["id"] for segment in target["segments_info"]]
    if len(set(listed)) < len(listed) or any(i <= 0 for i in listed):
        raise ValueError(f"{name}['segments_info'] must have different ids > 0, got {listed}")
    for segment in target["segments_info"]:
        if not 0 <= segment["category_id"] < num_classes:
            raise ValueError(
                f"{name}['segments_info'] must have category_id in 0, ..., {num_classes - 1}, "
                f"got {segment['category_id']}"
            )


def things_of(num_classes: int, things: Collection[int] | None) -> tuple[int, ...]:
    """The classes that are things in ascending order, all if not given.

    Raises:
        ValueError: one of them is not in 0, ..., ``num_classes`` - 1.
    """
    things = tuple(sorted({*(range(num_classes) if things is None else things)}))
    if not {*things} <= {*range(num_classes)}:
        raise ValueError(f"things must be in 0, ..., {num_classes - 1}, got {list(things)}")
    return things


def normalize(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Image (3, H, W) in [0, 1] less its mean, in standard deviations."""
    return (image - image.new_tensor(mean)[:, None, None]) / image.new_tensor(std)[:, None, None]


def batch_images(images: Sequence[Tensor]) -> Tensor:
    """Images (3, H, W) in [0, 1] -> (N, 3, H', W'): normalised, padded to whole strides."""
    return stack_images([normalize(image, IMAGE_MEAN, IMAGE_STD) for image in images])


def stack_images(images: Sequence[Tensor]) -> Tensor:
    """(C, H_i, W_i) each -> (N, C, H, W), each in the upper left corner, zeros elsewhere.

    H and W are the least multiples of 32 that hold every image.
    """
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    height, width = (length + -length % STRIDE for length in (height, width))
    batch = images[0].new_zeros(len(images), images[0].shape[0], height, width)
    for place, image in zip(batch, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = image
    return batch


def _require(target: Target, keys: tuple[str, ...], name: str) -> None:
    missing = [key for key in keys if key not in target]
    if missing:
        raise ValueError(f"{name} must have {', '.join(keys)}; {', '.join(missing)} missing")
