"""The folder of a training: what repeats it, and pictures that are drawn anew while it runs."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu.cli.networks import preprocessing, scaling
from segedu.files import atomic_write, write_json

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from segedu.tasks import Task


def describe(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """Where the code and the data of a training stand, ready for JSON.

    Args:
        datasets: split -> data set.

    Returns:
        ``versions``, ``git`` (the commit of the working folder, with ``+`` if it was changed since,
        or None), and ``fingerprint`` for each split.
    """
    packages = ("torch", "torchvision", "numpy", "pillow")
    return {
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "git": git_commit(),
        "fingerprint": {split: fingerprint(dataset) for split, dataset in datasets.items()},
    }


def fingerprint(dataset: Dataset) -> str | None:
    """SHA-256 of the names and sizes, in bytes, of a data set's images and the files of its labels.

    It tells whether files were added, dropped or rewritten, and costs no reading. None if a data
    set has no files.
    """
    labels = {file for files in getattr(dataset, "label_paths", ()) for file in files}
    files = [*getattr(dataset, "image_paths", ()), *labels]
    if not files:
        return None
    lines = sorted(f"{file.parent.name}/{file.name} {file.stat().st_size}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def git_commit(folder: str | Path = ".") -> str | None:
    """The commit that is checked out, with ``+`` if files differ from it; None without git."""

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = ask("status", "--porcelain", "--untracked-files=no")
        return ask("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Keep a configuration beside the checkpoints, as ``config.json``."""
    write_json(folder / "config.json", dict(config))


class Sparing:
    """Does something again only if it then takes a small share of the time.

    Args:
        action: called without arguments.
        share: of the time, at most.
    """

    def __init__(self, action: Callable[[], None], share: float = 0.05) -> None:
        self.action, self.share = action, share
        self.again, self.is_due = 0.0, False

    def __call__(self) -> None:
        """Do it, or remember that it is due."""
        self.is_due = True
        if time.perf_counter() >= self.again:
            self.finish()

    def finish(self) -> None:
        """Do it if it is due."""
        if not self.is_due:
            return
        start = time.perf_counter()
        self.action()
        end = time.perf_counter()
        self.again, self.is_due = end + (end - start) * (1 / self.share - 1), False


def draw_curves(folder: Path, records: Sequence[Mapping[str, Any]], monitor: str) -> None:
    """``curves.svg``: losses, and below the score that picks the best epoch."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    from segedu import viz

    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "segedu"}):
        figure, axes = plt.subplots(2, 1, figsize=(6, 5.6), layout="constrained")
        viz.learning_curves(records, ax=axes[0])
        if any(record.get(monitor) is not None for record in records):
            viz.learning_curves(records, [monitor], ax=axes[1])
        else:
            axes[1].set_axis_off()
        for ax in axes:  # there are no halves of epochs
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        with atomic_write(folder / "curves.svg") as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
        plt.close(figure)


def example_drawer(
    folder: Path, dataset: Dataset, task: Task, config: Mapping[str, Any], count: int = 4
) -> Callable[[nn.Module], None]:
    """A function that draws ``examples.png``: images, truth, and what a network says of them.

    Args:
        folder: where the picture goes.
        dataset: without transforms; ``count`` of its samples are taken, evenly spread.
        task: what is learnt.
        config: of the training.
        count: how many.
    """
    spread = {round(i * (len(dataset) - 1) / max(1, count - 1)) for i in range(count)}
    samples = [dataset[index] for index in sorted(spread)]

    def draw(model: nn.Module) -> None:
        with atomic_write(folder / "examples.png") as file:
            compared = [compare(model, task, sample, config) for sample in samples]
            page = draw_compared(compared, dataset.classes, dataset.colors)
            page.save(file, format="PNG")

    return draw


def draw_compared(
    compared: Sequence[tuple[Any, dict[str, Any], dict[str, Any]]],
    classes: Sequence[str],
    colors: Sequence[Sequence[int]],
) -> Any:
    """Image, truth and prediction of `compare`, side by side, and which classes they show."""
    from segedu.viz import sheet, show_labels, show_pixels, shown_classes

    rows = []
    for image, *labels in compared:
        pixels = show_pixels(image)
        rows.append([pixels, *(show_labels(pixels, sample, colors) for sample in labels)])
    used = shown_classes(sample for _, *labels in compared for sample in labels)
    return sheet(rows, classes, colors, titles=("image", "truth", "prediction"), only=used)


def compare(
    model: nn.Module, task: Task, sample: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Image uint8 (C,H,W), truth, and a prediction of one sample, as the network sees them.

    The prediction has the form of a sample: ``mask``, or ``masks`` and ``labels`` of the objects
    with a score of 0.5 and more or, of a promptable network, after the last click, or
    ``panoptic_seg`` and ``segments_info``.
    """
    import torch

    from segedu.engine.evaluation import to_device
    from segedu.tasks import as_panoptic

    truth = preprocessing(config)(dict(sample))
    batch = to_device(task.collate([truth]), next(model.parameters()).device)
    model.eval()
    with torch.no_grad():
        (prediction,) = task.predict(model, batch)
    image = truth["image"].as_subclass(torch.Tensor)
    if isinstance(prediction, torch.Tensor):
        found = {"mask": prediction.argmax(0).to(torch.uint8).cpu()}
        truth = {"mask": truth["mask"].to(torch.uint8)}
        std, mean = (image.new_tensor(values)[:, None, None] for values in scaling(config))
        image = image * std + mean
    elif "panoptic_seg" in prediction:
        found = {**prediction, "panoptic_seg": prediction["panoptic_seg"].cpu()}
        truth = as_panoptic(truth)
    elif "scores" not in prediction:
        shown = truth["masks"].flatten(1).any(1)
        found = {"masks": prediction["masks"][:, -1].cpu(), "labels": truth["labels"][shown]}
    else:
        sure = prediction["scores"] >= 0.5
        masks = prediction["masks"][sure].reshape(-1, *image.shape[1:])
        found = {"masks": (masks > 0.5).cpu(), "labels": prediction["labels"][sure].cpu()}
    return (255 * image).round().clamp(0, 255).to(torch.uint8), truth, found
