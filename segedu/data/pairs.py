"""Reading pairs of image and label files from disk, with errors that name the file."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision import tv_tensors

from segedu.data.naming import NamedDataset

IGNORE_INDEX = 255


def open_image(path: Path) -> Image.Image:
    """Open and decode an image file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a whole image, or is larger than Pillow's safety limit.
    """
    try:
        with warnings.catch_warnings():
            # A small file that unpacks to gigabytes: Pillow only warns, we stop.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return image
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: refused, the image is too large ({error})") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable image ({error})") from None


def read_image(path: Path, *, upright: bool = False) -> tv_tensors.Image:
    """Return an image file as uint8 (3, H, W).

    Args:
        path: of the file.
        upright: turn it as its EXIF entry says, as viewers do with photos. Not for images with
            labels: those belong to the pixels as they are stored.
    """
    image = open_image(path)
    if upright:
        image = ImageOps.exif_transpose(image)
    pixels = np.array(image.convert("RGB"))  # (H, W, 3)
    return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())


def read_values(path: Path) -> NDArray[np.uint8]:
    """Return the numbers (H, W) that stand in a label file.

    A palette PNG holds class indices and a table of colours; the indices are what counts, and
    converting such a file to RGB or grey destroys them.

    Raises:
        ValueError: if the file holds colours or 16-bit numbers instead of class indices.
    """
    image = open_image(path)
    if image.mode not in ("P", "L", "1"):
        raise ValueError(
            f"{path}: a label file must hold one class index per pixel (Pillow mode 'P' or 'L'), "
            f"this one has mode {image.mode!r}; was a coloured picture of the labels saved?"
        )
    return np.array(image).astype(np.uint8)


class PairDataset(NamedDataset):
    """Images with a label file each: what the loaders of real data sets have in common.

    Args:
        pairs: image file and label file of each sample.
        label_of: value in the file -> label that is trained (0..C-1, or 255 to ignore); every
            other value is an error.
        classes: English names of the C classes.
        classes_zh: Chinese names of the C classes.
        colors: (red, green, blue) in 0..255 of the C classes.
        transforms: called with each sample dict.

    Raises:
        FileNotFoundError: if one of the files is missing.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        label_of: Mapping[int, int],
        classes: Sequence[str],
        classes_zh: Sequence[str],
        colors: Sequence[tuple[int, int, int]],
        transforms: Callable[[dict[str, Any]], Any] | None = None,
    ):
        missing = [path for pair in pairs for path in pair if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{missing[0]}: no such file ({len(missing)} of {2 * len(pairs)} files are missing)"
            )
        self.pairs = list(pairs)
        self.label_of = dict(label_of)
        self.classes, self.classes_zh = tuple(classes), tuple(classes_zh)
        self.colors = tuple(colors)
        self.transforms = transforms
        self._table = np.full(256, -1, dtype=np.int16)
        self._table[list(label_of)] = list(label_of.values())

    @property
    def num_classes(self) -> int:
        """Number of classes C, not counting what is ignored."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.pairs)

    def _read_labels(self, path: Path) -> NDArray[np.uint8]:
        values = read_values(path)
        labels = self._table[values]
        if (labels < 0).any():
            bad = np.unique(values[labels < 0])
            raise ValueError(
                f"{path}: holds the value {bad[0]}"
                + (f" and {len(bad) - 1} others" if len(bad) > 1 else "")
                + f" that are no labels here; allowed are {_spans(self.label_of)}"
            )
        if IGNORE_INDEX in self.label_of and np.isin(values, (0, 255)).all():
            white = (values == 255).mean()
            if white > 0.25:
                raise ValueError(
                    f"{path}: holds 0 and 255 alone, and {white:.0%} of it is 255, which means "
                    "'ignore' here; if it is a black and white mask, write 1 instead of 255"
                )
        return labels.astype(np.uint8)

    def __getitem__(self, index: int) -> Any:
        image_path, label_path = self.pairs[index]
        image, labels = read_image(image_path), self._read_labels(label_path)
        if image.shape[1:] != labels.shape:
            height, width = image.shape[1:]
            raise ValueError(
                f"{label_path}: is {labels.shape[1]} x {labels.shape[0]} pixels, "
                f"but its image {image_path.name} is {width} x {height}"
            )
        sample = {"image": image, "mask": tv_tensors.Mask(torch.from_numpy(labels))}
        return sample if self.transforms is None else self.transforms(sample)


def check_split(split: str, allowed: Sequence[str]) -> None:
    """Raise ValueError unless ``split`` is one of ``allowed``."""
    if split not in allowed:
        raise ValueError(f"split must be one of {', '.join(allowed)}; got {split!r}")


def check_folder(folder: Path, what: str) -> None:
    """Raise FileNotFoundError unless ``folder`` exists; ``what`` says what it should hold."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; it should hold {what}")


def read_lines(path: Path, what: str) -> list[str]:
    """Return the lines that are not empty of a list file; ``what`` says what it should hold."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it should hold {what}")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"{path}: is empty; it should hold {what}")
    return lines


def _spans(values: Mapping[int, int]) -> str:
    """Write sorted numbers as spans: 0..20, 255."""
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(f"{low}..{high}" if low < high else f"{low}" for low, high in spans)
