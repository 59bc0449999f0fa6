"""Data: procedural scenes, real photographs, loaders for data sets on disk, transforms."""

from segedu.data.layouts import LAYOUTS, find_splits, open_dataset
from segedu.data.statistics import (
    ChannelStatistics,
    PixelCounts,
    channel_statistics,
    pixel_counts,
)

__all__ = [
    "LAYOUTS",
    "ChannelStatistics",
    "PixelCounts",
    "channel_statistics",
    "find_splits",
    "open_dataset",
    "pixel_counts",
]
