"""Data: procedural scenes, real photographs, loaders for data sets on disk, transforms."""

from segedu.data.layouts import LAYOUTS, find_splits, open_dataset
from segedu.data.statistics import ChannelStatistics, channel_statistics

__all__ = ["LAYOUTS", "ChannelStatistics", "channel_statistics", "find_splits", "open_dataset"]
