"""Examining a data set before anyone trains on it: what is there, and what would go wrong."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from segedu.clinic.findings import LEVELS, Finding, verdict_of
from segedu.clinic.rules import SHOWN, LabelSurvey, digest, repeated
from segedu.data import find_splits, open_dataset
from segedu.data.images import exif_orientation
from segedu.data.layouts import ALL
from segedu.data.pairs import IGNORE_INDEX
from segedu.files import atomic_write
from segedu.viz import sheet, show_labels, show_pixels, shown_classes

DARK = 26  # an image that is nowhere brighter is nearly black


@dataclass
class ClassCount:
    """How often a class occurs in a split."""

    name: str
    images: int = 0
    objects: int = 0
    """Instances, or segments of a panoptic map; 0 in semantic data."""
    pixels: int = 0


@dataclass
class SplitCount:
    """What a split holds."""

    images: int
    usable: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    """``width x height`` -> number of images, the commonest first."""
    classes: list[ClassCount] = field(default_factory=list)
    void: float = 0.0
    """Share of the pixels that no class has."""
    skipped: int = 0


@dataclass
class Examination:
    """Counts per split, findings, and the verdict."""

    task: str
    splits: dict[str, SplitCount]
    findings: list[Finding]

    @property
    def verdict(self) -> str:
        """``ok``, ``warnings`` or ``errors``."""
        return verdict_of(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Everything as lists and dicts, for JSON."""
        return {
            "verdict": self.verdict,
            "task": self.task,
            "splits": {name: asdict(count) for name, count in self.splits.items()},
            "findings": [asdict(finding) for finding in self.findings],
        }


def examine(
    layout: str,
    root: str | Path = "",
    *,
    splits: Sequence[str] | None = None,
    task: str | None = None,
    picture: str | Path | None = None,
    **options: Any,
) -> Examination:
    """Examine a data set on the disk as training would read it.

    Args:
        layout, root, task, options: see ``segedu.data.open_dataset``.
        splits: which; by default those that the data set has, ``train`` and ``val`` where
            ``val_split`` is given, or ``all``.
        picture: where a PNG with samples and their labels goes.

    Raises:
        FileNotFoundError, ValueError: if the data set cannot be opened at all.
    """
    if splits is None:
        splits = find_splits(layout, root, **options) or (ALL,)
        if options.get("val_split") and "val" not in splits:
            splits = ("train", "val", *(name for name in splits if name == "test"))
    opened = {split: open_dataset(layout, root, split, task=task, **options) for split in splits}
    return examine_datasets(opened, picture=picture)


def examine_datasets(
    datasets: Mapping[str, Dataset], *, picture: str | Path | None = None
) -> Examination:
    """Examine datasets that are open, one for each split, without transforms.

    Every sample is read once, and one is held at a time.

    Args:
        datasets: split -> dataset as ``segedu.data.open_dataset`` gives it.
        picture: where a PNG with samples of the first split and their labels goes.

    Raises:
        ValueError: if there is no dataset, or they differ in their classes or tasks.
    """
    if not datasets:
        raise ValueError("datasets must hold one split or more")
    first = next(iter(datasets.values()))
    for split, dataset in datasets.items():
        if (dataset.classes, dataset.task) != (first.classes, first.task):
            raise ValueError(f"the split {split!r} has other classes or another task")
    findings: list[Finding] = []
    counts, contents, usable = {}, {}, {}
    for split, dataset in datasets.items():
        reader = _SplitReader(split, dataset)
        counts[split] = reader.read()
        findings += reader.findings()
        contents[split], usable[split] = reader.contents, reader.usable
    findings += repeated(contents)
    if picture is not None:
        split = next((name for name in datasets if usable[name]), None)
        if split is None:
            findings.append(Finding("note", "picture", "no sample can be drawn"))
        else:
            draw_samples(datasets[split], usable[split], Path(picture))
    order = sorted(findings, key=lambda finding: -LEVELS.index(finding.level))
    return Examination(first.task, counts, order)


