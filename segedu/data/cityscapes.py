"""Cityscapes, read from the layout of its archives.

    <root>/leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
    <root>/gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png
    <root>/gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_instanceIds.png    16 bits

The files hold 34 "label ids"; training uses 19 of them, renumbered ("train ids"), and ignores the
rest. An instance id is 1000 * label id + a number for a single object, and the label id alone for
stuff and for groups of objects that nobody told apart. The archives are for registered users of
cityscapes-dataset.com.

Source: Cordts et al. 2016, "The Cityscapes dataset for semantic urban scene understanding"; the
table of ids is that of the official evaluation scripts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segedu.data.images import (
    ReadImage,
    Skipped,
    check_folder,
    read_image,
    read_values,
    report_skipped,
)
from segedu.data.pairs import IGNORE_INDEX, PairDataset, check_split
from segedu.data.segments import (
    Category,
    Segment,
    SegmentDataset,
    Transforms,
    count_ids,
    segments_of,
)

SPLITS = ("train", "val", "test")


class TrainClass(NamedTuple):
    """A class that is trained: its id in the files, names and colour."""

    label_id: int
    name: str
    name_zh: str
    color: tuple[int, int, int]


# In the order of the train ids 0..18.
TRAIN_CLASSES = (
    TrainClass(7, "road", "道路", (128, 64, 128)),
    TrainClass(8, "sidewalk", "人行道", (244, 35, 232)),
    TrainClass(11, "building", "建筑", (70, 70, 70)),
    TrainClass(12, "wall", "墙", (102, 102, 156)),
    TrainClass(13, "fence", "围栏", (190, 153, 153)),
    TrainClass(17, "pole", "杆", (153, 153, 153)),
    TrainClass(19, "traffic light", "交通信号灯", (250, 170, 30)),
    TrainClass(20, "traffic sign", "交通标志", (220, 220, 0)),
    TrainClass(21, "vegetation", "植被", (107, 142, 35)),
    TrainClass(22, "terrain", "地形", (152, 251, 152)),
    TrainClass(23, "sky", "天空", (70, 130, 180)),
    TrainClass(24, "person", "行人", (220, 20, 60)),
    TrainClass(25, "rider", "骑行者", (255, 0, 0)),
    TrainClass(26, "car", "汽车", (0, 0, 142)),
    TrainClass(27, "truck", "卡车", (0, 0, 70)),
    TrainClass(28, "bus", "公交车", (0, 60, 100)),
    TrainClass(31, "train", "火车", (0, 80, 100)),
    TrainClass(32, "motorcycle", "摩托车", (0, 0, 230)),
    TrainClass(33, "bicycle", "自行车", (119, 11, 32)),
)
FIRST_THING = 11  # train ids from here on (person) are things
NUM_LABEL_IDS = 34
TRAIN_ID_OF = {
    **dict.fromkeys(range(NUM_LABEL_IDS), IGNORE_INDEX),
    **{item.label_id: train_id for train_id, item in enumerate(TRAIN_CLASSES)},
}


class Cityscapes(PairDataset):
    """Cityscapes street scenes: 19 classes by their train ids; all other ids become 255.

    A sample is ``{"image": uint8 (3, H, W), "mask": uint8 (H, W)}`` before ``transforms``.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: ``train``, ``val`` or ``test`` (whose published label files are empty dummies).
        transforms: called with each sample, such as ``segedu.data.transforms.training(768)``.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Raises:
        ValueError: for an unknown ``split``; on access if a label file has another size than its
            image, holds colours, or a value that is no label id.
        FileNotFoundError: if a folder is missing or empty, or an image has no label file.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        transforms: Callable[[dict[str, Any]], Any] | None = None,
        read_image: ReadImage = read_image,
    ):
        pairs, skipped = _pairs(Path(root), split, "labelIds")
        super().__init__(
            pairs,
            TRAIN_ID_OF,
            [item.name for item in TRAIN_CLASSES],
            [item.name_zh for item in TRAIN_CLASSES],
            [item.color for item in TRAIN_CLASSES],
            transforms,
            read_image=read_image,
            skipped=skipped,
        )


