"""How far the scores of a data set may be off by its choice of images: the bootstrap."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from segedu.metrics.base import Metric

LEVEL = (2.5, 97.5)  # percentiles of an interval of 95 %


class PerImage(Metric):
    """Any metric, and how its numbers vary: one metric for each image, intervals over all.

    Each call of ``update`` is one image. The intervals are percentiles of the bootstrap (Efron &
    Tibshirani 1993, ch. 13): images are drawn with replacement, as many as there are, and judged
    anew. They say what other images of the same kind could have given, not what another training
    could have. The same seed gives the same intervals.

    Args:
        build: makes an empty metric.
        draws: how often images are drawn; 0 gives no intervals. A single image, of which all draws
            are alike, never has one.
        seed: of the draws.
    """

    def __init__(self, build: Callable[[], Metric], *, draws: int = 1000, seed: int = 0) -> None:
        if draws < 0:
            raise ValueError(f"draws must be >= 0, got {draws}")
        self.build, self.draws, self.seed = build, draws, seed
        super().__init__()

    def update(self, *batch: Any) -> None:
        """Add one image: what the metric's ``update`` takes."""
        metric = self.build()
        metric.update(*batch)
        self._records.append(metric)

    def compute(self) -> dict[str, Any]:
        """Read the numbers.

        Returns:
            What the metric returns of all images, its ``per_class`` with ``..._low`` and
            ``..._high`` beside each score; ``intervals``: name of an average -> (low, high); and
            ``images``: the averages of each image alone, in their order.
        """
        whole = self.build()
        for metric in self._records:
            whole.merge(metric)
        result = whole.compute()
        result["images"] = [_scalars(metric.compute()) for metric in self._records]
        draws = self.draws if len(self._records) > 1 else 0
        drawn = list(_drawn(whole, self._records, draws, self.seed))
        result["intervals"] = {
            key: _interval([d[key] for d in drawn]) for key in _scalars(result) if drawn
        }
        rows = {}
        for c, row in result.get("per_class", {}).items():
            rows[c] = {}
            for key, value in row.items():
                rows[c][key] = value
                if drawn and isinstance(value, float):
                    ends = _interval([d["per_class"].get(c, {}).get(key) for d in drawn])
                    rows[c] |= dict(zip((f"{key}_low", f"{key}_high"), ends, strict=True))
        return result | {"per_class": rows}


def _drawn(whole: Metric, images: Sequence[Metric], draws: int, seed: int):  # noqa: ANN202
    """The results of so many draws of images, with replacement."""
    random = np.random.default_rng(seed)
    names = images[0]._sums if images else ()
    sums = {name: torch.stack([m._sums[name].cpu() for m in images]) for name in names}
    drawn = copy.copy(whole)
    for _ in range(draws):
        chosen = random.integers(len(images), size=len(images))
        times = torch.from_numpy(np.bincount(chosen, minlength=len(images)))
        drawn.reset()
        drawn._sums = {
            name: (times.to(value.dtype) @ value.reshape(len(value), -1)).view(value.shape[1:])
            for name, value in sums.items()
        }
        drawn._records = [record for i in chosen for record in images[i]._records]
        yield drawn.compute()


def _scalars(result: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in result.items() if isinstance(value, float)}


def _interval(values: Sequence[float | None]) -> tuple[float, float]:
    """Of the draws in which the number exists; NaN if there is none."""
    finite = [v for v in values if v is not None and math.isfinite(v)]
    if not finite:
        return math.nan, math.nan
    low, high = np.percentile(finite, LEVEL).tolist()
    return low, high