class _SplitReader:
    """Reads the samples of a split once, and remembers what is worth saying."""

    def __init__(self, split: str, dataset: Dataset):
        self.split, self.dataset = split, dataset
        self.contents: dict[str, list[str]] = defaultdict(list)  # hash of the pixels -> names
        self.usable: list[int] = []
        self.notes: dict[str, list[str]] = defaultdict(list)  # kind -> examples
        self.counts = [ClassCount(name) for name in dataset.classes]
        self.pixels = self.void = 0
        self.sizes: Counter[str] = Counter()
        self.labels = LabelSurvey()
        self.foreground = self.has_void = False  # of masks with a class other than 0
        self.bare: dict[str, bool] = {}  # file of 0 and void alone -> is there a void inside

    def name(self, index: int) -> str:
        paths = getattr(self.dataset, "image_paths", None)
        return paths[index].name if paths else f"number {index}"

    def label_name(self, index: int) -> str:
        paths = getattr(self.dataset, "label_paths", None)
        return paths[index][0].name if paths else self.name(index)

    def read(self) -> SplitCount:
        for index in range(len(self.dataset)):
            try:
                sample = self.dataset[index]
            except (OSError, ValueError) as error:
                self.notes["unusable"].append(str(error))
                continue
            self.usable.append(index)
            self._read_image(index, sample["image"])
            _COUNT[self.dataset.task](self, index, sample)
        return SplitCount(
            images=len(self.dataset),
            usable=len(self.usable),
            sizes=dict(self.sizes.most_common()),
            classes=self.counts,
            void=self.void / self.pixels if self.pixels else 0.0,
            skipped=len(getattr(self.dataset, "skipped", ())),
        )

    def _read_image(self, index: int, image: Tensor) -> None:
        pixels = image.numpy()
        height, width = pixels.shape[1:]
        self.sizes[f"{width} x {height}"] += 1
        self.contents[digest(image)].append(self.name(index))
        if pixels.min() == pixels.max():
            self.notes["flat"].append(self.name(index))
        elif pixels.max() < DARK:
            self.notes["dark"].append(self.name(index))
        paths = getattr(self.dataset, "image_paths", None)
        if paths and exif_orientation(paths[index]) != 1:
            self.notes["turned"].append(self.name(index))

    def count_semantic(self, index: int, sample: dict[str, Any]) -> None:
        self.labels.update(sample["image"].as_subclass(Tensor), sample["mask"].as_subclass(Tensor))
        found = np.bincount(sample["mask"].numpy().ravel(), minlength=256)
        self.pixels += int(found.sum())
        self.void += int(found[255])
        for count, pixels in zip(self.counts, found.tolist(), strict=False):
            count.pixels += pixels
            count.images += pixels > 0
        if found[255] == found.sum():
            self.notes["void"].append(self.name(index))
        elif found[1:255].any():
            self.foreground, self.has_void = True, self.has_void or bool(found[255])
        elif found[255]:
            self.bare[self.label_name(index)] = void_inside(sample["mask"].numpy() == 255)

    def count_instance(self, index: int, sample: dict[str, Any]) -> None:
        masks, labels = sample["masks"].numpy(), sample["labels"].tolist()
        areas = masks.sum((1, 2)).tolist()
        for label, area in zip(labels, areas, strict=True):
            self.counts[label].objects += 1
            self.counts[label].pixels += area
        for label in set(labels):
            self.counts[label].images += 1
        if not labels:
            self.notes["without objects"].append(self.name(index))
        if 0 in areas:
            self.notes["empty objects"].append(self.name(index))

    def count_panoptic(self, index: int, sample: dict[str, Any]) -> None:
        segments = sample["segments_info"]
        size, area = sample["panoptic_seg"].numel(), sum(s["area"] for s in segments)
        self.pixels += size
        self.void += size - area
        for segment in segments:
            count = self.counts[segment["category_id"]]
            count.objects += 1
            count.pixels += segment["area"]
        for category in {segment["category_id"] for segment in segments}:
            self.counts[category].images += 1
        if area == 0:
            self.notes["void"].append(self.name(index))

    def findings(self) -> list[Finding]:
        found = []
        for kind, (level, message) in _MESSAGES.items():
            names = self.notes[kind]
            if names:
                text = f"{self.split}: {len(names)} of {len(self.dataset)} {message}"
                found.append(Finding(level, kind, text, tuple(dict.fromkeys(names))[:SHOWN]))
        for finding in self.labels.findings():
            found.append(replace(finding, message=f"{self.split}: {finding.message}"))
        found += self._black_and_white()
        skipped = getattr(self.dataset, "skipped", ())
        if skipped:
            examples = tuple(f"{entry.path.name}: {entry.reason}" for entry in skipped[:SHOWN])
            text = f"{self.split}: {len(skipped)} left out"
            found.append(Finding("warning", "skipped", text, examples))
        # Label 0 of instance data is the background, of which there are no objects.
        start = 1 if self.dataset.task == "instance" else 0
        absent = [count.name for count in self.counts[start:] if not count.images]
        if absent and self.usable:
            text = f"{self.split}: {len(absent)} of {len(self.counts) - start} classes never occur"
            level = "warning" if self.split in ("train", ALL) else "note"
            found.append(Finding(level, "absent", text, tuple(absent[:SHOWN])))
        if len(self.sizes) > 1:
            text = f"{self.split}: images have {len(self.sizes)} sizes"
            common = tuple(size for size, _ in self.sizes.most_common(SHOWN))
            found.append(Finding("note", "sizes", text, common))
        return found

    def _black_and_white(self) -> list[Finding]:
        """Masks of 0 and 255 alone among others that hold classes, where 255 is ignored.

        Void that others have, too, is suspected only where it lies inside: that of data sets is the
        frame of an image or the border of an object, and there is no object in these masks.
        """
        if not self.foreground or getattr(self.dataset, "label_of", {}).get(255) != IGNORE_INDEX:
            return []
        names = [name for name, inside in self.bare.items() if inside or not self.has_void]
        if not names:
            return []
        return [
            Finding(
                "warning",
                "black and white",
                f"{self.split}: {len(names)} of {len(self.dataset)} masks hold 0 and 255 alone, "
                "others hold classes; 255 is void (no class, not trained), so what is painted in "
                "it would not be learnt",
                tuple(names[:SHOWN]),
                cure="write 1, or the number of the class, for 255; where all masks are of 0 and "
                "255, masks='binary'",
            )
        ]


