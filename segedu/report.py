"""One report for every metric: table, JSON, CSV, charts, best and worst cases.

It stands above ``metrics`` and ``viz``, which do not know each other.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segedu.files import json_text, write_text


class Report:
    """What a metric's ``compute()`` returned, ready to be read, stored and drawn.

    Args:
        result: the dict of any metric of `segedu.metrics`.
        names: name of each class; a list (index = class) or a mapping from class or category id.

    Attributes:
        scalars: name -> number, the averages.
        rows: one dict for each class: ``class`` and its numbers.
        cases: one dict for each case (image and class), where the metric keeps them.

    Raises:
        TypeError: ``result`` is not a dict of ``compute()``.
    """

    def __init__(
        self, result: Mapping[str, Any], names: Sequence[str] | Mapping[int, str] | None = None
    ) -> None:
        if not isinstance(result, Mapping):
            raise TypeError(
                f"result must be what a metric's compute() returned, got {type(result).__name__}"
            )
        self.names = dict(enumerate(names)) if isinstance(names, (list, tuple)) else names or {}
        self.result = result
        self.scalars = {k: v for k, v in result.items() if isinstance(v, (int, float))}
        self.rows = [
            {"class": self._name(c)} | row for c, row in result.get("per_class", {}).items()
        ]
        self.cases: list[dict[str, Any]] = list(result.get("cases", []))

    def _name(self, c: int) -> str:
        return str(self.names.get(c, c))

    def table(self, digits: int = 4) -> str:
        """Markdown: the averages, then one line for each class."""
        parts = [_markdown([{"metric": k, "value": v} for k, v in self.scalars.items()], digits)]
        if self.rows:
            parts.append(_markdown(self.rows, digits))
        return "\n".join(parts)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON text of everything, NaN and infinity as ``null``; written to ``path`` if given."""
        content = {"scalars": self.scalars, "classes": self.rows, "cases": self.cases}
        if "confusion_matrix" in self.result:
            content["confusion_matrix"] = np.asarray(self.result["confusion_matrix"]).tolist()
        return _write(path, json_text(content))

    def to_csv(self, path: str | os.PathLike[str] | None = None, *, what: str = "classes") -> str:
        """CSV of the ``"classes"`` or of the ``"cases"``; written to ``path`` if given."""
        tables = {"classes": self.rows, "cases": self.cases}
        if what not in tables:
            raise ValueError(f"what must be 'classes' or 'cases', got {what!r}")
        text = io.StringIO()
        if tables[what]:
            writer = csv.DictWriter(text, list(tables[what][0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(tables[what])
        return _write(path, text.getvalue())

    def best(self, key: str, count: int = 3, *, lower_is_better: bool = True) -> list[dict]:
        """The ``count`` cases with the best ``key``, which is a distance unless said otherwise."""
        if not self.cases or key not in self.cases[0]:
            known = sorted(self.cases[0]) if self.cases else []
            raise ValueError(f"key must be a column of the cases, {known}, got {key!r}")
        return sorted(self.cases, key=lambda c: c[key] if lower_is_better else -c[key])[:count]

    def worst(self, key: str, count: int = 3, *, lower_is_better: bool = True) -> list[dict]:
        """The ``count`` cases with the worst value of ``key``, the very worst first."""
        return self.best(key, count, lower_is_better=not lower_is_better)

    def charts(self) -> dict[str, Any]:
        """Every chart that the numbers allow: name -> axes, each on its own figure.

        ``confusion_matrix`` if there is one; ``bars_…`` for each column of the classes; for each
        column of the cases ``distribution_…``, ``box_plot_…`` and ``cumulative_…`` by class, and
        ``scatter`` of the first two columns.
        """
        from segedu.viz import (
            box_plot,
            class_bars,
            confusion_matrix,
            cumulative,
            distribution,
            scatter,
        )

        axes: dict[str, Any] = {}
        names = [row["class"] for row in self.rows]
        if "confusion_matrix" in self.result:
            axes["confusion_matrix"] = confusion_matrix(self.result["confusion_matrix"], names)
        for key in list(self.rows[0])[1:] if self.rows else []:
            axes[f"bars_{key}"] = class_bars({key: [x[key] for x in self.rows]}, names, label=key)
        columns = [k for k in (self.cases or [{}])[0] if k not in ("image", "class")]
        for key in columns:
            values = [case[key] for case in self.cases]
            if not np.isfinite(values).any():
                continue
            groups = {
                self._name(c): mine
                for c in sorted({case["class"] for case in self.cases})
                if np.isfinite(mine := [x[key] for x in self.cases if x["class"] == c]).any()
            }
            axes[f"distribution_{key}"] = distribution(values, label=key)
            axes[f"box_plot_{key}"] = box_plot(groups, label=key)
            axes[f"cumulative_{key}"] = cumulative(groups, label=key)
        if len(columns) > 1:
            pair = ([case[key] for case in self.cases] for key in columns[:2])
            axes["scatter"] = scatter(*pair, labels=(columns[0], columns[1]))
        return axes


def _markdown(rows: list[dict[str, Any]], digits: int) -> str:
    def text(value: Any) -> str:
        if isinstance(value, float):
            return "–" if math.isnan(value) else f"{value:.{digits}f}"
        return str(value)

    head = list(rows[0]) if rows else []
    lines = [head, ["---"] * len(head), *([text(v) for v in row.values()] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _write(path: str | os.PathLike[str] | None, text: str) -> str:
    if path is not None:
        write_text(path, text)
    return text
