"""Data sets made of another one: some of its samples, kept, changed, cut, or of one class."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from segedu.data.naming import NamedDataset
from segedu.data.transforms import DropInvisible

Sample = dict[str, Any]


class View(NamedDataset):
    """The samples of another data set; what that says of itself, this says too.

    Args:
        dataset: the other one.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not there yet, while a worker process unpickles it
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


class Part(View):
    """Some samples of a data set.

    Args:
        dataset: all of them.
        indices: which, in this order.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        super().__init__(dataset)
        self.indices = list(indices)
        for name in ("names", "image_paths", "label_paths"):
            if hasattr(dataset, name):
                whole = getattr(dataset, name)
                setattr(self, name, [whole[index] for index in self.indices])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


class Transformed(View):
    """A transform of each sample.

    Args:
        dataset: gives the samples.
        transform: called with each, every time anew.
    """

    def __init__(self, dataset: Dataset, transform: Callable[[Sample], Any]) -> None:
        super().__init__(dataset)
        self.transform = transform

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.dataset[index])


class Cached(View):
    """Samples that are read once and then kept in memory, by every process that reads them."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._kept: dict[int, Any] = {}

    def __getitem__(self, index: int) -> Any:
        if index not in self._kept:
            self._kept[index] = self.dataset[index]
        return self._kept[index]


class SingleClass(View):
    """Instance samples whose objects all count as one class, label 1.

    Args:
        dataset: with the task ``instance``.
        name: of the class.

    Raises:
        ValueError: for a data set of another task.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        if dataset.task != "instance":
            raise ValueError(f"a single class is for the task 'instance', got {dataset.task!r}")
        super().__init__(dataset)
        self.classes = (dataset.classes[0], name)
        self.classes_zh = (dataset.classes_zh[0], name)
        self.colors = tuple(dataset.colors[:2])
        self.num_classes, self.isthing = 2, {0: False, 1: True}

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        return {**sample, "labels": torch.ones_like(sample["labels"])}


class Tiles(View):
    """Samples cut into tiles, each a sample of its own; an object that is cut counts in each.

    A side is cut into as few parts as possible that are no longer than ``size``, of equal length
    but for a pixel. Every sample is read once to know its size.

    Args:
        dataset: gives the samples, of any task.
        size: height and width that tiles may have.

    Attributes:
        names: of the samples, with the first row and column of the tile.

    Raises:
        ValueError: if ``size`` is not positive.
    """

    def __init__(self, dataset: Dataset, size: tuple[int, int]) -> None:
        if min(size) < 1:
            raise ValueError(f"size must be positive, got {size}")
        super().__init__(dataset)
        self._places: list[tuple[int, int, int, int, int]] = []  # sample, top, left, bottom, right
        for index in range(len(dataset)):
            rows, columns = map(_cuts, dataset[index]["image"].shape[1:], size)
            self._places += [
                (index, top, left, bottom, right) for top, bottom in rows for left, right in columns
            ]
        names = getattr(dataset, "names", range(len(dataset)))
        self.names = [f"{names[i]} {top} {left}" for i, top, left, *_ in self._places]
        if hasattr(dataset, "image_paths"):
            self.image_paths = [dataset.image_paths[i] for i, *_ in self._places]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        index, top, left, bottom, right = self._places[index]
        tile = {
            key: functional.crop(part, top, left, bottom - top, right - left)
            if isinstance(part, tv_tensors.TVTensor)
            else part
            for key, part in self.dataset[index].items()
        }
        return DropInvisible()(tile)


def _cuts(length: int, longest: int) -> list[tuple[int, int]]:
    """Where the parts of a side begin and end."""
    count = -(-length // longest)
    ends = [number * length // count for number in range(count + 1)]
    return list(zip(ends[:-1], ends[1:], strict=True))
