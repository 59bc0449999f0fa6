"""The options that name a data set, which several commands have, and opening it by them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segedu.cli.options import Parser, find_root
from segedu.files import user_path

if TYPE_CHECKING:
    from torch.utils.data import Dataset

#: The layouts of `segedu.data`, which --help must not import, and what lies where.
LAYOUTS = {
    "folders": "images/ and masks/, in them or above train/ and val/; or a CSV: image,mask,split",
    "voc": "JPEGImages/, SegmentationClass/, ImageSets/Segmentation/train.txt",
    "camvid": "train.txt, train/, trainannot/, and the same for val and test",
    "cityscapes": "leftImg8bit/train/CITY/, gtFine/train/CITY/",
    "coco": "train2017/, annotations/instances_train2017.json; or --images and --annotations",
    "coco-panoptic": "train2017/, annotations/panoptic_train2017.json and .../ with its PNGs",
    "objects": "NAME/images/ANY.png, NAME/masks/*.png: one file for each object",
    "labelme": "NAME.jpg and NAME.json side by side",
    "yolo": "images/NAME.jpg, labels/NAME.txt: class number and corners of each object",
    "pennfudan": "PNGImages/, PedMasks/",
    "scenes": "no files: painted while you train",
}
TASKS = ("semantic", "instance", "panoptic")
#: What can be learnt from them: a mask for a prompt needs what objects do.
LEARNT = (*TASKS, "promptable")

# option of ``open_dataset`` -> (how it is written, how it is parsed)
_COMMON: dict[str, dict[str, Any]] = {
    "classes": {"nargs": "+", "metavar": "CLASS", "help": "names or name=value, or a file of them"},
    "masks": {"metavar": "KIND", "help": "what masks hold: index (default), color or binary"},
    "val_split": {
        "type": float,
        "metavar": "SHARE",
        "help": "for val where it has none: 0.2 a fifth, 5 every fifth image",
    },
}
_RARE: dict[str, dict[str, Any]] = {
    "split_by": {"metavar": "PATTERN", "help": "what names share that stay in one part"},
    "single_class": {"metavar": "NAME", "help": "all objects count as this one class (instance)"},
    "channels": {"type": int, "metavar": "N", "help": "1 grey, 3 colours (default), 4 RGBA, ..."},
    "white": {"type": int, "metavar": "N", "help": "value of white in images of 16 bits"},
    "max_pixels": {"type": int, "metavar": "N", "help": "largest image that is read"},
    "image_folder": {"metavar": "NAME", "help": "folders: where images are (images)"},
    "mask_folder": {"metavar": "NAME", "help": "folders: where masks are (masks)"},
    "image_suffix": {"metavar": "TEXT", "help": "folders: what names of images end in"},
    "mask_suffix": {"metavar": "TEXT", "help": "folders: what names of masks end in"},
    "year": {"metavar": "YEAR", "help": "voc: of the devkit (2012)"},
    "images": {"metavar": "FOLDER", "help": "coco: of the images, below the root"},
    "annotations": {"metavar": "FILE", "help": "coco: the json, below the root"},
    "segments": {"metavar": "FOLDER", "help": "coco-panoptic: of the PNGs, below the root"},
    "scenes": {"type": int, "metavar": "N", "help": "scenes: how many to train on (512)"},
}
_NAMES = {"split_by": "group"}  # what open_dataset calls it


def add_data(parser: Parser, *, given: str = "") -> None:
    """The options of a data set.

    Args:
        parser: gets them.
        given: where layout and root come from if they are not said; by default own folders.
    """
    parser.add_argument("--data", default="", help=f"root folder, or a CSV file of pairs{given}")
    text = given or " (default: folders); see --help-all"
    parser.add_argument("--layout", metavar="NAME", help=f"how it lies on the disk{text}")
    for name, settings in _COMMON.items():
        parser.add_argument(_flag(name), **settings)
    for name, settings in _RARE.items():
        parser.add_rare(_flag(name), **settings)
    parser.epilog = f"layouts: {', '.join(LAYOUTS)}"
    rows = "\n".join(f"  {name:14}{where}" for name, where in LAYOUTS.items())
    parser.epilog_all = f"layouts, and what lies below the root:\n{rows}"


def data_options(options: argparse.Namespace) -> dict[str, Any]:
    """What was said of a data set, in the names of ``open_dataset``; a file of classes is read."""
    from segedu.data.classes import class_names

    said = {}
    for name in (*_COMMON, *_RARE):
        value = getattr(options, name)
        if value is not None:
            said[_NAMES.get(name, name)] = value
    if "classes" in said:
        one = user_path(said["classes"][0]) if len(said["classes"]) == 1 else None
        is_file = one is not None and (one.suffix or one.is_file())
        said["classes"] = class_names(one if is_file else said["classes"])
    return said


def open_split(
    layout: str,
    data: str,
    split: str,
    task: str | None,
    said: Mapping[str, Any],
    *,
    seed: int = 0,
) -> Dataset:
    """One split of a data set, read for a task; ``data`` and ``said`` are of the command line."""
    from segedu.data import open_dataset

    read_as = "instance" if task == "promptable" else task
    return open_dataset(layout, find_root(layout, data), split, task=read_as, seed=seed, **said)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def as_options(message: str) -> str:
    """A message of the library, whose cures are arguments, with the options that they are here."""
    for name in ("val_split", "single_class", "masks", "white", "max_pixels"):
        message = message.replace(f"{name}=", f"{_flag(name)} ")
    message = message.replace("give images and annotations", "give --images and --annotations")
    return message.replace("'binary'", "binary").replace("'all'", "all")
