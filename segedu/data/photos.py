"""Real photographs with our own annotations: stuff and things, drawn and checked by eye.

The pictures ship inside scikit-image (``pip install 'segedu[photos]'``) and open without a network;
the annotations are one COCO json beside this file. Its conventions:

* Polygon vertices are pixel corners: the centre of the first pixel is (0.5, 0.5). A pixel belongs
  to a polygon if its centre lies inside by the even-odd rule, so an area is a number of pixels.
* Regions with holes are compressed COCO run lengths (down the columns, background first).
* A pixel belongs to at most one region of its picture; to none if nobody annotated it (void).
* Every annotation says in ``made`` how it was made, for example "drawn, checked".

All three tasks are read from one map of regions, so they agree pixel by pixel.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import torch
from torchvision import tv_tensors

from segedu.data.naming import NamedDataset
from segedu.ops.masks import segmentation_to_mask

TASKS = ("semantic", "instance", "panoptic")
VOID = 255


class PhotoCategory(NamedTuple):
    """One class of the annotations; stuff comes first, ids are 0..C-1."""

    id: int
    name: str
    name_zh: str
    isthing: bool
    color: tuple[int, int, int]


class PhotoInfo(NamedTuple):
    """What is known about one photograph.

    ``title`` is bilingual, ``source`` and ``license`` are as scikit-image documents them,
    ``categories`` are the names of the annotated classes and ``num_objects`` counts the things.
    """

    name: str
    title: str
    source: str
    license: str
    height: int
    width: int
    categories: tuple[str, ...]
    num_objects: int


@lru_cache
def _annotations() -> dict[str, Any]:
    file = resources.files("segedu.data") / "annotations" / "photos.json"
    return json.loads(file.read_text(encoding="utf-8"))


def names() -> tuple[str, ...]:
    """Names of all photographs."""
    return tuple(image["name"] for image in _annotations()["images"])


def categories() -> tuple[PhotoCategory, ...]:
    """All classes of the annotations, stuff first; the id is the label in a semantic mask."""
    return tuple(
        PhotoCategory(
            row["id"], row["name"], row["name_zh"], bool(row["isthing"]), tuple(row["color"])
        )
        for row in _annotations()["categories"]
    )


def _image_record(name: str) -> dict[str, Any]:
    for image in _annotations()["images"]:
        if image["name"] == name:
            return image
    raise ValueError(f"name must be one of {', '.join(names())}, got {name!r}")


def _regions(image_id: int) -> list[dict[str, Any]]:
    return [row for row in _annotations()["annotations"] if row["image_id"] == image_id]


def info(name: str) -> PhotoInfo:
    """Title, origin, licence, size and classes of one photograph.

    Raises:
        ValueError: if there is no photograph of that name.
    """
    image = _image_record(name)
    licenses = {row["id"]: row["name"] for row in _annotations()["licenses"]}
    regions = _regions(image["id"])
    present = {row["category_id"] for row in regions}
    return PhotoInfo(
        name=name,
        title=image["title"],
        source=image["source"],
        license=licenses[image["license"]],
        height=image["height"],
        width=image["width"],
        categories=tuple(c.name for c in categories() if c.id in present),
        num_objects=sum(categories()[row["category_id"]].isthing for row in regions),
    )


@lru_cache
def _region_map(name: str) -> np.ndarray:
    """Map of the regions, int32 (H, W): 0 is void, k the k-th annotation of the photograph."""
    image = _image_record(name)
    size = image["height"], image["width"]
    region_map = np.zeros(size, dtype=np.int32)
    for index, region in enumerate(_regions(image["id"]), start=1):
        region_map[segmentation_to_mask(region["segmentation"], *size)] = index
    return region_map


@lru_cache
def _pixels(name: str) -> np.ndarray:
    """The photograph, uint8 (H, W, 3)."""
    image = _image_record(name)
    try:
        import skimage.data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "segedu.data.photos needs scikit-image: pip install 'segedu[photos]'"
        ) from error
    pixels = getattr(skimage.data, image["loader"])()
    if isinstance(pixels, tuple):  # a stereo pair: the left view
        pixels = pixels[0]
    if pixels.shape[:2] != (image["height"], image["width"]):
        raise ValueError(
            f"scikit-image's {image['loader']} must be {image['height']} x {image['width']} pixels "
            f"to fit the annotations, got {pixels.shape[0]} x {pixels.shape[1]}"
        )
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    return pixels


def load(name: str, task: str = "semantic") -> dict[str, Any]:
    """Open one photograph with its annotations.

    Args:
        name: one of `names`.
        task: "semantic", "instance" or "panoptic".

    Returns:
        A dict with ``image``, uint8 (3, H, W), grey pictures with three equal channels, and for

        * "semantic": ``mask``, uint8 (H, W), category ids, 255 where nothing is annotated;
        * "instance": the N things as ``masks``, bool (N, H, W), ``boxes``, float32 (N, 4), left,
          top, right and bottom edge in pixels (right and bottom lie one past the last pixel), and
          ``labels``, int64 (N,), category ids;
        * "panoptic": ``panoptic_seg``, int32 (H, W), 0 where nothing is annotated, and
          ``segments_info``, a list of ``{id, category_id, isthing, area}``.

    Raises:
        ValueError: if there is no such photograph or task.
        ModuleNotFoundError: if scikit-image is not installed.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    record = _image_record(name)
    regions, region_map = _regions(record["id"]), _region_map(name)
    isthing = [categories()[region["category_id"]].isthing for region in regions]
    image = torch.from_numpy(_pixels(name)).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)
    sample: dict[str, Any] = {"image": tv_tensors.Image(image)}

    if task == "semantic":
        labels = np.array([VOID] + [region["category_id"] for region in regions], dtype=np.uint8)
        sample["mask"] = tv_tensors.Mask(torch.from_numpy(labels[region_map]))
    elif task == "instance":
        things = np.flatnonzero(isthing)
        masks = region_map == (things + 1)[:, None, None]  # (N, H, W)
        corners = [[x, y, x + w, y + h] for x, y, w, h in (regions[i]["bbox"] for i in things)]
        sample["boxes"] = tv_tensors.BoundingBoxes(
            torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
            format=tv_tensors.BoundingBoxFormat.XYXY,
            canvas_size=region_map.shape,
        )
        sample["masks"] = tv_tensors.Mask(torch.from_numpy(masks))
        sample["labels"] = torch.tensor(
            [regions[i]["category_id"] for i in things], dtype=torch.int64
        )
    else:
        sample["panoptic_seg"] = tv_tensors.Mask(torch.from_numpy(region_map.copy()))
        sample["segments_info"] = [
            {
                "id": index,
                "category_id": region["category_id"],
                "isthing": thing,
                "area": region["area"],
            }
            for index, (region, thing) in enumerate(zip(regions, isthing, strict=True), start=1)
        ]
    return sample


class PhotoDataset(NamedDataset):
    """The photographs as a dataset of samples as `load` gives them.

    Args:
        names: which photographs, in this order; all of them if None.
        task: "semantic", "instance" or "panoptic".
        transforms: called with the sample, for example a ``torchvision.transforms.v2.Compose``.

    Raises:
        ValueError: if there is no such photograph or task.

    Attributes:
        classes, classes_zh, colors: of all categories, in the order of their ids.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        task: str = "semantic",
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ):
        if isinstance(names, str):
            raise TypeError(f"names must be a sequence of names, got the string {names!r}")
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
        self.names = tuple(row["name"] for row in _annotations()["images"])
        if names is not None:
            self.names = tuple(_image_record(name)["name"] for name in names)
        self.task = task
        self.transforms = transforms
        self.classes = tuple(c.name for c in categories())
        self.classes_zh = tuple(c.name_zh for c in categories())
        self.colors = tuple(c.color for c in categories())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = load(self.names[index], self.task)
        return sample if self.transforms is None else self.transforms(sample)