def void_inside(void: NDArray[np.bool_]) -> bool:
    """Whether an area of void (H,W), more than a line, touches no side of its mask."""
    areas, _ = ndimage.label(void, np.ones((3, 3)))
    outer = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    inner = void & ~np.isin(areas, outer)
    return bool(ndimage.binary_erosion(inner, np.ones((3, 3))).any())


_COUNT = {
    "semantic": _SplitReader.count_semantic,
    "instance": _SplitReader.count_instance,
    "panoptic": _SplitReader.count_panoptic,
}
# kind of note -> (level, what is said after "N of M")
_MESSAGES = {
    "unusable": ("error", "samples cannot be used"),
    "void": ("warning", "label files have no class in any pixel"),
    "flat": ("warning", "images have one value in all pixels"),
    "dark": (
        "warning",
        "images are nearly black; if cameras of 12 bits wrote 16-bit files, give white=4095",
    ),
    "turned": (
        "warning",
        "images are turned by their EXIF entry; see on the picture whether the labels fit",
    ),
    "empty objects": ("warning", "images have objects without a pixel"),
    "without objects": ("note", "images have no object"),
}


def draw_samples(
    dataset: Dataset, indices: Sequence[int], path: Path, *, count: int = 8, columns: int = 2
) -> None:
    """Write a PNG of samples, each image beside itself with its labels, and what these are.

    Args:
        dataset: without transforms.
        indices: of the samples that can be read; ``count`` of them are taken, evenly spread.
        path: where to.
        count: how many samples at most.
        columns: how many samples stand side by side.
    """
    spread = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    rows, samples = [], [dataset[indices[place]] for place in spread]
    for sample in samples:
        image = show_pixels(sample["image"])
        rows.append((image, show_labels(image, sample, dataset.colors)))
    legend = {"titles": ("image", "labels"), "only": shown_classes(samples)}
    page = sheet(rows, dataset.classes, dataset.colors, columns=columns, **legend)
    with atomic_write(path) as file:
        page.save(file, format="PNG")
