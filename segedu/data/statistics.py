"""Mean and standard deviation of the channels of a training set."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset


class ChannelStatistics(NamedTuple):
    """Per channel, of values in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(dataset: Dataset) -> ChannelStatistics:
    """Mean and standard deviation of every channel over all pixels of all images.

    One image is held at a time, and sums are of integers: the order of the images changes nothing.

    Args:
        dataset: of samples with ``image``, uint8 (C, H, W), so one without transforms.

    Raises:
        ValueError: if the dataset is empty, images differ in their channels or are not uint8, or a
            channel never varies, so that it cannot be normalised.
    """
    count, sums, squares = 0, None, None
    for index in range(len(dataset)):
        image = dataset[index]["image"]
        if image.dtype != torch.uint8 or image.ndim != 3:
            raise ValueError(
                f"image {index} must be uint8 (C, H, W), as without transforms; "
                f"got {image.dtype} {tuple(image.shape)}"
            )
        values = image.as_subclass(Tensor).flatten(1).long()  # (C, H W)
        if sums is not None and len(sums) != len(values):
            raise ValueError(f"image {index} has {len(values)} channels, others have {len(sums)}")
        added, squared = values.sum(1), values.square().sum(1)
        sums, squares = (added, squared) if sums is None else (sums + added, squares + squared)
        count += values.shape[1]
    if not count:
        raise ValueError("the dataset is empty")
    means, stds = [], []
    for total, square in zip(sums.tolist(), squares.tolist(), strict=True):
        variance = count * square - total**2  # exact, of Python's integers; count^2 times it
        if variance == 0:
            raise ValueError(f"channel {len(means)} has the value {total // count} in every pixel")
        means.append(total / count / 255)
        stds.append(variance**0.5 / count / 255)
    return ChannelStatistics(tuple(means), tuple(stds))


class PixelCounts(NamedTuple):
    """Per class, of labelled pixels."""

    pixels: tuple[int, ...]
    image_pixels: tuple[int, ...]
    """In the images that hold the class."""


def pixel_counts(dataset: Dataset) -> PixelCounts:
    """How often each class of a semantic data set occurs, for `segedu.losses.class_weights`.

    Args:
        dataset: of samples with ``mask`` (H, W), integers below ``num_classes`` or 255.
    """
    pixels = torch.zeros(dataset.num_classes, dtype=torch.int64)
    of_images = torch.zeros_like(pixels)
    for index in range(len(dataset)):
        mask = dataset[index]["mask"].as_subclass(Tensor).flatten()
        counts = torch.bincount(mask.long(), minlength=256)[: len(pixels)]
        pixels += counts
        of_images += torch.where(counts > 0, counts.sum(), 0)
    return PixelCounts(tuple(pixels.tolist()), tuple(of_images.tolist()))
