"""Curves of a training: learning curves, finished or growing, and learning-rate schedules.

Every function draws on the axes ``ax`` it is given, or on a new figure, and returns the axes.
Labels are bilingual, ``English ｜ 中文``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from segedu.languages import BAR, halves
from segedu.viz.fonts import COLOR_CYCLE, in_any_style

RECORD_NAMES = {
    "loss": "training loss ｜ 训练损失",
    "val_loss": "validation loss ｜ 验证损失",
    "mean_iou": "mean IoU ｜ 平均 IoU",
    "pixel_accuracy": "pixel accuracy ｜ 像素准确率",
    "mean_accuracy": "mean accuracy ｜ 平均准确率",
    "frequency_weighted_iou": "frequency-weighted IoU ｜ 频率加权 IoU",
    "dice": "Dice ｜ Dice 系数",
    "lr": "learning rate ｜ 学习率",
}
LINE_STYLES = ("-", "--", ":", "-.")
Records = list[Mapping[str, Any]]


@in_any_style
def learning_curves(
    history: Any, keys: Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw quantities of the training records over the epochs, of one training or of several.

    Args:
        history: records as `segedu.engine.fit` returns them: a list of dicts, or an object
            whose ``records`` is one. Or a dict ``{name: history}``, one colour each; a list of
            histories in place of one is the same training with several seeds, drawn as its mean
            in a band from the lowest to the highest. The horizontal axis is ``record["epoch"]``,
            else 1, 2, ….
        keys: which quantities; if not given, those ending in ``loss`` that all trainings have.
        ax: where to draw.

    Raises:
        ValueError: if there are no records, or those of a training have none of a key of ``keys``.
    """
    named = history if isinstance(history, Mapping) else {"": history}
    runs = {name: _repeats(run) for name, run in named.items()}
    if not runs or not all(records for repeats in runs.values() for records in repeats):
        raise ValueError("history holds no records")
    if keys is None:
        known = [_keys(repeats) for repeats in runs.values()]
        keys = [key for key in known[0] if key.endswith("loss") and all(key in k for k in known)]
    ax = ax or plt.subplots(figsize=(5.0, 3.0))[1]
    colors = len(COLOR_CYCLE)
    for r, (name, repeats) in enumerate(runs.items()):
        for k, key in enumerate(keys):
            # One training has a colour for each quantity, several have a line style for each.
            color, style = (r, k) if isinstance(history, Mapping) else (k, 0)
            look = {"color": COLOR_CYCLE[color % colors], "ls": LINE_STYLES[style % 4]}
            words = _record_name(key)
            label = _joined(name, words) if name and len(keys) > 1 else name or words
            _curve(ax, _by_epoch(repeats, key), look, label)
    ax.set_xlabel("epoch ｜ 轮次")
    if len(keys) == 1 and isinstance(history, Mapping):
        ax.set_ylabel(_record_name(keys[0]))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y")
    ax.legend()
    return ax


def _repeats(run: Any) -> list[Records]:
    """The records of each seed of a training; there is one seed if not several are given."""
    records = list(getattr(run, "records", run))
    if not records or isinstance(records[0], Mapping):
        return [records]
    return [list(getattr(repeat, "records", repeat)) for repeat in records]


def _keys(repeats: Sequence[Records]) -> list[str]:
    """The quantities of all records, in the order in which they first stand there."""
    return list(dict.fromkeys(key for records in repeats for record in records for key in record))


def _by_epoch(repeats: Sequence[Records], key: str) -> dict[int, list[float]]:
    """Epoch -> the values of a quantity in all seeds that have it."""
    values: dict[int, list[float]] = {}
    for records in repeats:
        for number, record in enumerate(records, start=1):
            if record.get(key) is not None:
                values.setdefault(record.get("epoch", number), []).append(float(record[key]))
    if not values:
        raise ValueError(f"no record has {key!r}; there are {_keys(repeats)}")
    return values


def _curve(
    ax: Axes, values: Mapping[int, Sequence[float]], look: dict[str, Any], label: str
) -> None:
    """The mean of the values of each epoch, in a band from their lowest to their highest."""
    marker = "o" if len(values) < 30 else ""
    epochs, of_seeds = list(values), list(values.values())
    ax.plot(epochs, list(map(np.mean, of_seeds)), label=label, marker=marker, ms=3, **look)
    if max(map(len, of_seeds)) > 1:
        band = (list(map(min, of_seeds)), list(map(max, of_seeds)))
        ax.fill_between(epochs, *band, color=look["color"], alpha=0.18, lw=0)


def _joined(name: str, words: str) -> str:
    """``name: words`` in both languages; a name without a bar is the same in both."""
    first, second = (halves(text) or {"en": text, "zh": text} for text in (name, words))
    return f"{first['en']}: {second['en']} {BAR} {first['zh']}：{second['zh']}"


def _record_name(key: str) -> str:
    return RECORD_NAMES.get(key) or RECORD_NAMES.get(key.removeprefix("val_"), key)


@in_any_style
def schedules(curves: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Draw learning-rate schedules, one line each.

    Args:
        curves: name of the schedule -> the learning rate at each step.
        ax: where to draw.

    Raises:
        ValueError: if there are no curves.
    """
    if not curves:
        raise ValueError("curves must hold at least one schedule, got none")
    ax = ax or plt.subplots(figsize=(5.0, 2.8))[1]
    for name, rates in curves.items():
        ax.plot(rates, label=name)
    ax.set_xlabel("step ｜ 步")
    ax.set_ylabel("learning rate ｜ 学习率")
    ax.set_ylim(bottom=0)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    ax.grid(axis="y")
    ax.legend()
    return ax


def live_curves(keys: Sequence[str] | None = None) -> Callable[[Mapping[str, Any]], None]:
    """Learning curves in a notebook that grow while the training runs.

    Args:
        keys: which quantities, as for `learning_curves`.

    Returns:
        A function for ``on_epoch`` of a training: with the record of each epoch it draws the curves
        anew, in the place where it drew them first.

    Raises:
        ModuleNotFoundError: if IPython is not installed: there is no notebook.
    """
    from IPython.display import display

    records: list[Mapping[str, Any]] = []
    handle = None

    def draw(record: Mapping[str, Any]) -> None:
        nonlocal handle
        records.append(record)
        figure = learning_curves(records, keys).figure
        plt.close(figure)  # or the notebook shows it once more below the cell
        if handle is None:
            handle = display(figure, display_id=True)  # outside of a notebook it stays None
        else:
            handle.update(figure)

    return draw
