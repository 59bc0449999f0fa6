"""Penn-Fudan pedestrians: beside each image a mask that numbers its objects.

    <root>/PNGImages/<name>.png
    <root>/PedMasks/<name>_mask.png      0 background, 1, 2, ... one number per object

Other endings are read, too.

There are 170 images and no official split; take ``torch.utils.data.Subset``.

Source: Wang et al. 2007, "Object detection combining recognition and segmentation".
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segedu.data.images import (
    ReadImage,
    Skipped,
    list_images,
    read_image,
    read_values,
    report_skipped,
)
from segedu.data.segments import (
    BACKGROUND,
    Category,
    Segment,
    SegmentDataset,
    Transforms,
    numbered_objects,
)

PERSON = Category("person", "行人", (220, 20, 60), isthing=True)


class PennFudan(SegmentDataset):
    """Images with numbered objects of one class: instance or panoptic samples (``data.segments``).

    Numbers need not be consecutive; 8 and 16 bits are read. All objects are taken to be annotated,
    so the background is a segment in panoptic samples (category 0, stuff), not void.

    Args:
        root: the folder that holds ``PNGImages`` and ``PedMasks``.
        category: the class of the objects, where other data is stored in this layout.
        task: "semantic", "instance" or "panoptic".
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        classes, classes_zh, colors, num_classes, isthing, skipped: see ``SegmentDataset``.

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
        read_image: ReadImage = read_image,
    ):
        folder, skipped = Path(root) / "PNGImages", []
        images = list_images(folder, "the images", skipped)
        masks = list_images(Path(root) / "PedMasks", "a <name>_mask.png for each image", skipped)
        if not images:
            raise FileNotFoundError(f"{folder}: no image in this folder")
        pairs = []
        for name, path in images.items():
            absent = Path(root) / "PedMasks" / f"{name}_mask.png"
            pairs.append((path, masks.pop(f"{name}_mask", absent)))
        skipped += [Skipped(path, "a mask without an image") for path in masks.values()]
        report_skipped(Path(root), skipped)
        categories = [Category(*BACKGROUND, isthing=False), category]
        super().__init__(
            pairs,
            partial(_read, categories),
            categories,
            task,
            transforms,
            read_image=read_image,
            skipped=skipped,
        )


def _read(
    categories: list[Category], pair: tuple[Path, Path], size: tuple[int, int]
) -> tuple[NDArray[np.int32], list[Segment]]:
    return numbered_objects(read_values(pair[1], size), categories)
