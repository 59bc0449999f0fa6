"""One report for every metric: table, JSON, CSV, charts, best and worst cases, and a page.

It stands above ``metrics`` and ``viz``, which do not know each other.
"""

from __future__ import annotations

import csv
import html
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segedu.files import json_text, write_text

HEADS = {
    "image": "image ｜ 图像",
    "class": "class ｜ 类别",
    "metric": "metric ｜ 指标",
    "value": "value ｜ 值",
    "interval": "95 % interval ｜ 95% 区间",
    "iou": "IoU ｜ 交并比",
    "dice": "Dice",
    "accuracy": "recall ｜ 召回率",
    "precision": "precision ｜ 精确率",
    "pixels": "pixels ｜ 像素数",
    "mean_iou": "mean IoU ｜ 平均 IoU",
    "pixel_accuracy": "pixel accuracy ｜ 像素准确率",
    "mean_accuracy": "mean accuracy ｜ 平均准确率",
    "frequency_weighted_iou": "frequency-weighted IoU ｜ 频率加权 IoU",
    "boundary_iou": "boundary IoU ｜ 边界交并比",
    "mean_boundary_iou": "mean boundary IoU ｜ 平均边界交并比",
}
INTERVALS = (
    "Intervals: images drawn with replacement, judged anew. They tell what other images of the "
    "same kind could have given, not what another training could have. ｜ "
    "区间由对图像有放回抽样、重新评分得到，反映的是换一批同类图像时分数的变动，"
    "而不是重新训练一次时的变动。"
)
PICTURES = (
    "From left to right: image, truth, prediction. The worst image stands first. ｜ "
    "从左到右依次为图像、真值与预测，最差的图像排在最前。"
)


