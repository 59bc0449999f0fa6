"""Pascal VOC semantic segmentation, read from the layout of the VOC devkit.

    <root>/VOCdevkit/VOC2012/JPEGImages/<name>.jpg
    <root>/VOCdevkit/VOC2012/SegmentationClass/<name>.png      palette PNG, 255 = void
    <root>/VOCdevkit/VOC2012/ImageSets/Segmentation/<split>.txt

``torchvision.datasets.VOCSegmentation(root, download=True)`` downloads and unpacks exactly this.

Source: Everingham et al. 2015, "The Pascal Visual Object Classes challenge: a retrospective".
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segedu.data.pairs import IGNORE_INDEX, PairDataset, check_folder, check_split, read_lines

SPLITS = ("train", "val", "trainval")
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
        root: the folder that holds ``VOCdevkit``.
        split: ``train``, ``val`` or ``trainval``.
        year: the year of the challenge, a part of the folder's name.
        classes: names of the classes, where other data is stored in this layout.
        classes_zh: their Chinese names; the same as ``classes`` if only those are given.
        colors: their colours; those of the VOC palette if not given.
        transforms: called with each sample, such as ``segedu.data.transforms.training(480)``.

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
    ):
        check_split(split, SPLITS)
        folder = Path(root) / "VOCdevkit" / f"VOC{year}"
        check_folder(folder, "JPEGImages, SegmentationClass and ImageSets")
        listing = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        names = read_lines(listing, "the names of the images, one per line")
        super().__init__(
            [
                (
                    folder / "JPEGImages" / f"{name}.jpg",
                    folder / "SegmentationClass" / f"{name}.png",
                )
                for name in names
            ],
            {**{label: label for label in range(len(classes))}, 255: IGNORE_INDEX},
            classes,
            classes_zh or (CLASSES_ZH if tuple(classes) == CLASSES else classes),
            colors or colormap(len(classes)),
            transforms,
        )
