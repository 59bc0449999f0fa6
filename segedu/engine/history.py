"""The record of a training: plain dicts, one per epoch."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segedu.engine.task import Task
from segedu.files import write_text

Record = dict[str, Any]


@dataclass
class History:
    """What happened in each epoch.

    ``history.records`` is a list of dicts with the keys ``epoch`` (from 1), ``loss`` (mean over
    the training batches), ``lr`` (of the first group, in the epoch's first step), ``seconds``, and
    with a validation set ``val_loss`` and each score of the metric as ``val_...`` (no matrices).
    ``history["loss"]`` is one key over all epochs, ready to plot.
    """

    records: list[Record] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, key: str) -> list:
        if not any(key in record for record in self.records):
            known = sorted({name for record in self.records for name in record})
            raise KeyError(f"history has no {key!r}; it has {known}")
        return [record.get(key) for record in self.records]

    def best(self, monitor: str, larger_is_better: bool | None = None) -> int:
        """The first best epoch; if not said, a key that ends in ``loss`` is better if lower."""
        if larger_is_better is None:
            larger_is_better = not monitor.endswith("loss")
        sign = 1 if larger_is_better else -1
        values = [-math.inf if v is None else sign * v for v in self[monitor]]
        return 1 + values.index(max(values))

    def stale(self, monitor: str, larger_is_better: bool | None = None) -> int:
        """How many epochs have passed since the best one."""
        return len(self) - self.best(monitor, larger_is_better) if self.records else 0

    def to_jsonl(self, path: str | Path) -> None:
        """Write one JSON object per line."""
        write_text(path, "".join(json.dumps(record) + "\n" for record in self.records))

    @classmethod
    def from_jsonl(cls, path: str | Path) -> "History":
        """Read what ``to_jsonl`` wrote."""
        return cls([json.loads(line) for line in Path(path).read_text().splitlines()])


def choose_monitor(
    record: Record, monitor: str | None, larger_is_better: bool | None, task: Task
) -> tuple[str, bool | None]:
    """The key of a record that picks the best epoch, and whether larger is better."""
    if monitor is not None:
        return monitor, larger_is_better
    if f"val_{task.monitor}" in record:
        return f"val_{task.monitor}", task.larger_is_better
    return ("val_loss" if "val_loss" in record else "loss"), False


def check_monitor(record: Record, monitor: str) -> None:
    """Raise ``ValueError`` unless ``monitor`` is a key of the record."""
    if monitor not in record:
        raise ValueError(f"monitor must be one of {sorted(record)}, got {monitor!r}")


def plain(scores: dict[str, Any]) -> Record:
    """Scores ready for JSON: tensors as lists, NaN as ``None``, matrices and tables left out."""
    tables = ("per_class", "cases")
    return {
        str(key): _plain(value)
        for key, value in scores.items()
        if key not in tables and getattr(value, "ndim", 0) < 2
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # tensors, arrays and NumPy's numbers
        value = value.tolist()
    if isinstance(value, dict):
        return plain(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def tensorboard(folder: str | Path) -> Callable[[Record], None]:
    """A function for ``fit(on_epoch=...)`` that draws the curves in TensorBoard.

    Numbers become curves ``KEY``, lists (one number per class) curves ``KEY/0``, ``KEY/1``, ...

    Raises:
        ModuleNotFoundError: if TensorBoard is not installed: it is the extra
            ``segedu[tensorboard]``.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        message = "TensorBoard is not installed: pip install 'segedu[tensorboard]'"
        raise ModuleNotFoundError(message) from error
    writer = SummaryWriter(str(folder))

    def write(record: Record) -> None:
        for key, value in record.items():
            several = isinstance(value, list)  # a number for each class
            for c, number in enumerate(value if several else [value]):
                if isinstance(number, float):
                    writer.add_scalar(f"{key}/{c}" if several else key, number, record["epoch"])
        writer.flush()

    return write
