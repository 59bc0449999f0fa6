"""One tiny data set per layout, to try a kind of fault on all loaders."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

HEIGHT, WIDTH = 4, 6  # upright


class Tiny(NamedTuple):
    """A data set on the disk, and how it is opened."""

    layout: str
    root: Path
    split: str
    options: dict[str, Any]


def picture(deep: bool = False) -> np.ndarray:
    """A grey ramp (4, 6) from black to white, of 8 or 16 bits."""
    white = 65535 if deep else 255
    ramp = np.linspace(0, white, HEIGHT * WIDTH).round().reshape(HEIGHT, WIDTH)
    return ramp.astype(np.uint16 if deep else np.uint8)


def labels(size: tuple[int, int]) -> np.ndarray:
    """One object, 1, in the upper left quarter."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[: size[0] // 2, : size[1] // 2] = 1
    return mask


def save(path: Path, array: np.ndarray, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if orientation == 6:  # stored lying on its side
        array = np.rot90(array)
    Image.fromarray(np.ascontiguousarray(array)).save(path, exif=exif, format="PNG")


def write(
    layout: str,
    root: Path,
    *,
    ending: str = ".png",
    deep: bool = False,
    orientation: int = 1,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> Tiny:
    """Write one sample, named ``a``, in a layout.

    Args:
        layout: one of ``segedu.data.LAYOUTS``, but for scenes.
        root: an empty folder.
        ending: of image and label files.
        deep: whether the image has 16 bits.
        orientation: of the image, in its EXIF entry.
        size: height and width of the labels.
    """
    image, mask = picture(deep), labels(size)
    height, width = size
    corners = [[0, 0], [width / 2, 0], [width / 2, height / 2], [0, height / 2]]

    def put(place: str) -> None:
        save(root / f"{place}{ending}", image, orientation)

    def put_text(place: str, text: str) -> None:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)

    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "categories": [{"id": 1, "name": "cat", "isthing": 1, "supercategory": ""}],
    }
    split, options = "all", {}
    if layout == "folders":
        put("images/a")
        save(root / f"masks/a{ending}", mask)
        options = {"classes": ["back", "cat"]}
    elif layout == "voc":
        put("JPEGImages/a")
        save(root / f"SegmentationClass/a{ending}", mask)
        put_text("ImageSets/Segmentation/train.txt", "a")
        split, options = "train", {"classes": ["back", "cat"]}
    elif layout == "camvid":
        put("train/a")
        save(root / f"trainannot/a{ending}", mask)
        put_text("train.txt", "train/a.png trainannot/a.png")
        split = "train"
    elif layout == "cityscapes":
        put("leftImg8bit/train/ulm/a_leftImg8bit")
        save(root / f"gtFine/train/ulm/a_gtFine_labelIds{ending}", mask + 7)
        split = "train"
    elif layout == "coco":
        put("train2017/a")
        points = [value for corner in corners for value in corner]
        entry = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [points]}
        put_text(
            "annotations/instances_train2017.json", json.dumps(coco | {"annotations": [entry]})
        )
        split = "train"
    elif layout == "coco-panoptic":
        put("train2017/a")
        save(
            root / f"annotations/panoptic_train2017/a{ending}",
            np.stack([mask, 0 * mask, 0 * mask], axis=-1),
        )
        entry = {"image_id": 1, "file_name": "a.png"}
        entry["segments_info"] = [{"id": 1, "category_id": 1}]
        put_text("annotations/panoptic_train2017.json", json.dumps(coco | {"annotations": [entry]}))
        split = "train"
    elif layout == "objects":
        put("a/images/a")
        save(root / f"a/masks/1{ending}", mask * 255)
    elif layout == "labelme":
        put("a")
        shape = {"label": "cat", "points": corners, "shape_type": "polygon"}
        content = {"shapes": [shape], "imageHeight": height, "imageWidth": width}
        put_text("a.json", json.dumps(content))
        options = {"classes": ["cat"]}
    elif layout == "yolo":
        put("images/a")
        put_text("labels/a.txt", "0 0 0 .5 0 .5 .5 0 .5")
        options = {"classes": ["cat"]}
    elif layout == "pennfudan":
        put("PNGImages/a")
        save(root / f"PedMasks/a_mask{ending}", mask)
    else:
        raise ValueError(f"no tiny data set for the layout {layout!r}")
    return Tiny(layout, root, split, options)
