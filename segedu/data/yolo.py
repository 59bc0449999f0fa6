"""YOLO segmentation text: beside each image a file with one polygon per line.

    <root>/images/<name>.<any>            <root>/labels/<name>.txt           no splits
    <root>/images/<split>/...             <root>/labels/<split>/...
    <root>/<split>/images/...             <root>/<split>/labels/...
    <root>/<split>.txt                    names or paths of a split's images, all in images/

A line is ``class x1 y1 x2 y2 ...`` with the class counted from 0 and coordinates as shares of the
image's width and height. An image without a text file has no objects. Polygons are filled by COCO's
rules, since the files usually stem from there; an object of several parts is one polygon that
touches itself.

Source: the format that Ultralytics documents for segmentation, docs.ultralytics.com.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from segedu.data.classes import class_names, object_categories
from segedu.data.coco import draw_polygon
from segedu.data.folders import split_folders
from segedu.data.images import (
    ReadImage,
    Skipped,
    check_folder,
    list_images,
    read_image,
    report_skipped,
)
from segedu.data.pairs import read_lines
from segedu.data.segments import ObjectDataset, Objects, Transforms


class YoloSegmentation(ObjectDataset):
    """Images with polygons in text files, for all three tasks (``data.segments``).

    Text files without an image are left out and counted, and so are polygons without width or
    height. One that encloses no pixel's centre keeps its box and has an empty mask.

    Args:
        root: the folder that holds ``images`` and ``labels``.
        split: which part, or None.
        classes: names of the classes in the order of their numbers, or a file of them.
        task: "instance", "semantic" or "panoptic".
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        classes, classes_zh, colors, num_classes, isthing, names, image_paths, skipped: see
            ``ObjectDataset``; class k of the files is label k + 1.

    Raises:
        FileNotFoundError: if a folder is missing or holds no image.
        ValueError: if a line holds a box instead of a polygon, a class without a name, or
            coordinates outside of 0..1. The message names the file and the line.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        *,
        classes: str | Path | Sequence[str] | None = None,
        task: str = "instance",
        transforms: Transforms | None = None,
        read_image: ReadImage = read_image,
    ):
        if classes is None:
            raise ValueError("classes is missing: give the names in the order of their numbers")
        names = class_names(classes)
        image_folder, label_folder = split_folders(Path(root), split, ("images", "labels"))
        skipped: list[Skipped] = []
        images = list_images(image_folder, "the images", skipped)
        if not images:
            raise FileNotFoundError(f"{image_folder}: no image in this folder")
        known = set(images)
        if split is not None and (Path(root) / f"{split}.txt").is_file():
            images = _listed(Path(root) / f"{split}.txt", images)
        check_folder(label_folder, "a text file for each image with objects")
        texts = {}
        for path in sorted(label_folder.iterdir()):
            if path.suffix.lower() != ".txt":
                skipped.append(Skipped(path, "not a text file"))
            elif path.stem not in known:
                skipped.append(Skipped(path, "no image"))
            elif path.stem in images:
                texts[path.stem] = path
        if not texts:
            raise ValueError(f"{label_folder}: no text file has the name of an image")
        self._polygons = []
        for name in images:
            polygons = read_polygons(texts[name], len(names)) if name in texts else []
            self._polygons.append([row for row in polygons if np.ptp(row[1], axis=0).all()])
            lost = len(polygons) - len(self._polygons[-1])
            skipped += lost * [Skipped(texts.get(name, image_folder), "a polygon without area")]
        report_skipped(Path(root), skipped)
        super().__init__(
            list(images.values()),
            [(texts[name],) if name in texts else () for name in images],
            self._read_objects,
            object_categories(names),
            task,
            transforms,
            read_image=read_image,
            skipped=skipped,
        )

    def _read_objects(self, index: int, size: tuple[int, int]) -> Objects:
        height, width = size
        polygons = [
            (label + 1, polygon * (width, height)) for label, polygon in self._polygons[index]
        ]
        masks = [draw_polygon(polygon.ravel().tolist(), *size) for _, polygon in polygons]
        return Objects(
            np.array(masks, dtype=bool).reshape(-1, *size),
            [label for label, _ in polygons],
            [[*polygon.min(0), *polygon.max(0)] for _, polygon in polygons],
        )


def _listed(listing: Path, images: dict[str, Path]) -> dict[str, Path]:
    """The images that a list file names, in its order."""
    stems = [PurePosixPath(line).stem for line in read_lines(listing, "the images of the split")]
    missing = [stem for stem in stems if stem not in images]
    if missing:
        raise FileNotFoundError(
            f"{listing}: no image of the name {missing[0]!r} "
            f"({len(missing)} of {len(stems)} are missing)"
        )
    return {stem: images[stem] for stem in stems}


def read_polygons(path: Path, num_classes: int) -> list[tuple[int, np.ndarray]]:
    """Class and polygon, float64 (K, 2) as shares of width and height, of every line of a file.

    Raises:
        ValueError: for a malformed line.
    """
    polygons = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        where = f"{path}: line {number}"
        if not line.strip():
            continue
        try:
            label, *numbers = (float(word) for word in line.split())
        except ValueError:
            raise ValueError(f"{where} must hold numbers, got {line[:40]!r}") from None
        if len(numbers) == 4:
            raise ValueError(f"{where} holds a box; segmentation needs polygons")
        if len(numbers) < 6 or len(numbers) % 2:
            raise ValueError(
                f"{where} must hold a class and x, y of 3 vertices or more, got {len(numbers) + 1} "
                "numbers"
            )
        if not (label.is_integer() and 0 <= label < num_classes):
            raise ValueError(f"{where}: class {label:g}; there are {num_classes}, from 0 on")
        polygon = np.array(numbers).reshape(-1, 2)
        if not ((polygon >= 0) & (polygon <= 1)).all():
            raise ValueError(f"{where}: coordinates must be shares in 0..1 of width and height")
        polygons.append((int(label), polygon))
    return polygons
