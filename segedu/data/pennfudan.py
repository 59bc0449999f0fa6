"""Penn-Fudan pedestrians: beside each image a mask that numbers its objects.

    <root>/PNGImages/<name>.png
    <root>/PedMasks/<name>_mask.png      0 background, 1, 2, ... one number per object

There are 170 images and no official split; take ``torch.utils.data.Subset``.

Source: Wang et al. 2007, "Object detection combining recognition and segmentation".
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segedu.data.pairs import check_folder
from segedu.data.segments import (
    BACKGROUND,
    Category,
    Segment,
    SegmentDataset,
    Transforms,
    count_ids,
    name_background,
    read_numbers,
    segments_of,
)

PERSON = Category("person", "行人", (220, 20, 60), isthing=True)


class PennFudan(SegmentDataset):
    """Images with numbered objects of one class: instance or panoptic samples (``data.segments``).

    Numbers need not be consecutive; 8 and 16 bits are read. All objects are taken to be annotated,
    so the background is a segment in panoptic samples (category 0, stuff), not void.

    Args:
        root: the folder that holds ``PNGImages`` and ``PedMasks``.
        category: the class of the objects, where other data is stored in this layout.
        task: "instance" or "panoptic".
        transforms: called with each sample dict.

    Attributes:
        classes, classes_zh, colors, num_classes, isthing: see ``SegmentDataset``.

    Raises:
        ValueError: for an unknown ``task``; on access if a mask has another size than its image or
            holds colours.
        FileNotFoundError: if a folder is missing or empty, or an image has no mask.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        category: Category = PERSON,
        task: str = "instance",
        transforms: Transforms | None = None,
    ):
        images, masks = Path(root) / "PNGImages", Path(root) / "PedMasks"
        check_folder(images, "the images, as PNG")
        check_folder(masks, "a <name>_mask.png for each image")
        pairs = [(path, masks / f"{path.stem}_mask.png") for path in sorted(images.glob("*.png"))]
        if not pairs:
            raise FileNotFoundError(f"{images}: no *.png in this folder")
        categories = [Category(*BACKGROUND, isthing=False), category]
        super().__init__(pairs, partial(_read, categories), categories, task, transforms)


def _read(
    categories: list[Category], pair: tuple[Path, Path]
) -> tuple[NDArray[np.int32], list[Segment]]:
    ids = read_numbers(pair[1])
    category_of = {number: 1 for number in count_ids(ids) if number}
    if (ids == 0).any():
        category_of[name_background(ids)] = 0
    return ids, segments_of(ids, categories, category_of)
