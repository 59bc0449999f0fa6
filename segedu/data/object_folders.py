"""A folder per image with one mask file per object, as in the Data Science Bowl 2018 (nuclei).

    <root>/<name>/images/<any>.png      one image
    <root>/<name>/masks/*.png           one file per object: 0, and one other value on the object

Files may have the ending of any image format.

There is no official split: pass the names of the folders to read.

Source: Caicedo et al. 2019, "Nucleus segmentation across imaging experiments: the 2018 Data
Science Bowl".
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segedu.data.images import (
    ReadImage,
    Skipped,
    check_folder,
    check_size,
    list_images,
    read_image,
    read_values,
    report_skipped,
)
from segedu.data.segments import BACKGROUND, Category, ObjectDataset, Objects, Transforms

NUCLEUS = Category("nucleus", "细胞核", (60, 180, 255), isthing=True)


class ObjectFolders(ObjectDataset):
    """Images with a mask file per object, all of one class, for all three tasks.

    Masks may overlap in instance samples, but not in panoptic ones. All objects are taken to be
    annotated, so the background is a segment in panoptic samples (category 0, stuff), not void.

    Args:
        root: the folder that holds a folder for each image.
        names: which of these folders, in this order; all of them, sorted, if None.
        category: the class of the objects.
        task: "instance", "semantic" or "panoptic".
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        names: of the folders.
        classes, classes_zh, colors: of the labels and category ids, the background first.
        num_classes: 2.
        isthing, image_paths, skipped: see ``ObjectDataset``.

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
        read_image: ReadImage = read_image,
    ):
        root, skipped = Path(root), []
        check_folder(root, "a folder for each image")
        if names is None:
            entries = sorted(root.iterdir())
            shown = [path for path in entries if path.is_dir() and not path.name.startswith(".")]
            names = [path.name for path in shown]
            skipped = [
                Skipped(path, "a hidden folder" if path.is_dir() else "not a folder")
                for path in entries
                if path not in shown
            ]
        if not names:
            raise FileNotFoundError(f"{root}: no folder of an image in this folder")
        image_paths, label_paths = [], []
        for name in names:
            images = list_images(root / name / "images", "one image", skipped)
            if len(images) != 1:
                raise ValueError(
                    f"{root / name / 'images'}: must hold one image, holds {len(images)}"
                )
            masks = list_images(root / name / "masks", "one PNG for each object", skipped)
            image_paths += images.values()
            label_paths.append(list(masks.values()))
        report_skipped(root, skipped)
        super().__init__(
            image_paths,
            label_paths,
            self._read_objects,
            [Category(*BACKGROUND, isthing=False), category],
            task,
            transforms,
            read_image=read_image,
            skipped=skipped,
        )
        self.names = list(names)

    def _read_objects(self, index: int, size: tuple[int, int]) -> Objects:
        paths = self.label_paths[index]
        masks = np.zeros((len(paths), *size), dtype=bool)
        for mask, path in zip(masks, paths, strict=True):
            values = read_values(path, size)
            check_size(path, values.shape, self.image_paths[index], size)
            mask[:] = values > 0
            if not mask.any() or (values[mask] != values.max()).any():
                raise ValueError(
                    f"{path}: holds the values {np.unique(values)[:5].tolist()}; the mask of an "
                    "object must hold one value besides 0"
                )
        if self.task == "panoptic":
            self._check_overlap(masks, paths)
        return Objects(masks, [1] * len(masks))

    def _check_overlap(self, masks: np.ndarray, paths: Sequence[Path]) -> None:
        owner = np.full(masks.shape[1:], -1)
        for number, mask in enumerate(masks):
            taken = owner[mask].max()
            if taken >= 0:
                raise ValueError(
                    f"{paths[number]}: overlaps with {paths[taken].name}; "
                    "a panoptic map holds one segment per pixel"
                )
            owner[mask] = number
