"""LabelMe: a json with polygons beside each image.

    <root>/<name>.<any>                  <root>/<name>.json                no splits
    <root>/<split>/<name>.<any>          <root>/<split>/<name>.json

Shapes that are read are polygons, rectangles, circles and masks; those of one label and one group
id are one object. A vertex is a corner of pixels: the centre of the first pixel is (0.5, 0.5).

Source: the files that labelme 3 to 5 writes, github.com/wkentaro/labelme.
"""

import base64
import binascii
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segedu.data.classes import class_names, object_categories
from segedu.data.images import (
    ReadImage,
    Skipped,
    check_folder,
    check_size,
    list_images,
    read_image,
    report_skipped,
)
from segedu.data.segments import (
    ObjectDataset,
    Objects,
    Transforms,
    read_annotations,
)
from segedu.ops.masks import polygon_to_mask

IGNORED = "__ignore__"
SHAPES = ("polygon", "rectangle", "circle", "mask")


class LabelMe(ObjectDataset):
    """Images annotated with LabelMe, for all three tasks (``data.segments``).

    Shapes labelled ``__ignore__`` are void in semantic and panoptic samples, where no object lies
    on them. Points, lines and shapes without width or height are left out and counted. So are
    images without a json, and jsons without an image. A shape that encloses no pixel's centre keeps
    its box and has an empty mask.

    Args:
        root: the folder.
        split: name of the folder in it, or None.
        classes: names of the objects' classes, or a file of them, such as LabelMe's ``labels.txt``;
            ``__ignore__``, ``_background_`` and ``background`` in it are not counted as objects.
        task: "instance", "semantic" or "panoptic".
        transforms: called with each sample dict.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        classes, classes_zh, colors, num_classes, isthing, names, image_paths, skipped: see
            ``ObjectDataset``; the background comes first.

    Raises:
        FileNotFoundError: if a folder or file is missing.
        ValueError: if a json is malformed, or holds a label that is not in ``classes``; on access
            if an image has another size than its json says.
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
        folder = Path(root) if split is None else Path(root) / split
        check_folder(folder, "images and a json for each")
        others: list[Skipped] = []
        images = list_images(folder, "images", others)
        jsons = {e.path.stem: e.path for e in others if e.path.suffix.lower() == ".json"}
        skipped = [entry for entry in others if entry.path not in jsons.values()]
        skipped += [Skipped(p, "no json") for name, p in images.items() if name not in jsons]
        skipped += [Skipped(p, "no image") for name, p in jsons.items() if name not in images]
        self._jsons = [path for name, path in jsons.items() if name in images]
        if not self._jsons:
            raise FileNotFoundError(f"{folder}: no image with a json of the same name")
        self._contents = [read_annotations(path, ("shapes",)) for path in self._jsons]
        labels = sorted({str(s.get("label")) for c in self._contents for s in c["shapes"]})
        if classes is None:
            raise ValueError(f"classes is missing; the files hold {', '.join(labels)}")
        names = [
            name
            for name in class_names(classes)
            if name not in (IGNORED, "_background_", "background")
        ]
        self._label_of = {name: label for label, name in enumerate(names, start=1)}
        for path, content in zip(self._jsons, self._contents, strict=True):
            skipped += self._sort_shapes(path, content)
        report_skipped(folder, skipped)
        super().__init__(
            [images[path.stem] for path in self._jsons],
            [(path,) for path in self._jsons],
            self._read_objects,
            object_categories(names),
            task,
            transforms,
            read_image=read_image,
            skipped=skipped,
        )

    def _sort_shapes(self, path: Path, content: dict[str, Any]) -> list[Skipped]:
        """Leave only the shapes that are objects; return the others."""
        kept, ignored, skipped = [], [], []
        for shape in content["shapes"]:
            label, kind = shape.get("label"), shape.get("shape_type") or "polygon"
            if label in ("_background_", "background"):
                skipped.append(Skipped(path, f"a shape labelled {label}"))
            elif kind not in SHAPES:
                skipped.append(Skipped(path, f"a {kind} has no area"))
            elif label == IGNORED:
                ignored.append(shape)
            elif label not in self._label_of:
                raise ValueError(
                    f"{path}: holds the label {label!r}; classes are {', '.join(self._label_of)}"
                )
            elif not np.ptp(_outline(path, shape), axis=0).all():
                skipped.append(Skipped(path, f"a {kind} without area"))
            else:
                kept.append(shape)
        content["shapes"], content[IGNORED] = kept, ignored
        return skipped

    def _read_objects(self, index: int, size: tuple[int, int]) -> Objects:
        path, content = self._jsons[index], self._contents[index]
        said = content.get("imageHeight") or size[0], content.get("imageWidth") or size[1]
        check_size(path, said, self.image_paths[index], size)
        masks: dict[Any, NDArray[np.bool_]] = {}
        outlines: dict[Any, list[NDArray[np.float64]]] = {}
        for place, shape in enumerate(content["shapes"]):
            # Shapes without a group id are objects of their own.
            group = shape.get("group_id")
            key = (shape["label"], "shape", place) if group is None else (shape["label"], group)
            mask = _fill(path, shape, size)
            masks[key] = masks.get(key, False) | mask
            outlines.setdefault(key, []).append(_outline(path, shape))
        void = np.zeros(size, dtype=bool)
        for shape in content[IGNORED]:
            void |= _fill(path, shape, size)
        limits = np.array([size[1], size[0]])
        corners = [np.concatenate(parts).clip(0, limits) for parts in outlines.values()]
        return Objects(
            np.array(list(masks.values()), dtype=bool).reshape(-1, *size),
            [self._label_of[label] for label, *_ in masks],
            [[*points.min(0), *points.max(0)] for points in corners],
            void=void,
        )


def _fill(path: Path, shape: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """:func:`shape_to_mask`, with errors that name the file."""
    try:
        return shape_to_mask(shape, size)
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise ValueError(f"{path}: a shape {shape.get('label')!r}: {error}") from None


def _outline(path: Path, shape: Mapping[str, Any]) -> NDArray[np.float64]:
    """Points (K, 2) whose extent is that of the shape."""
    points = np.asarray(shape.get("points", ()), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"{path}: the points of a shape {shape.get('label')!r} must be x, y pairs")
    kind = shape.get("shape_type")
    if kind == "circle":
        radius = np.hypot(*(points[1] - points[0])) if len(points) == 2 else 0.0
        return np.stack([points[0] - radius, points[0] + radius])
    return points + [[0, 0], [1, 1]] if kind == "mask" and len(points) == 2 else points


def shape_to_mask(shape: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill one shape of a LabelMe json.

    Args:
        shape: ``shape_type`` one of ``SHAPES``; ``points``: the vertices of a polygon, two opposite
            corners of a rectangle or of the place of a ``mask`` (a PNG in base64, with its last row
            and column), or centre and rim of a circle.
        size: (height, width) of the image.

    Returns:
        bool (height, width).

    Raises:
        ValueError: for another kind of shape, or too few points.
    """
    height, width = size
    points = np.asarray(shape["points"], dtype=np.float64)
    kind = shape.get("shape_type") or "polygon"
    if kind == "polygon":
        return polygon_to_mask(points.ravel().tolist(), height, width)
    if kind not in SHAPES or len(points) != 2:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)} with its points, got {kind!r}")
    (left, top), (right, bottom) = np.sort(points, axis=0)
    if kind == "rectangle":
        corners = [left, top, right, top, right, bottom, left, bottom]
        return polygon_to_mask(corners, height, width)
    y, x = np.mgrid[:height, :width] + 0.5
    if kind == "circle":
        (cx, cy), rim = points
        return (x - cx) ** 2 + (y - cy) ** 2 <= ((rim - points[0]) ** 2).sum()
    with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
        patch = np.asarray(image).astype(bool)
    mask = np.zeros(size, dtype=bool)
    row, column = int(top), int(left)
    view = mask[row : row + patch.shape[0], column : column + patch.shape[1]]
    view[:] = patch[: view.shape[0], : view.shape[1]]
    return mask
