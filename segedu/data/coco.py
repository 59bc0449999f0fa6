"""COCO instances: a json of annotations beside a folder of images.

    <images>/<file_name>
    <annotations>.json       {"images": [...], "annotations": [...], "categories": [...]}

An object's ``segmentation`` is a list of polygons, whose union is meant, or a run-length code,
compressed (a string) or not (a list of counts). A *crowd* (``iscrowd`` 1) is a region of many
objects that nobody told apart: evaluation neither rewards nor punishes what is found there.

Source: Lin et al. 2014, "Microsoft COCO: common objects in context"; the rules for filling
polygons are those of the official API.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segedu.data.classes import object_categories
from segedu.data.coco_names import chinese_name
from segedu.data.images import (
    ReadImage,
    Skipped,
    check_folder,
    check_size,
    read_image,
    report_skipped,
)
from segedu.data.segments import (
    ObjectDataset,
    Objects,
    Transforms,
    check_keys,
    file_below,
    index_records,
    read_annotations,
)
from segedu.ops import rle

NO_CLASS = "N/A"
_FINE = 5  # polygons are drawn on a grid so many times finer than the pixels


def draw_polygon(polygon: Sequence[float], height: int, width: int) -> NDArray[np.bool_]:
    """Fill one polygon exactly as COCO's own code does.

    Its vertices are rounded to a grid five times finer than the pixels and joined by straight
    lines of grid points. Where such a line crosses the middle of a pixel column, the column changes
    from outside to inside or back. Half a pixel of difference from the plain even-odd rule of
    ``ops.polygon_to_mask`` matters: only these masks give COCO's own average precision.

    Args:
        polygon: x0, y0, x1, y1, ... in pixels, the last vertex joined to the first.
        height: rows of the mask.
        width: columns of the mask.

    Returns:
        Mask, bool (height, width); empty if the polygon encloses nothing.

    Raises:
        ValueError: for fewer than three vertices, an odd number of coordinates, or one that is
            not finite.
    """
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"polygon must be x, y pairs of >= 3 vertices, got {len(polygon)} numbers")
    corners = np.asarray(polygon, dtype=np.float64)
    if not np.isfinite(corners).all():
        raise ValueError(f"polygon must be finite, got {corners[~np.isfinite(corners)][0]}")
    corners = np.trunc(_FINE * corners + 0.5).astype(np.int64).reshape(-1, 2)  # (K, 2)

    # Each line takes one step per grid point of its longer side, from its lower end there.
    start, end = corners, np.roll(corners, -1, axis=0)
    steep = np.diff(np.abs(end - start), axis=1)[:, 0] > 0
    long = steep.astype(int)  # axis of the longer side: 0 is x, 1 is y
    line = np.arange(len(corners))
    backwards = (start[line, long] > end[line, long])[:, None]
    start, end = np.where(backwards, end, start), np.where(backwards, start, end)
    steps = (end - start)[line, long]
    slope = (end - start)[line, 1 - long] / np.maximum(steps, 1)

    line = np.repeat(line, steps)
    step = np.arange(len(line)) - np.repeat(np.cumsum(steps) - steps, steps)
    long_at = start[line, long[line]] + step
    short_from, short_to = (
        np.trunc(start[line, 1 - long[line]] + slope[line] * at + 0.5).astype(np.int64)
        for at in (step, step + 1)
    )
    short_at = np.minimum(short_from, short_to)
    x = np.where(steep[line], short_at, long_at)
    y = np.where(steep[line], long_at, short_at)

    moves = ~steep[line] | (short_from != short_to)  # the step goes to another x
    column = x // _FINE
    crosses = moves & (x % _FINE == _FINE // 2) & (column >= 0) & (column < width)
    row = np.clip((y[crosses] + 2) // _FINE, 0, height)
    # Runs down the columns that end at the crossings are COCO's run lengths.
    ends = np.sort(column[crosses] * height + row)
    counts = np.diff(ends, prepend=0, append=height * width)
    return rle.decode({"size": [height, width], "counts": counts})


class CocoInstances(ObjectDataset):
    """Images with the objects of a COCO json, for all three tasks (``data.segments``).

    Category ids may have gaps (COCO's 80 classes have ids up to 90). Unless ``contiguous`` is
    switched off, label k + 1 is the k-th category in the order of the ids, whether or not an object
    of it occurs; ``category_ids[label]`` leads back. Label 0 is left to the background.

    Boxes are those of the file, clipped to the image. An object whose box has no width or no height
    then cannot be trained: it is left out and counted in ``skipped``. One whose polygons enclose no
    pixel's centre keeps its box and has an empty mask. Images without objects stay, with N = 0.
    Areas are those of the file.

    Args:
        images: the folder of the images.
        annotations: the json.
        contiguous: whether labels are 1, 2, ... without gaps; otherwise they are the category ids,
            as torchvision's COCO weights expect.
        crowd: whether crowd regions are in the samples; evaluation needs them (``iscrowd``),
            training does not want them.
        task: "instance", "semantic" or "panoptic".
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        classes, classes_zh, colors: of the labels; "N/A" where there is no such label.
        num_classes: how many there are, with the background.
        category_ids: label -> category id, 0 for the background.
        image_ids: of the samples, in rising order.
        isthing, names, image_paths, skipped: see ``ObjectDataset``.

    Raises:
        FileNotFoundError: if a file or folder is missing.
        ValueError: if the json is none, an entry lacks a key, an id occurs twice, an annotation
            refers to an image or category that is not there, or a box is malformed; on access if an
            image has another size than the json says, or a polygon or run-length code is
            malformed. The message names the file, the id of the annotation and the value.
    """

    def __init__(
        self,
        images: str | Path,
        annotations: str | Path,
        *,
        contiguous: bool = True,
        crowd: bool = True,
        task: str = "instance",
        transforms: Transforms | None = None,
        read_image: ReadImage = read_image,
    ):
        images, self.path = Path(images), Path(annotations)
        content = read_annotations(self.path, ("images", "annotations", "categories"))
        check_folder(images, "the images")
        records = index_records(
            self.path, "image", content["images"], ("file_name", "height", "width")
        )
        categories = index_records(self.path, "category", content["categories"], ("name",))
        self._records = list(records.values())
        if not contiguous and min(categories, default=1) < 1:
            raise ValueError(
                f"{self.path}: holds the category id {min(categories)}, but labels are 1 or more; "
                "use contiguous=True"
            )
        self.category_ids = (
            (0, *categories) if contiguous else range(max(categories, default=0) + 1)
        )
        self._label_of = {c: label for label, c in enumerate(self.category_ids) if label}
        names = [categories.get(c, {"name": NO_CLASS})["name"] for c in self.category_ids[1:]]
        skipped = self._sort_objects(content["annotations"], records, categories, crowd)
        report_skipped(self.path, skipped)
        super().__init__(
            [file_below(images, record["file_name"], self.path) for record in self._records],
            [(self.path,)] * len(self._records),
            self._read_objects,
            object_categories(names, [chinese_name(name) for name in names]),
            task,
            transforms,
            list(records),
            read_image=read_image,
            skipped=skipped,
        )

    def _sort_objects(
        self,
        annotations: Sequence[dict[str, Any]],
        records: Mapping[int, Mapping[str, Any]],
        categories: Collection[int],
        crowd: bool,
    ) -> list[Skipped]:
        """Give each image its annotations; return those that are left out."""
        self._objects: dict[int, list[dict[str, Any]]] = {i: [] for i in records}
        skipped = []
        for place, entry in enumerate(annotations):
            keys = ("id", "image_id", "category_id", "segmentation")
            check_keys(f"{self.path}: annotation number {place}", entry, keys)
            for key, known in (("image_id", records), ("category_id", categories)):
                if entry[key] not in known:
                    raise ValueError(
                        f"{self.path}: annotation {entry['id']} has the {key} {entry[key]}, "
                        "of which the file says nothing"
                    )
            if not crowd and entry.get("iscrowd", 0):
                continue  # as asked
            record = records[entry["image_id"]]
            if "bbox" in entry:
                with self._naming(entry):
                    box = _clip_box(entry["bbox"], record["height"], record["width"])
                if not (box[0] < box[2] and box[1] < box[3]):
                    reason = f"annotation {entry['id']} has a box without width or height"
                    skipped.append(Skipped(self.path, reason))
                    continue
            self._objects[entry["image_id"]].append(entry)
        return skipped

    @contextmanager
    def _naming(self, entry: Mapping[str, Any]) -> Iterator[None]:
        """Let errors name the file and the annotation."""
        try:
            yield
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.path}: annotation {entry['id']}: {error}") from None

    def _read_objects(self, index: int, size: tuple[int, int]) -> Objects:
        record = self._records[index]
        said = record["height"], record["width"]
        check_size(f"{self.path} for image {record['id']}", said, self.image_paths[index], size)
        entries = self._objects[record["id"]]
        masks, boxes = np.zeros((len(entries), *size), dtype=bool), []
        for mask, entry in zip(masks, entries, strict=True):
            with self._naming(entry):
                mask[:] = _read_mask(entry["segmentation"], *size)
                boxes.append(
                    _clip_box(entry["bbox"], *size) if "bbox" in entry else _box_around(mask)
                )
        return Objects(
            masks,
            [self._label_of[entry["category_id"]] for entry in entries],
            boxes,
            [int(entry.get("iscrowd", 0)) for entry in entries],
            [
                float(entry.get("area", mask.sum()))
                for entry, mask in zip(entries, masks, strict=True)
            ],
        )


def _read_mask(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Decode run lengths, or fill and unite polygons; bool (height, width)."""
    if isinstance(segmentation, dict):
        if list(segmentation.get("size", ())) != [height, width] or "counts" not in segmentation:
            raise ValueError(
                f"segmentation must have counts and the size [{height}, {width}], got "
                f"{ {key: value for key, value in segmentation.items() if key != 'counts'} }"
            )
        return rle.decode(segmentation)
    if not segmentation or not all(isinstance(polygon, list) for polygon in segmentation):
        raise ValueError(f"segmentation must be polygons or run lengths, got {segmentation!r}")
    mask = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        mask |= draw_polygon(polygon, height, width)
    return mask


def _clip_box(bbox: Sequence[float], height: int, width: int) -> list[float]:
    """Clip a box x, y, width, height to left, top, right, bottom."""
    if len(bbox) != 4 or not np.isfinite(bbox).all() or min(bbox[2:]) < 0:
        raise ValueError(f"bbox must be x, y, width >= 0 and height >= 0, got {bbox}")
    x, y, w, h = bbox
    return np.clip([x, y, x + w, y + h], 0, [width, height, width, height]).tolist()


def _box_around(mask: NDArray[np.bool_]) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ValueError("it encloses no pixel's centre and has no bbox; add the bbox or remove it")
    return [float(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]