class CityscapesObjects(SegmentDataset):
    """Cityscapes with single objects: instance or panoptic samples (``data.segments``).

    Categories are the 19 train ids, 11 (person) to 18 (bicycle) things; everything else is void.
    In panoptic samples a segment's id is its instance id, as in the official conversion. A group of
    objects that nobody told apart is a crowd.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: ``train``, ``val`` or ``test`` (whose published label files are empty dummies).
        task: "instance" gives the eight things as labels 1..8, "panoptic" everything, "semantic"
            the train ids.
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        classes, classes_zh, colors, num_classes, isthing: see `SegmentDataset`.

    Raises:
        ValueError: for an unknown ``split`` or ``task``; on access if a file of instance ids has
            another size than its image, holds colours, or an id that is no instance id.
        FileNotFoundError: if a folder is missing or empty, or an image has no such file.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        task: str = "instance",
        transforms: Transforms | None = None,
        read_image: ReadImage = read_image,
    ):
        pairs, skipped = _pairs(Path(root), split, "instanceIds")
        super().__init__(
            pairs,
            _read_segments,
            _CATEGORIES,
            task,
            transforms,
            read_image=read_image,
            skipped=skipped,
        )


_CATEGORIES = [
    Category(item.name, item.name_zh, item.color, isthing=train_id >= FIRST_THING)
    for train_id, item in enumerate(TRAIN_CLASSES)
]


def _pairs(root: Path, split: str, kind: str) -> tuple[list[tuple[Path, Path]], list[Skipped]]:
    """List each image of a split with its label file of a kind, and what is no image."""
    check_split(split, SPLITS)
    images, labels = root / "leftImg8bit" / split, root / "gtFine" / split
    check_folder(images, "a folder per city with *_leftImg8bit.png")
    check_folder(labels, f"a folder per city with *_gtFine_{kind}.png")
    pairs, skipped = [], []
    for path in sorted(images.glob("*/*")):
        if path.name.startswith(".") or path.parent.name.startswith("."):
            skipped.append(Skipped(path, "hidden"))
            continue
        if not path.name.lower().endswith("_leftimg8bit.png"):
            skipped.append(Skipped(path, "not named *_leftImg8bit.png"))
            continue
        name = path.name[: -len("_leftImg8bit.png")] + f"_gtFine_{kind}.png"
        pairs.append((path, labels / path.parent.name / name))
    if not pairs:
        raise FileNotFoundError(f"{images}: no */*_leftImg8bit.png below this folder")
    report_skipped(images, skipped)
    return pairs, skipped


def _read_segments(
    pair: tuple[Path, Path], size: tuple[int, int]
) -> tuple[NDArray[np.int32], list[Segment]]:
    _, path = pair
    ids = read_values(path, size)
    label_of = {i: i if i < 1000 else i // 1000 for i in count_ids(ids)}
    bad = [i for i, label_id in label_of.items() if label_id not in TRAIN_ID_OF]
    if bad:
        raise ValueError(
            f"{path}: holds the id {bad[0]}; allowed are label ids, 0..{NUM_LABEL_IDS - 1}, "
            "and 1000 times a label id plus a number below 1000"
        )
    train_of = {i: TRAIN_ID_OF[label_id] for i, label_id in label_of.items()}
    void = [i for i, train_id in train_of.items() if train_id == IGNORE_INDEX]
    ids[np.isin(ids, void)] = 0
    category_of = {i: train_id for i, train_id in train_of.items() if i not in void}
    groups = {i for i, train_id in category_of.items() if i < 1000 and train_id >= FIRST_THING}
    return ids, segments_of(ids, _CATEGORIES, category_of, groups)
