"""A folder per image with one mask file per object, as in the Data Science Bowl 2018 (nuclei).

    <root>/<name>/images/<any>.png      one image
    <root>/<name>/masks/*.png           one file per object: 0, and one other value on the object

There is no official split: pass the names of the folders to read.

Source: Caicedo et al. 2019, "Nucleus segmentation across imaging experiments: the 2018 Data
Science Bowl".
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segedu.data.naming import NamedDataset
from segedu.data.pairs import check_folder, read_image, read_values
from segedu.data.segments import (
    BACKGROUND,
    Category,
    Transforms,
    check_size,
    check_task,
    instance_sample,
    name_background,
    panoptic_sample,
    segments_of,
)

NUCLEUS = Category("nucleus", "细胞核", (60, 180, 255), isthing=True)


class ObjectFolders(NamedDataset):
    """Images with a mask file per object, all of one class; instance or panoptic samples.

    Masks may overlap in instance samples, but not in panoptic ones. All objects are taken to be
    annotated, so the background is a segment in panoptic samples (category 0, stuff), not void. The
    transparency of RGBA images is dropped.

    Args:
        root: the folder that holds a folder for each image.
        names: which of these folders, in this order; all of them, sorted, if None.
        category: the class of the objects.
        task: "instance" or "panoptic".
        transforms: called with each sample dict.

    Attributes:
        names: of the folders.
        classes, classes_zh, colors: of the labels and category ids, the background first.
        num_classes: 2.
        isthing: category id -> whether it is a thing.

    Raises:
        ValueError: for an unknown ``task``, or if a folder does not hold exactly one image; on
            access if a mask is empty, holds more than one value besides 0, has another size than
            the image, or (panoptic) overlaps with another.
        FileNotFoundError: if a folder is missing or there is none.
    """

    def __init__(
        self,
        root: str | Path,
        names: Sequence[str] | None = None,
        *,
        category: Category = NUCLEUS,
        task: str = "instance",
        transforms: Transforms | None = None,
    ):
        check_task(task)
        root = Path(root)
        check_folder(root, "a folder for each image")
        if names is None:
            names = sorted(path.name for path in root.iterdir() if path.is_dir())
        if not names:
            raise FileNotFoundError(f"{root}: no folder of an image in this folder")
        self.names, self.task, self.transforms = list(names), task, transforms
        self._categories = [Category(*BACKGROUND, isthing=False), category]
        self.classes, self.classes_zh, self.colors, isthing = zip(*self._categories, strict=True)
        self.num_classes, self.isthing = len(self.classes), dict(enumerate(isthing))
        self._items = [_list_files(root / name) for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        image_path, mask_paths = self._items[index]
        image = read_image(image_path)
        masks = np.zeros((len(mask_paths), *image.shape[1:]), dtype=bool)
        for mask, path in zip(masks, mask_paths, strict=True):
            values = read_values(path)
            check_size(path, values, image_path, image)
            mask[:] = values > 0
            if not mask.any() or (values[mask] != values.max()).any():
                raise ValueError(
                    f"{path}: holds the values {np.unique(values)[:5].tolist()}; the mask of an "
                    "object must hold one value besides 0"
                )
        if self.task == "instance":
            sample = instance_sample(image, masks, [1] * len(masks), index)
        else:
            ids = _number(masks, mask_paths)
            category_of = dict.fromkeys(range(1, len(masks) + 1), 1)
            if (ids == 0).any():
                category_of[name_background(ids)] = 0
            segments = segments_of(ids, self._categories, category_of)
            sample = panoptic_sample(image, ids, segments, index)
        return sample if self.transforms is None else self.transforms(sample)


def _list_files(folder: Path) -> tuple[Path, list[Path]]:
    """The image and the masks of a folder."""
    check_folder(folder / "images", "one image")
    check_folder(folder / "masks", "one PNG for each object")
    images = sorted(path for path in (folder / "images").iterdir() if path.is_file())
    if len(images) != 1:
        raise ValueError(f"{folder / 'images'}: must hold one image, holds {len(images)}")
    return images[0], sorted((folder / "masks").glob("*.png"))


def _number(masks: NDArray[np.bool_], paths: Sequence[Path]) -> NDArray[np.int32]:
    """Turn masks (N, H, W) without overlap into a map (H, W) of the numbers 1..N, 0 elsewhere."""
    ids = np.zeros(masks.shape[1:], dtype=np.int32)
    for number, mask in enumerate(masks, start=1):
        taken = ids[mask].max()
        if taken:
            raise ValueError(
                f"{paths[number - 1]}: overlaps with {paths[taken - 1].name}; "
                "a panoptic map holds one segment per pixel"
            )
        ids[mask] = number
    return ids
