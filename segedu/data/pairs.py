"""Pairs of an image and a label file: semantic samples, with errors that name the file.

A sample is ``{"image": uint8 (C, H, W), "mask": uint8 (H, W)}`` before ``transforms``. How files
are read (EXIF, 16 bits, pages, endings) is said in ``segedu.data.images``.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from segedu.data.images import (
    ReadImage,
    Skipped,
    any_case,
    check_files,
    check_size,
    read_image,
    read_values,
)
from segedu.data.naming import NamedDataset

IGNORE_INDEX = 255
_ANY_SIZE = (1 << 16, 1 << 16)  # of images that have not been read yet


class PairDataset(NamedDataset):
    """Images with a label file each: what the loaders of semantic data have in common.

    Args:
        pairs: image file and label file of each sample. A file whose ending differs in case alone
            counts as the same.
        label_of: value in the file -> label that is trained (0..C-1, or 255 to ignore); every
            other value is an error.
        classes: English names of the C classes.
        classes_zh: Chinese names of the C classes.
        colors: (red, green, blue) in 0..255 of the C classes.
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.
        read_labels: label file and size (H, W) of its image -> the values (H, W) that ``label_of``
            knows, such as ``read_values``.
        skipped: what was found beside the pairs and left out.

    Attributes:
        names: of the samples, those of their image files without the ending.
        image_paths, label_paths: of the samples.
        skipped: see above.

    Raises:
        FileNotFoundError: if one of the files is missing.
    """

    task = "semantic"
    _cure = ""  # of a value that is no label

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        label_of: Mapping[int, int],
        classes: Sequence[str],
        classes_zh: Sequence[str],
        colors: Sequence[tuple[int, int, int]],
        transforms: Callable[[dict[str, Any]], Any] | None = None,
        *,
        read_image: ReadImage = read_image,
        read_labels: Callable[[Path, tuple[int, int]], NDArray[np.int32]] = read_values,
        skipped: Sequence[Skipped] = (),
    ):
        self.pairs = [(any_case(image), any_case(labels)) for image, labels in pairs]
        check_files([path for pair in self.pairs for path in pair])
        self.image_paths = [image for image, _ in self.pairs]
        self.label_paths = [(labels,) for _, labels in self.pairs]
        self.names = [path.stem for path in self.image_paths]
        self.skipped = list(skipped)
        self.label_of = dict(label_of)
        self.classes, self.classes_zh = tuple(classes), tuple(classes_zh)
        self.colors = tuple(colors)
        self.transforms = transforms
        self._read_image, self._read_values = read_image, read_labels
        self._table = np.full(max(label_of) + 1, -1, dtype=np.int16)
        self._table[list(label_of)] = list(label_of.values())
        self._seen_classes = self.label_of.get(255) != IGNORE_INDEX  # 255 cannot be misread then

    @property
    def num_classes(self) -> int:
        """Number of classes C, not counting what is ignored."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.pairs)

    def read_mask(self, path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The labels of a file for an image of ``size`` (H, W), or a ValueError with its fault."""
        values = self._read_values(path, size)
        known = (values >= 0) & (values < len(self._table))
        labels = self._table[np.where(known, values, 0)]
        known &= labels >= 0
        if not known.all():
            bad = np.unique(values[~known])
            raise ValueError(
                f"{path}: holds the value {bad[0]}"
                + (f" and {len(bad) - 1} others that are" if len(bad) > 1 else " that is")
                + f" no label here; allowed are {_spans(self.label_of)}"
                + (_jpeg_hint(path) or self._cure.format(bad[0]))
            )
        if self.label_of.get(255) == IGNORE_INDEX and np.isin(values, (0, 255)).all():
            white = (values == 255).mean()
            if white > 0.25:
                raise ValueError(
                    f"{path}: holds 0 and 255 alone, and {white:.0%} of it is 255, which means "
                    "'ignore' here; if it is a black and white mask, say so (masks='binary'), or "
                    "write 1 instead of 255"
                )
        return labels.astype(np.uint8)

    def _check_black_and_white(self) -> None:
        """Refuse a split whose label files hold 0 and 255 alone: its objects would be ignored.

        Reads files until one has another value, so mostly a single one.
        """
        if self._seen_classes:
            return
        white = 0
        for _, path in self.pairs:
            values = self._read_values(path, _ANY_SIZE)
            if not np.isin(values, (0, 255)).all():
                break
            white += bool((values == 255).any())
        else:
            if white:
                raise ValueError(
                    f"{self.pairs[0][1].parent}: the {len(self)} label files hold 0 and 255 "
                    "alone, and 255 means 'ignore' here: nothing but the background would be "
                    "learnt; if these are black and white masks, say so (masks='binary'), or "
                    "write 1 instead of 255"
                )
        self._seen_classes = True

    def __getitem__(self, index: int) -> Any:
        image_path, label_path = self.pairs[index]
        image = self._read_image(image_path)
        size = tuple(image.shape[1:])
        labels = self.read_mask(label_path, size)
        check_size(label_path, labels.shape, image_path, size)
        self._check_black_and_white()
        sample = {"image": image, "mask": tv_tensors.Mask(torch.from_numpy(labels))}
        return sample if self.transforms is None else self.transforms(sample)


def check_split(split: str, allowed: Sequence[str]) -> None:
    """Raise ValueError unless ``split`` is one of ``allowed``."""
    if split not in allowed:
        raise ValueError(f"split must be one of {', '.join(allowed)}; got {split!r}")


def read_lines(path: Path, what: str) -> list[str]:
    """Return the lines that are not empty of a list file; ``what`` says what it should hold."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it should hold {what}")
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"{path}: is empty; it should hold {what}")
    return lines


def _jpeg_hint(path: Path) -> str:
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    return "; JPEG changes the numbers, labels must be saved as PNG" if jpeg else ""


def _spans(values: Mapping[int, int]) -> str:
    """Write sorted numbers as spans: 0..20, 255."""
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(f"{low}..{high}" if low < high else f"{low}" for low, high in spans)
