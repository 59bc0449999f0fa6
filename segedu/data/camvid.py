"""CamVid in the version with 11 classes that came with SegNet.

    <root>/{train,val,test}/<name>.png
    <root>/{train,val,test}annot/<name>.png      values 0..10, 11 = unlabelled
    <root>/{train,val,test}.txt                  lines "/SegNet/CamVid/train/<name>.png /SegNet/…"

Sources: Brostow, Fauqueur and Cipolla 2009, "Semantic object classes in video: a high-definition
ground truth database"; Badrinarayanan, Kendall and Cipolla 2017, "SegNet", section 4.1.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from segedu.data.images import ReadImage, check_folder, read_image
from segedu.data.pairs import IGNORE_INDEX, PairDataset, check_split, read_lines

SPLITS = ("train", "val", "test")
CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car"),
    *("pedestrian", "bicyclist"),
)
CLASSES_ZH = (
    *("天空", "建筑", "杆", "道路", "人行道", "树", "标志牌", "围栏", "汽车", "行人", "骑车人"),
)
COLORS = (
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222)),
    *((128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)
UNLABELLED = 11
RECORDED = Path(__file__).parent / "annotations" / "camvid_counts.json"
_PREFIX = PurePosixPath("/SegNet/CamVid")  # where the data lay on the authors' machine


def _path(root: Path, entry: str, listing: Path) -> Path:
    path = PurePosixPath(entry)
    if path.is_relative_to(_PREFIX):
        path = path.relative_to(_PREFIX)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"{listing}: the path {entry!r} leads out of the data set; "
            f"expected it below {_PREFIX} or relative"
        )
    return root / path


class CamVid(PairDataset):
    """CamVid street scenes: 11 classes; the value 11 (unlabelled) becomes 255 and is ignored.

    A sample is ``{"image": uint8 (3, H, W), "mask": uint8 (H, W)}`` before ``transforms``.

    Args:
        root: the folder that holds the lists ``train.txt``, ``val.txt`` and ``test.txt``.
        split: ``train``, ``val`` or ``test``.
        transforms: called with each sample, such as ``segedu.data.transforms.training(360)``.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Raises:
        ValueError: for an unknown ``split`` or a malformed list; on access if a label file has
            another size than its image, holds colours, or a value that is no class.
        FileNotFoundError: if the list of the split or a listed file is missing.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        transforms: Callable[[dict[str, Any]], Any] | None = None,
        read_image: ReadImage = read_image,
    ):
        check_split(split, SPLITS)
        root = Path(root)
        check_folder(root, "train.txt, train and trainannot, and the same for val and test")
        listing = root / f"{split}.txt"
        pairs = []
        for line in read_lines(listing, "an image path and a label path per line"):
            entries = line.split()
            if len(entries) != 2:
                raise ValueError(f"{listing}: expected two paths in a line, got {line!r}")
            image, labels = (_path(root, entry, listing) for entry in entries)
            pairs.append((image, labels))
        label_of = {**{label: label for label in range(len(CLASSES))}, UNLABELLED: IGNORE_INDEX}
        super().__init__(
            pairs, label_of, CLASSES, CLASSES_ZH, COLORS, transforms, read_image=read_image
        )


@cache
def recorded_counts() -> dict[str, dict[str, torch.Tensor]]:
    """What two trained networks got right on the 205 test images, without the images.

    ``benchmarks/camvid_counts.py`` trained a small U-Net without and with class weights, from each
    of S seeds. A count has three rows: pixels of each class that are right, in the truth, in the
    prediction. The images are in the order of ``test.txt``.

    Returns:
        ``images``: ``plain`` and ``weighted`` -> int64 (N, 3, C), image by image, of the first
        seed; ``sums``: the same names -> int64 (S, 3, C), over all images, of each seed.

    Example:
        >>> recorded_counts()["images"]["plain"].shape
        torch.Size([205, 3, 11])
    """
    record = json.loads(RECORDED.read_text(encoding="utf-8"))
    return {
        part: {name: torch.tensor(counts) for name, counts in record[part].items()}
        for part in ("images", "sums")
    }