class Report:
    """What a metric's ``compute()`` returned, ready to be read, stored and drawn.

    Args:
        result: the dict of any metric of `segedu.metrics`.
        names: name of each class; a list (index = class) or a mapping from class or category id.
        images: name of each image, where the result has ``images``, as that of
            `segedu.metrics.intervals.PerImage`.

    Attributes:
        scalars: name -> number, the averages.
        intervals: name -> (low, high), where the result has them.
        rows: one dict for each class: ``class`` and its numbers.
        images: one dict for each image: ``image`` and its averages.
        cases: one dict for each case (image and class), where the metric keeps them.

    Raises:
        TypeError: ``result`` is not a dict of ``compute()``.
    """

    def __init__(
        self,
        result: Mapping[str, Any],
        names: Sequence[str] | Mapping[int, str] | None = None,
        images: Sequence[str] | None = None,
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
        self.intervals: dict[str, tuple[float, float]] = dict(result.get("intervals", {}))
        scores = result.get("images", [])
        shown = images or map(str, range(len(scores)))
        self.images = [{"image": i} | row for i, row in zip(shown, scores, strict=True)]

    def _name(self, c: int) -> str:
        return str(self.names.get(c, c))

    def table(self, digits: int = 4) -> str:
        """Markdown: the averages, then one line for each class, with intervals where they are."""
        parts = [_markdown(self._averages(digits), digits)]
        if self.rows:
            parts.append(_markdown([_with_intervals(row, digits) for row in self.rows], digits))
        return "\n".join(parts)

    def _averages(self, digits: int) -> list[dict[str, Any]]:
        rows = [{"metric": k, "value": v} for k, v in self.scalars.items()]
        if self.intervals:
            for row in rows:
                row["interval"] = _ends(self.intervals.get(row["metric"]), digits)
        return rows

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON text of everything, NaN and infinity as ``null``; written to ``path`` if given."""
        content = {"scalars": self.scalars, "classes": self.rows, "cases": self.cases}
        for name in ("intervals", "images"):
            if getattr(self, name):
                content[name] = getattr(self, name)
        if "confusion_matrix" in self.result:
            content["confusion_matrix"] = np.asarray(self.result["confusion_matrix"]).tolist()
        return _write(path, json_text(content))

    def to_csv(self, path: str | os.PathLike[str] | None = None, *, what: str = "classes") -> str:
        """CSV text of one table, written to ``path`` if given.

        Args:
            path: of the file.
            what: ``"classes"``, ``"cases"``, ``"images"`` or ``"confusion_matrix"``, whose rows are
                the true classes.
        """
        tables = {"classes": self.rows, "cases": self.cases, "images": self.images}
        if "confusion_matrix" in self.result:
            names = [row["class"] for row in self.rows]
            matrix = np.asarray(self.result["confusion_matrix"]).tolist()
            tables["confusion_matrix"] = [
                {"truth": name} | dict(zip(names, counts, strict=True))
                for name, counts in zip(names, matrix, strict=True)
            ]
        if what not in tables:
            raise ValueError(f"what must be one of {', '.join(tables)}; got {what!r}")
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

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        key: str,
        pictures: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a page that needs nothing else: tables, charts, and images with their score.

        Args:
            path: of the page.
            key: the average by which images are compared; higher is better.
            pictures: name of an image -> a PIL image of it, such as image, truth and prediction
                side by side; they are shown in this order.
        """
        import matplotlib.pyplot as plt

        from segedu import page, viz

        scores = {row["image"]: row.get(key, math.nan) for row in self.images}
        with plt.rc_context():
            viz.use_style()
            parts = [
                page.heading("Averages ｜ 平均值"),
                page.table(self._averages(3), HEADS),
            ]
            if self.rows:
                rows = [_with_intervals(row, 3) for row in self.rows]
                parts += [page.heading("Classes ｜ 各类别"), page.table(rows, HEADS)]
            if self.intervals:
                parts.append(page.paragraphs(INTERVALS))
            drawn = [self._chart_of_matrix()] if "confusion_matrix" in self.result else []
            if any(map(math.isfinite, scores.values())):
                drawn.append(viz.distribution(list(scores.values()), label=key))
            charts = "".join(page.picture(axes.figure, key) for axes in drawn)
            parts += [page.heading("Charts ｜ 图表"), f"<div class='charts'>{charts}</div>"]
        if pictures:
            parts.append(page.heading("Worst images ｜ 最差的图像"))
            parts.append(page.paragraphs(PICTURES))
        for name, shown in (pictures or {}).items():
            text = f"{name}: {key} {page.cell(scores[name])}"
            parts.append(f"<p>{html.escape(text)}</p>{page.picture(shown, text)}")
        if self.images:
            parts += [page.heading("All images ｜ 全部图像"), page.table(self.images, HEADS)]
        write_text(path, page.page("Segmentation report ｜ 分割报告", parts))

    def _chart_of_matrix(self) -> Any:
        from segedu.viz import confusion_matrix

        return confusion_matrix(
            self.result["confusion_matrix"], [row["class"] for row in self.rows]
        )

    def charts(self) -> dict[str, Any]:
        """Every chart that the numbers allow: name -> axes, each on its own figure.

        ``confusion_matrix`` if there is one; ``bars_…`` for each column of the classes; for each
        column of the cases ``distribution_…``, ``box_plot_…`` and ``cumulative_…`` by class, and
        ``scatter`` of the first two columns.
        """
        from segedu.viz import (
            box_plot,
            class_bars,
            cumulative,
            distribution,
            scatter,
        )

        axes: dict[str, Any] = {}
        names = [row["class"] for row in self.rows]
        if "confusion_matrix" in self.result:
            axes["confusion_matrix"] = self._chart_of_matrix()
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


def _with_intervals(row: Mapping[str, Any], digits: int) -> dict[str, Any]:
    """A row whose ``KEY_low`` and ``KEY_high`` stand as one text behind the first such score."""
    ends = [key for key in row if f"{key}_low" in row]
    shown: dict[str, Any] = {}
    for key, value in row.items():
        if key.removesuffix("_low").removesuffix("_high") in ends and key not in ends:
            continue
        shown[key] = value
        if ends and key == ends[0]:
            shown["interval"] = _ends((row[f"{key}_low"], row[f"{key}_high"]), digits)
    return shown


def _ends(interval: tuple[float, float] | None, digits: int) -> str:
    if interval is None or not all(map(math.isfinite, interval)):
        return "–"
    return " to ".join(f"{end:.{digits}f}" for end in interval)


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
