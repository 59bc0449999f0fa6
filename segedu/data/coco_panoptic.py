"""COCO panoptic: a PNG with the segment of every pixel beside each image, and a json.

    <images>/<file_name>             the photographs
    <segments>/<file_name>           PNG: the id of a pixel's segment is R + 256 G + 65536 B
    <annotations>.json               {"images": [...], "annotations": [...], "categories": [...]}

Each annotation belongs to one image and lists its segments; id 0 is void. Every category says
whether it is a thing.

Source: Kirillov et al. 2019, "Panoptic segmentation"; the format is that of COCO's web page.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segedu.data.coco_names import chinese_name
from segedu.data.images import (
    ReadImage,
    Skipped,
    check_folder,
    read_colors,
    read_image,
    report_skipped,
)
from segedu.data.segments import (
    Category,
    Segment,
    SegmentDataset,
    Transforms,
    check_keys,
    file_below,
    index_records,
    read_annotations,
    segments_of,
)
from segedu.data.voc import colormap


class CocoPanoptic(SegmentDataset):
    """Images with a COCO panoptic json; by default samples are panoptic (``data.segments``).

    Category ids in the file may have gaps (COCO's 133 classes have ids up to 200). In samples,
    ``category_id`` k is the k-th category in the order of the ids: 0, 1, ... without gaps, with
    COCO's 80 things first. ``category_ids[k]`` leads back.

    Areas are counted in the PNG.

    Args:
        images: the folder of the images.
        annotations: the json.
        segments: the folder of the PNGs; by default the json's path without its ending, as COCO's
            archives unpack.
        task: "panoptic", "semantic", or "instance" for the things of every image (``iscrowd`` marks
            crowds).
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        classes, classes_zh, colors, num_classes, isthing: see `SegmentDataset`.
        category_ids: category id of a sample -> category id of the file.

    Raises:
        FileNotFoundError: if a file or folder is missing.
        ValueError: if the json is none, an entry lacks a key, an id occurs twice, or refers to
            nothing; on access if a PNG holds an id that the json does not list for it, or misses a
            listed one, or has another size than its image.
    """

    def __init__(
        self,
        images: str | Path,
        annotations: str | Path,
        segments: str | Path | None = None,
        *,
        task: str = "panoptic",
        transforms: Transforms | None = None,
        read_image: ReadImage = read_image,
    ):
        images, path = Path(images), Path(annotations)
        content = read_annotations(path, ("images", "annotations", "categories"))
        segments = path.with_suffix("") if segments is None else Path(segments)
        check_folder(images, "the images")
        check_folder(segments, "a PNG of segment ids for each image")
        records = index_records(path, "image", content["images"], ("file_name",))
        rows = index_records(path, "category", content["categories"], ("name", "isthing"))
        self.category_ids = tuple(rows)
        place_of = {category: place for place, category in enumerate(rows)}
        categories = [
            Category(
                row["name"],
                chinese_name(row["name"]),
                tuple(row.get("color", color)),
                bool(row["isthing"]),
            )
            for row, color in zip(rows.values(), colormap(len(rows)), strict=True)
        ]
        items = {}
        for place, entry in enumerate(content["annotations"]):
            check_keys(
                f"{path}: annotation number {place}",
                entry,
                ("image_id", "file_name", "segments_info"),
            )
            image_id = entry["image_id"]
            if image_id not in records:
                raise ValueError(
                    f"{path}: annotation number {place} has the unknown image {image_id}"
                )
            if image_id in items:
                raise ValueError(f"{path}: image {image_id} has two annotations")
            category_of, crowds = _read_segments(path, image_id, entry["segments_info"], place_of)
            items[image_id] = (
                file_below(images, records[image_id]["file_name"], path),
                file_below(segments, entry["file_name"], path),
                category_of,
                crowds,
            )
        skipped = [
            Skipped(images / record["file_name"], f"no annotation in {path.name}")
            for image_id, record in records.items()
            if image_id not in items
        ]
        report_skipped(path, skipped)
        self._categories, self._path = categories, path
        super().__init__(
            [items[image_id] for image_id in sorted(items)],
            self._read_map,
            categories,
            task,
            transforms,
            image_ids=sorted(items),
            read_image=read_image,
            skipped=skipped,
        )
        self.label_paths = [(*paths, path) for paths in self.label_paths]

    def _read_map(
        self, item: tuple[Path, Path, dict[int, int], Collection[int]], size: tuple[int, int]
    ) -> tuple[NDArray[np.int32], list[Segment]]:
        _, png, category_of, crowds = item
        ids = read_colors(png, size)
        found = set(np.unique(ids).tolist()) - {0}
        for wrong, what in (
            (found - category_of.keys(), f"holds ids that {self._path.name} does not list for it"),
            (
                category_of.keys() - found,
                f"has no pixel of ids that {self._path.name} lists for it",
            ),
        ):
            if wrong:
                shown = ", ".join(str(i) for i in sorted(wrong)[:5])
                raise ValueError(f"{png}: {what}: {shown} ({len(wrong)} in all)")
        return ids, segments_of(ids, self._categories, category_of, crowds)


def _read_segments(
    path: Path, image_id: int, segments: list[dict[str, Any]], place_of: dict[int, int]
) -> tuple[dict[int, int], frozenset[int]]:
    """Category of each segment of an image, and which segments are crowds."""
    category_of: dict[int, int] = {}
    for segment in segments:
        where = f"{path}: a segment of image {image_id}"
        check_keys(where, segment, ("id", "category_id"))
        if segment["id"] in category_of or not 0 < segment["id"] < 1 << 24:
            raise ValueError(
                f"{where} has the id {segment['id']}; ids must be unique, in 1..{(1 << 24) - 1}"
            )
        if segment["category_id"] not in place_of:
            raise ValueError(
                f"{where}, {segment['id']}, has the category_id {segment['category_id']}, "
                "of which the file says nothing"
            )
        category_of[segment["id"]] = place_of[segment["category_id"]]
    return category_of, frozenset(s["id"] for s in segments if s.get("iscrowd", 0))
