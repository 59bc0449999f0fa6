"""Pascal VOC segmentation, of classes and of objects, read from the layout of the VOC devkit.

    <root>/VOCdevkit/VOC2012/JPEGImages/<name>.jpg
    <root>/VOCdevkit/VOC2012/SegmentationClass/<name>.png      palette PNG, 255 = void
    <root>/VOCdevkit/VOC2012/SegmentationObject/<name>.png     the same with objects 1, 2, ...
    <root>/VOCdevkit/VOC2012/ImageSets/Segmentation/<split>.txt

Files may have the ending of any image format.

``torchvision.datasets.VOCSegmentation(root, download=True)`` downloads and unpacks exactly this.

Source: Everingham et al. 2015, "The Pascal Visual Object Classes challenge: a retrospective".
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segedu.data.images import ReadImage, check_folder, list_images, read_image, read_values
from segedu.data.pairs import IGNORE_INDEX, PairDataset, read_lines
from segedu.data.segments import (
    Category,
    Segment,
    SegmentDataset,
    Transforms,
    count_ids,
    name_background,
    segments_of,
)

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
CLASSES_ZH = (
    *("背景", "飞机", "自行车", "鸟", "船", "瓶子", "公交车", "汽车", "猫", "椅子", "牛", "餐桌"),
    *("狗", "马", "摩托车", "人", "盆栽", "羊", "沙发", "火车", "显示器"),
)


def colormap(count: int) -> list[tuple[int, int, int]]:
    """Return the first ``count`` colours of the VOC palette.

    The bits of the index are dealt out to red, green and blue in turn, the lowest bits becoming
    the highest of the colour, so that neighbouring classes look different.
    """

    def color(index: int) -> tuple[int, int, int]:
        channels = [0, 0, 0]
        for shift in range(8):
            for channel in range(3):
                bit = index >> (3 * shift + channel) & 1
                channels[channel] |= bit << (7 - shift)
        return tuple(channels)

    return [color(index) for index in range(count)]


class VOCSegmentation(PairDataset):
    """Pascal VOC: 20 classes of objects and the background; 255 (void) is ignored.

    A sample is ``{"image": uint8 (3, H, W), "mask": uint8 (H, W)}`` before ``transforms``.

    Args:
        root: the folder that holds ``VOCdevkit``, or ``JPEGImages`` itself.
        split: ``train``, ``val`` or ``trainval``, or any other that ImageSets/Segmentation lists.
        year: the year of the challenge, a part of the folder's name.
        classes: names of the classes, where other data is stored in this layout.
        classes_zh: their Chinese names; the same as ``classes`` if only those are given.
        colors: their colours; those of the VOC palette if not given.
        transforms: called with each sample, such as ``segedu.data.transforms.training(480)``.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Raises:
        ValueError: for an unknown ``split``; on access if a label file has another size than its
            image, holds colours, or a value that is no class.
        FileNotFoundError: if a folder, the list of the split or a listed file is missing.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        year: str = "2012",
        classes: Sequence[str] = CLASSES,
        classes_zh: Sequence[str] | None = None,
        colors: Sequence[tuple[int, int, int]] | None = None,
        transforms: Callable[[dict[str, Any]], Any] | None = None,
        read_image: ReadImage = read_image,
    ):
        super().__init__(
            _files(Path(root), split, year, "SegmentationClass"),
            {**{label: label for label in range(len(classes))}, 255: IGNORE_INDEX},
            classes,
            classes_zh or _chinese(classes),
            colors or colormap(len(classes)),
            transforms,
            read_image=read_image,
        )


