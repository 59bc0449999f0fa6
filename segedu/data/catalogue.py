"""Data sets for segmentation: what they hold, their terms, their homes; nothing is downloaded.

The entries stand in ``catalogue.json``. Each says what was compared with which source, and what
was not: a home may move, and terms may change. Before you use a data set, read its own terms.
"""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from segedu.files import read_json

FIELDS = ("general", "driving", "medical", "remote", "industry")
TASKS = ("semantic", "instance", "panoptic", "promptable")
USES = ("free", "non-commercial", "mixed", "unknown")
SOURCES = ("paper", "home", "reports", "")


@dataclass(frozen=True)
class DataSet:
    """A data set that others publish.

    Attributes:
        name: as its authors write it.
        field: one of `FIELDS`.
        tasks: of `TASKS`, those for which its labels are made.
        images: how many images or volumes it has; some sources count test images without public
            labels, too.
        unit: what is counted: ``images`` or ``volumes``.
        classes: what its masks tell apart, without the background; None where they have no fixed
            classes, or other ones in each of several parts.
        licence: its name, or words ``English ｜ 中文``.
        use: ``free`` (also in products, under conditions), ``non-commercial``, ``mixed`` (several
            owners, each with terms) or ``unknown``.
        home: its address.
        key: of its paper in the book's bibliography.
        checked: for ``images``, ``classes`` and ``licence`` the source it was compared with: its
            ``paper``, its ``home``, ``reports`` of others, or nothing. No home was opened.
    """

    name: str
    field: str
    tasks: tuple[str, ...]
    images: int
    unit: str
    classes: int | None
    licence: str
    use: str
    home: str
    key: str
    checked: dict[str, str]


@cache
def data_sets() -> tuple[DataSet, ...]:
    """All data sets of the catalogue, in the order of `FIELDS`, then by name."""
    entries = read_json(Path(__file__).with_suffix(".json"))
    names = {f.name for f in fields(DataSet)}
    for entry in entries:
        if entry.keys() != names:
            raise ValueError(
                f"{entry.get('name')}: an entry must hold {', '.join(sorted(names))}, "
                f"got {', '.join(sorted(entry))}"
            )
    return tuple(DataSet(**{**entry, "tasks": tuple(entry["tasks"])}) for entry in entries)
