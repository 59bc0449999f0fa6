"""What the loaders of instance and panoptic data share: samples, maps of segments, files.

The kinds of sample, before ``transforms``:

* semantic: ``image`` uint8 (C, H, W) and ``mask`` uint8 (H, W), the class of every pixel, 255 where
  there is none (void).
* instance: ``image``, ``boxes`` float32 (N, 4) as left, top, right, bottom in
  pixels (right and bottom lie one past the last pixel), ``masks`` bool (N, H, W), ``labels`` int64
  (N,) from 1 on, since detectors keep 0 for the background, ``iscrowd`` int64 (N,), ``area``
  float32 (N,) in pixels, ``image_id`` int. N may be 0.
* panoptic: ``image``, ``panoptic_seg`` int32 (H, W) with the id of every pixel's segment, 0 where
  there is none (void), ``segments_info``, a list of ``{id, category_id, isthing, iscrowd, area}``,
  and ``image_id``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from segedu.data.images import (
    ReadImage,
    Skipped,
    any_case,
    check_files,
    check_size,
    read_image,
)
from segedu.data.naming import NamedDataset
from segedu.data.pairs import IGNORE_INDEX
from segedu.files import read_json
from segedu.ops.boxes import masks_to_boxes

TASKS = ("semantic", "instance", "panoptic")
BACKGROUND = ("background", "背景", (0, 0, 0))

Sample = dict[str, Any]
Segment = dict[str, Any]
Transforms = Callable[[Sample], Any]


class Category(NamedTuple):
    """One class of a data set; its place in the list is its category id."""

    name: str
    name_zh: str
    color: tuple[int, int, int]
    isthing: bool


def instance_sample(
    image: tv_tensors.Image,
    masks: NDArray[np.bool_],
    labels: Sequence[int],
    image_id: int,
    *,
    boxes: Sequence[Sequence[float]] | None = None,
    iscrowd: Sequence[int] | None = None,
    area: Sequence[float] | None = None,
) -> Sample:
    """Put an instance sample together.

    Args:
        image: uint8 (3, H, W).
        masks: (N, H, W).
        labels: N numbers.
        image_id: a number for the image.
        boxes: N boxes, left, top, right and bottom; the smallest around the masks if not given.
        iscrowd: N times 0 or 1; 0 if not given.
        area: N areas in pixels; counted in the masks if not given.
    """
    areas = [np.count_nonzero(mask) for mask in masks] if area is None else area
    masks = tv_tensors.Mask(torch.from_numpy(masks))
    corners = masks_to_boxes(masks) if boxes is None else torch.tensor(boxes, dtype=torch.float32)
    return {
        "image": image,
        "boxes": tv_tensors.BoundingBoxes(
            corners.reshape(-1, 4),
            format=tv_tensors.BoundingBoxFormat.XYXY,
            canvas_size=tuple(image.shape[1:]),
        ),
        "masks": masks,
        "labels": torch.tensor(labels, dtype=torch.int64),
        "iscrowd": torch.tensor(iscrowd or [0] * len(masks), dtype=torch.int64),
        "area": torch.tensor(areas, dtype=torch.float32),
        "image_id": image_id,
    }


def semantic_sample(
    image: tv_tensors.Image, ids: NDArray[np.int32], segments: Sequence[Segment]
) -> Sample:
    """Put a semantic sample together from a map of ids (H, W), void 0, and its segments."""
    numbers, place = np.unique(ids, return_inverse=True)
    category_of = {segment["id"]: segment["category_id"] for segment in segments}
    category = np.array([category_of.get(i, IGNORE_INDEX) for i in numbers.tolist()], np.uint8)
    mask = tv_tensors.Mask(torch.from_numpy(category[place.reshape(ids.shape)]))
    return {"image": image, "mask": mask}


def panoptic_sample(
    image: tv_tensors.Image, ids: NDArray[np.int32], segments: list[Segment], image_id: int
) -> Sample:
    """Put a panoptic sample together from a map of ids (H, W), void 0, and its segments."""
    return {
        "image": image,
        "panoptic_seg": tv_tensors.Mask(torch.from_numpy(ids)),
        "segments_info": segments,
        "image_id": image_id,
    }


def segments_of(
    ids: NDArray[np.int32],
    categories: Sequence[Category],
    category_of: Mapping[int, int],
    crowds: Collection[int] = (),
) -> list[Segment]:
    """List the segments of a map (H, W) with their areas.

    Args:
        ids: the map; the ids in it and in ``category_of`` are the same, but for void 0.
        categories: all classes.
        category_of: segment id -> category id, in the order wanted.
        crowds: ids of the segments that are crowds.
    """
    areas = count_ids(ids)
    return [
        {
            "id": number,
            "category_id": category_of[number],
            "isthing": categories[category_of[number]].isthing,
            "iscrowd": int(number in crowds),
            "area": areas[number],
        }
        for number in category_of
    ]


def name_background(ids: NDArray[np.int32]) -> int:
    """Give the pixels with 0 an id of their own, in place, and return it: one above all others.

    Where every object was annotated, 0 is not void: a segment found there is wrong.
    """
    number = int(ids.max(initial=0)) + 1
    ids[ids == 0] = number
    return number


def count_ids(ids: NDArray[np.int32]) -> dict[int, int]:
    """Number of pixels of every id in a map, in rising order of the ids."""
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


class SegmentDataset(NamedDataset):
    """Images whose segments come as a map of ids, for all three tasks.

    Args:
        items: what ``read`` takes; an item starts with the image file and the file of its map.
        read: item and size (H, W) of its image -> map of ids, int32 (H, W), void 0, and its
            segments.
        categories: all classes, in the order of their category ids.
        task: ``semantic`` gives the category id of every pixel, ``instance`` the things of each
            image, ``panoptic`` all its segments.
        transforms: called with each sample dict.
        image_ids: a number for each item; its place in ``items`` if not given.
        read_image: image file -> uint8 (C, H, W).
        skipped: what was found beside the items and left out.

    Attributes:
        classes, classes_zh, colors: of the numbers in the samples. In semantic and panoptic samples
            these are the category ids; in instance samples 0 is the background, and the classes of
            things are numbered 1, 2, ... in their order.
        num_classes: how many there are, with the background.
        isthing: category id -> whether it is a thing, as ``PanopticQuality`` takes it.
        names, image_paths: of the samples.
        label_paths: of each sample the files that say what is in its image.
        skipped: see above.

    Raises:
        ValueError: for an unknown ``task``; on access if a map has another size than its image.
        FileNotFoundError: if one of the files is missing.
    """

    def __init__(
        self,
        items: Sequence[tuple[Any, ...]],
        read: Callable[[tuple[Any, ...], tuple[int, int]], tuple[NDArray[np.int32], list[Segment]]],
        categories: Sequence[Category],
        task: str,
        transforms: Transforms | None = None,
        image_ids: Sequence[int] | None = None,
        *,
        read_image: ReadImage = read_image,
        skipped: Sequence[Skipped] = (),
    ):
        check_task(task, len(categories))
        self.items = [
            tuple(any_case(part) if isinstance(part, Path) else part for part in item)
            for item in items
        ]
        check_files([part for item in self.items for part in item if isinstance(part, Path)])
        self.image_paths = [item[0] for item in self.items]
        self.label_paths = [
            tuple(part for part in item[1:] if isinstance(part, Path)) for item in self.items
        ]
        self.names = [path.stem for path in self.image_paths]
        self.task, self.transforms, self.skipped = task, transforms, list(skipped)
        self.image_ids = range(len(items)) if image_ids is None else list(image_ids)
        self._read, self._read_image = read, read_image
        things = [i for i, category in enumerate(categories) if category.isthing]
        self._label_of = {category: label for label, category in enumerate(things, start=1)}
        self.isthing = {i: category.isthing for i, category in enumerate(categories)}
        shown = [category[:3] for category in categories]
        if task == "instance":
            shown = [BACKGROUND, *(shown[i] for i in things)]
        self.classes, self.classes_zh, self.colors = zip(*shown, strict=True)
        self.num_classes = len(shown)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        item, image_id = self.items[index], self.image_ids[index]
        image = self._read_image(item[0])
        size = tuple(image.shape[1:])
        ids, segments = self._read(item, size)
        check_size(item[1], ids.shape, item[0], size)
        if self.task == "semantic":
            sample = semantic_sample(image, ids, segments)
        elif self.task == "panoptic":
            sample = panoptic_sample(image, ids, segments, image_id)
        else:
            things = [segment for segment in segments if segment["isthing"]]
            numbers = np.array([segment["id"] for segment in things], dtype=np.int32)
            sample = instance_sample(
                image,
                ids == numbers[:, None, None],  # (N, H, W)
                [self._label_of[segment["category_id"]] for segment in things],
                image_id,
                iscrowd=[segment["iscrowd"] for segment in things],
            )
        return sample if self.transforms is None else self.transforms(sample)


class Objects(NamedTuple):
    """The N objects of one image."""

    masks: NDArray[np.bool_]
    """(N, H, W)."""
    labels: list[int]
    """From 1 on."""
    boxes: list[list[float]] | None = None
    """Left, top, right, bottom; around the masks if None."""
    iscrowd: list[int] | None = None
    """0 or 1; all 0 if None."""
    area: list[float] | None = None
    """In pixels; counted if None."""
    void: NDArray[np.bool_] | None = None
    """(H, W), where nobody says what there is besides the objects; nowhere if None."""


class ObjectDataset(NamedDataset):
    """Images whose objects have a mask each and may overlap, for all three tasks.

    What belongs to no object is background, category 0, which is stuff. In semantic and panoptic
    samples a pixel has one owner: crowds lie below the other objects, and small ones on large ones.

    Args:
        image_paths: of the images.
        label_paths: of each image the files that say what is in it.
        read: index and size (H, W) -> the objects of that image.
        categories: the background, then the classes of the objects; their places are the labels.
        task: ``semantic``, ``instance`` or ``panoptic``.
        transforms: called with each sample dict.
        image_ids: a number for each image; its place if not given.
        read_image: image file -> uint8 (C, H, W).
        skipped: what was found and left out.

    Attributes:
        classes, classes_zh, colors, num_classes, isthing, names, image_paths, label_paths,
            image_ids, skipped: see ``SegmentDataset``; here the numbers are the same in all three
            tasks.

    Raises:
        ValueError: for an unknown ``task``.
        FileNotFoundError: if one of the images is missing.
    """

    def __init__(
        self,
        image_paths: Sequence[Path],
        label_paths: Sequence[Sequence[Path]],
        read: Callable[[int, tuple[int, int]], Objects],
        categories: Sequence[Category],
        task: str,
        transforms: Transforms | None = None,
        image_ids: Sequence[int] | None = None,
        *,
        read_image: ReadImage = read_image,
        skipped: Sequence[Skipped] = (),
    ):
        check_task(task, len(categories))
        self.image_paths = [any_case(path) for path in image_paths]
        self.label_paths = [tuple(paths) for paths in label_paths]
        check_files(self.image_paths)
        self.names = [path.stem for path in self.image_paths]
        self.task, self.transforms, self.skipped = task, transforms, list(skipped)
        self.image_ids = list(range(len(image_paths)) if image_ids is None else image_ids)
        self._read, self._read_image = read, read_image
        self._categories = list(categories)
        self.classes, self.classes_zh, self.colors, isthing = zip(*categories, strict=True)
        self.num_classes, self.isthing = len(self.classes), dict(enumerate(isthing))

    def __len__(self) -> int:
        return len(self.image_paths)

    def __getitem__(self, index: int) -> Any:
        image, image_id = self._read_image(self.image_paths[index]), self.image_ids[index]
        objects = self._read(index, tuple(image.shape[1:]))
        if self.task == "instance":
            sample = instance_sample(
                image,
                objects.masks,
                objects.labels,
                image_id,
                boxes=objects.boxes,
                iscrowd=objects.iscrowd,
                area=objects.area,
            )
        else:
            ids, category_of, crowds = stack_objects(objects)
            segments = segments_of(ids, self._categories, category_of, crowds)
            if self.task == "panoptic":
                sample = panoptic_sample(image, ids, segments, image_id)
            else:
                sample = semantic_sample(image, ids, segments)
        return sample if self.transforms is None else self.transforms(sample)


def stack_objects(objects: Objects) -> tuple[NDArray[np.int32], dict[int, int], set[int]]:
    """Lay objects that may overlap on each other: crowds lowest, small ones on large ones.

    Returns:
        Map (H, W) of ids: number k + 1 is object k, one more than their count the background, 0
        void; id -> category of those that are to be seen; the ids of the crowds.
    """
    ids = np.zeros(objects.masks.shape[1:], dtype=np.int32)
    crowd = np.array(objects.iscrowd or [0] * len(objects.labels))
    areas = objects.masks.sum((1, 2))
    for k in np.lexsort((-areas, -crowd)):  # crowds first, then by falling area
        ids[objects.masks[k]] = k + 1
    background = ids == 0 if objects.void is None else (ids == 0) & ~objects.void
    ids[background] = len(objects.labels) + 1
    labels = [*objects.labels, 0]
    return (
        ids,
        {number: labels[number - 1] for number in count_ids(ids) if number},
        set((np.flatnonzero(crowd) + 1).tolist()),
    )


def numbered_objects(
    ids: NDArray[np.int32], categories: Sequence[Category]
) -> tuple[NDArray[np.int32], list[Segment]]:
    """What a map says that numbers the objects of one class, and has 0 where there is none.

    Args:
        ids: (H, W); changed where the background gets a number of its own.
        categories: of the background and of the objects.

    Returns:
        The map, and its segments with the background among them.
    """
    category_of = {number: 1 for number in count_ids(ids) if number}
    if (ids == 0).any():
        category_of[name_background(ids)] = 0
    return ids, segments_of(ids, categories, category_of)


def read_annotations(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Return what a JSON file holds: an object that has a list under each of ``keys``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON, or a list is missing.
    """
    content = read_json(path)
    for key in keys:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(
                f"{path}: must be an object with the lists {', '.join(keys)}; no {key!r}"
            )
    return content