class VOCObjects(SegmentDataset):
    """Pascal VOC with single objects: instance or panoptic samples (``data.segments``).

    Categories are the background, which is stuff, and the classes of things; the line of void
    around every object (255) belongs to no segment.

    Args:
        root: the folder that holds ``VOCdevkit``, or ``JPEGImages`` itself.
        split: ``train``, ``val`` or ``trainval``, or any other that ImageSets/Segmentation lists.
        year: the year of the challenge, a part of the folder's name.
        classes, classes_zh, colors: see ``VOCSegmentation``; the first class is the background.
        task: "instance" gives the objects, with labels 1, 2, ..., "panoptic" the background as
            well, "semantic" the class of every pixel.
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        classes, classes_zh, colors, num_classes, isthing: see `SegmentDataset`.

    Raises:
        ValueError: for an unknown ``split`` or ``task``; on access if the files of an image differ
            in size, hold colours, or an object has several classes or none.
        FileNotFoundError: if a folder, the list of the split or a listed file is missing.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        year: str = "2012",
        classes: Sequence[str] = CLASSES,
        classes_zh: Sequence[str] | None = None,
        colors: Sequence[tuple[int, int, int]] | None = None,
        task: str = "instance",
        transforms: Transforms | None = None,
        read_image: ReadImage = read_image,
    ):
        rows = zip(
            classes,
            classes_zh or _chinese(classes),
            colors or colormap(len(classes)),
            strict=True,
        )
        categories = [Category(*row, isthing=label > 0) for label, row in enumerate(rows)]
        super().__init__(
            _files(Path(root), split, year, "SegmentationObject", "SegmentationClass"),
            partial(_read_objects, categories),
            categories,
            task,
            transforms,
            read_image=read_image,
        )


def _chinese(classes: Sequence[str]) -> Sequence[str]:
    return CLASSES_ZH if tuple(classes) == CLASSES else classes


def find_folder(root: Path, year: str) -> Path:
    """The folder of one year, or ``root`` itself if it holds the images."""
    return root if (root / "JPEGImages").is_dir() else root / "VOCdevkit" / f"VOC{year}"


def _files(root: Path, split: str, year: str, *folders: str) -> list[tuple[Path, ...]]:
    """List each image of a split with its PNG in each of some folders."""
    folder = find_folder(root, year)
    check_folder(folder, f"JPEGImages, {', '.join(folders)} and ImageSets")
    lists = folder / "ImageSets" / "Segmentation"
    check_folder(lists, "a list of names for each split")
    known = sorted(path.stem for path in lists.glob("*.txt"))
    if split not in known:
        raise ValueError(f"split must be one of {', '.join(known)}, as {lists} has; got {split!r}")
    names = read_lines(lists / f"{split}.txt", "the names of the images, one per line")
    parts = {"JPEGImages": ".jpg", **dict.fromkeys(folders, ".png")}
    found = {part: list_images(folder / part, "an image per name", []) for part in parts}
    return [
        tuple(found[part].get(name, folder / part / (name + end)) for part, end in parts.items())
        for name in names
    ]


def _read_objects(
    categories: Sequence[Category], files: tuple[Path, Path, Path], size: tuple[int, int]
) -> tuple[NDArray[np.int32], list[Segment]]:
    _, object_file, class_file = files
    ids, classes = read_values(object_file, size), read_values(class_file, size)
    if ids.shape != classes.shape:
        raise ValueError(
            f"{object_file}: is {ids.shape[1]} x {ids.shape[0]} pixels, "
            f"but {class_file} is {classes.shape[1]} x {classes.shape[0]}"
        )
    void = (ids == IGNORE_INDEX) | (classes == IGNORE_INDEX)  # either file may have the line
    category_of = {}
    for number in sorted(count_ids(ids[~void])):
        found = np.unique(classes[~void & (ids == number)]).tolist()
        if len(found) > 1 or found[0] >= len(categories) or (found[0] > 0) != (number > 0):
            raise ValueError(
                f"{object_file}: object {number} has the classes {found} in {class_file}; "
                f"allowed is one of 1..{len(categories) - 1}, and 0 where there is no object"
            )
        category_of[number] = found[0]
    if 0 in category_of:
        category_of[name_background(ids)] = category_of.pop(0)
    ids[void] = 0
    return ids, segments_of(ids, categories, category_of)
