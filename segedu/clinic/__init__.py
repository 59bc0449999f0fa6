"""Finding out what is wrong: with a data set before a training, and with a training."""

from segedu.clinic.datasets import (
    ClassCount,
    Examination,
    SplitCount,
    draw_samples,
    examine,
    examine_datasets,
)
from segedu.clinic.findings import Finding
from segedu.clinic.training import Checkup, checkup

__all__ = [
    "Checkup",
    "ClassCount",
    "Examination",
    "Finding",
    "SplitCount",
    "checkup",
    "draw_samples",
    "examine",
    "examine_datasets",
]
