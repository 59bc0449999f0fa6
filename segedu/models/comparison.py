"""What the networks of the book cost and how good they got on scenes, measured at one budget.

``python -m benchmarks.compare`` measures and writes ``comparison.json`` beside this file, the short
form of its record ``book/results/comparison.json``. The networks are narrow and learnt for minutes:
their scores say how far each got on this budget, not what the published networks reach.
"""

from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from segedu.files import read_json

FILE = Path(__file__).with_name("comparison.json")
METRIC = {"semantic": "mean_iou", "instance": "AP", "panoptic": "pq"}


class Measured(NamedTuple):
    """One network: its costs are those of one scene of 128 x 128 pixels, in inference."""

    title: str  #: as the paper calls it
    task: str  #: ``semantic``, ``instance`` or ``panoptic``
    parameters: int
    macs: int  #: multiply-accumulate operations
    ms: float  #: milliseconds of the processor on one thread, median
    ms_two_threads: float | None  #: of the wall clock; None if the machine was never quiet
    megabytes: float  #: 10^6 bytes allocated at the peak, parameters not among them
    scores: tuple[float, ...]  #: `METRIC` of the task, 0..1, one of each training
    camvid: tuple[float, ...]  #: mean IoU on photographs of CamVid, 0..1, where it was measured

    @property
    def score(self) -> float:
        """Mean of the trainings."""
        return fmean(self.scores)


@cache
def machine() -> dict[str, object]:
    """What the times were measured on."""
    return read_json(FILE)["machine"]


@cache
def networks(task: str | None = None) -> tuple[Measured, ...]:
    """The networks, the best of each task first.

    Args:
        task: only those for ``"semantic"``, ``"instance"`` or ``"panoptic"`` segmentation.

    Raises:
        ValueError: for another task.

    Example:
        >>> min(networks("instance"), key=lambda network: network.ms).task
        'instance'
    """
    if task is not None and task not in METRIC:
        raise ValueError(f"task must be one of {sorted(METRIC)}, got {task!r}")
    rows = read_json(FILE)["networks"]
    found = [
        Measured(**row | {"scores": tuple(row["scores"]), "camvid": tuple(row["camvid"])})
        for row in rows
        if task in (None, row["task"])
    ]
    return tuple(sorted(found, key=lambda row: (list(METRIC).index(row.task), -row.score)))