def index_records(
    path: Path, kind: str, records: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> dict[int, Mapping[str, Any]]:
    """Records of a COCO json by their ids, in rising order.

    Args:
        path: the file, for the errors.
        kind: what they are, "image" or "category".
        records: dicts with an ``id``.
        keys: what else each of them must have.

    Raises:
        ValueError: if a key is missing or an id occurs twice.
    """
    by_id: dict[int, Mapping[str, Any]] = {}
    for place, record in enumerate(records):
        check_keys(f"{path}: {kind} number {place}", record, ("id", *keys))
        if record["id"] in by_id:
            raise ValueError(f"{path}: the {kind} id {record['id']} occurs twice")
        by_id[record["id"]] = record
    return dict(sorted(by_id.items()))


def check_keys(what: str, record: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Raise ValueError unless ``record`` has all ``keys``; ``what`` says where it stands."""
    missing = [key for key in keys if key not in record]
    if missing:
        raise ValueError(f"{what} must have {', '.join(keys)}; no {missing[0]!r}")


def file_below(folder: Path, name: str, listing: Path) -> Path:
    """Return ``folder / name``; ValueError if that leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{listing}: the path {name!r} leads out of {folder}")
    return folder / path


def check_task(task: str, num_classes: int) -> None:
    """Raise ValueError unless ``task`` is one of ``TASKS`` and takes so many classes."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; got {task!r}")
    if task == "semantic" and num_classes > IGNORE_INDEX:
        raise ValueError(f"a semantic mask holds at most {IGNORE_INDEX} classes, got {num_classes}")
