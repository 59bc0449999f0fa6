"""Opening a data set by the name of its layout: one function for every loader."""

import inspect
from collections.abc import Callable, Sequence, Set
from functools import partial
from hashlib import sha256
from pathlib import Path
from re import search
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from segedu.data import folders
from segedu.data.classes import class_names, class_table, object_categories
from segedu.data.images import DEEP_WHITE, check_folder, read_image
from segedu.data.views import Part, SingleClass

SCENE_SPLITS = {"train": 512, "val": 64, "test": 128}  # number of scenes; each split has its seed
ALL = "all"

Options = dict[str, Any]


def open_dataset(
    layout: str,
    root: str | Path = "",
    split: str = "train",
    *,
    task: str | None = None,
    transforms: Callable[[dict[str, Any]], Any] | None = None,
    val_split: float = 0.0,
    seed: int = 0,
    group: str | None = None,
    single_class: str = "",
    channels: int = 3,
    white: int = DEEP_WHITE,
    max_pixels: int | None = None,
    **options: Any,
) -> Dataset:
    """Open one split of a data set.

    Args:
        layout: one of ``LAYOUTS``.
        root: folder of the data set, or the CSV file of ``folders``; not for ``scenes``.
        split: one of `find_splits`; ``all`` where there are none; ``train`` or ``val`` with
            ``val_split``.
        task: one of ``LAYOUTS[layout].tasks``; the first if not given.
        transforms: called with each sample dict.
        val_split: share of the images that ``val`` gets where the data set has no ``val`` of its
            own; they are taken from its ``train``, from the only split, or from everything. The
            same seed gives the same parts. A whole number n > 1 takes every n-th image instead, the
            first one included.
        seed: decides which a share takes.
        group: pattern (regular expression) that is found in every name (file name without ending);
            images with the same match, such as those of one patient, come into the same part.
        single_class: name of the one class that all objects count as; for the task ``instance``.
        channels, white, max_pixels: how images are read, see ``segedu.data.images.read_image``.
        options: of the layout; each is described in the class that reads it:
            ``FolderSegmentation``, ``FolderObjects``, ``VOCSegmentation``, ``VOCObjects``,
            ``CocoInstances``, ``CocoPanoptic``, ``ObjectFolders``, ``LabelMe``,
            ``YoloSegmentation``. ``scenes``, of the layout of that name, is how many are painted
            to train on.

    Returns:
        A dataset of samples as ``segedu.data.segments`` describes them, with ``classes``,
        ``classes_zh``, ``colors``, ``num_classes``, ``task`` and, if it lies on the disk,
        ``names``, ``image_paths`` and ``skipped``.

    Raises:
        FileNotFoundError: if a folder or file is missing.
        ValueError: for an unknown layout, split, task or option, or parts that cannot be made.
    """
    known = _layout(layout)
    if task is None:
        task = known.tasks[0]
    if task not in known.tasks:
        raise ValueError(f"layout {layout} is for {', '.join(known.tasks)}; got the task {task!r}")
    parameters = inspect.signature(known.open).parameters
    allowed = [p.name for p in parameters.values() if p.kind == p.KEYWORD_ONLY]
    unknown = sorted(options.keys() - set(allowed))
    if unknown:
        raise ValueError(
            f"layout {layout} has no option {unknown[0]!r}; its options are "
            f"{', '.join(allowed) or 'none'}"
        )
    read = partial(read_image, channels=channels, white=white, max_pixels=max_pixels)
    shared = {"transforms": transforms, "read_image": read}
    if layout == "scenes" and (channels, white, max_pixels) != (3, DEEP_WHITE, None):
        raise ValueError(
            "scenes are painted in 3 channels, not read from files: channels, white and "
            "max_pixels do not apply"
        )
    if layout != "scenes" and not str(root):
        raise ValueError(f"root is missing: the folder of the {layout} data set")
    root = Path(root)
    if layout != "scenes" and not root.exists():
        raise FileNotFoundError(f"{root}: no such folder or file; it should hold the data set")
    own = find_splits(layout, root, **options)

    def open_part(name: str | None) -> Dataset:
        dataset = known.open(root, name, task, shared, **options)
        return SingleClass(dataset, single_class) if single_class else dataset

    from_train = bool(val_split) and "val" not in own and split in ("train", "val")
    if split in own and not from_train:
        return open_part(split)
    if from_train and ("train" in own or len(own) < 2):
        whole = open_part("train" if "train" in own else next(iter(own), None))
        return Part(whole, _choose(whole.names, split, val_split, seed, group))
    if split == ALL and not own:
        return open_part(None)
    if own:
        more = f", ... ({len(own)})" if len(own) > 5 else ""
        cure = ""
        if layout == "folders" and not {"train", "val", "test"} & set(own):
            cure = "; if each of these folders is one image with its objects, the layout is objects"
        raise ValueError(
            f"{root}: split must be one of {', '.join(own[:5])}{more}; got {split!r}{cure}"
        )
    raise ValueError(
        f"{root}: has no splits of its own; give val_split=0.2 for the splits train and val, or "
        f"take the split {ALL!r}; got {split!r}"
    )


def find_splits(layout: str, root: str | Path = "", **options: Any) -> tuple[str, ...]:
    """The splits that a data set has by itself; see `open_dataset` for the arguments."""
    return _layout(layout).splits(Path(root), options)


def _choose(
    names: Sequence[str], split: str, val_split: float, seed: int, group: str | None
) -> list[int]:
    """Indices of ``train`` or ``val``, which get whole groups each."""
    every_nth = val_split > 1 and val_split == int(val_split)
    if not (0 < val_split < 1 or every_nth):
        raise ValueError(
            "val_split must be a share between 0 and 1, or a whole number n > 1 for every n-th "
            f"image, got {val_split:g}"
        )
    groups = [_group(name, group) for name in names]
    order = list(dict.fromkeys(groups))
    if not every_nth:  # sorted by a hash, so that one image more does not shuffle all the others
        order.sort(key=lambda g: sha256(f"{seed}:{g}".encode()).digest())
    if len(order) < 2:
        what = f"the pattern {group!r} puts them all into the group {order[0]!r}" if group else ""
        raise ValueError(
            f"{len(names)} images cannot be split into train and val"
            + (f": {what}, and a group must not be in both" if what else "")
        )
    val = set(order[:: int(val_split)] if every_nth else order[:1])
    for name in () if every_nth else order[1:-1]:  # train keeps one group at least
        if sum(g in val for g in groups) >= val_split * len(names):
            break
        val.add(name)
    return [i for i, g in enumerate(groups) if (g in val) == (split == "val")]


def _group(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name
    match = search(pattern, name)
    if match is None:
        raise ValueError(f"the pattern of groups {pattern!r} is not found in the name {name!r}")
    return match[1] if match.re.groups else match[0]


# ---------------------------------------------------------------------- the layouts


def _open_folders(
    root: Path,
    split: str | None,
    task: str,
    shared: Options,
    *,
    classes: Any = None,
    masks: str = "index",
    image_folder: str = "images",
    mask_folder: str = "masks",
    image_suffix: str = "",
    mask_suffix: str = "",
) -> Dataset:
    places = {"image_folder": image_folder, "mask_folder": mask_folder}
    suffixes = {"image_suffix": image_suffix, "mask_suffix": mask_suffix}
    given = {"classes": classes, **places, **suffixes, **shared}
    if task == "semantic":
        return folders.FolderSegmentation(root, split, masks=masks, **given)
    return folders.FolderObjects(root, split, task=task, **given)


def _folder_splits(root: Path, options: Options) -> tuple[str, ...]:
    names = options.get("image_folder", "images"), options.get("mask_folder", "masks")
    return folders.find_splits(root, names)


def _open_voc(
    root: Path,
    split: str | None,
    task: str,
    shared: Options,
    *,
    year: str = "2012",
    classes: Any = None,
) -> Dataset:
    from segedu.data import voc

    names = {} if classes is None else {"classes": class_table(classes).names}
    if task == "semantic":
        return voc.VOCSegmentation(root, split, year=year, **names, **shared)
    return voc.VOCObjects(root, split, year=year, task=task, **names, **shared)


def _voc_splits(root: Path, options: Options) -> tuple[str, ...]:
    from segedu.data.voc import find_folder

    lists = find_folder(root, options.get("year", "2012")) / "ImageSets" / "Segmentation"
    check_folder(lists, "a list of names for each split")
    return _found(lists, {path.stem for path in _shown(lists, "*.txt")}, "train.txt")


def _open_camvid(root: Path, split: str | None, task: str, shared: Options) -> Dataset:
    from segedu.data.camvid import CamVid

    return CamVid(root, split, **shared)


def _camvid_splits(root: Path, options: Options) -> tuple[str, ...]:
    check_folder(root, "train.txt, train and trainannot, and the same for val and test")
    names = {name for name in ("train", "val", "test") if (root / f"{name}.txt").is_file()}
    return _found(root, names, "train.txt")


def _open_cityscapes(root: Path, split: str | None, task: str, shared: Options) -> Dataset:
    from segedu.data import cityscapes

    if task == "semantic":
        return cityscapes.Cityscapes(root, split, **shared)
    return cityscapes.CityscapesObjects(root, split, task=task, **shared)


def _cityscapes_splits(root: Path, options: Options) -> tuple[str, ...]:
    images = root / "leftImg8bit"
    check_folder(images, "a folder for each split")
    names = {name for name in ("train", "val", "test") if (images / name).is_dir()}
    return _found(images, names, "train")


def _open_coco(
    root: Path,
    split: str | None,
    task: str,
    shared: Options,
    *,
    images: str = "",
    annotations: str = "",
    crowd: bool = True,
) -> Dataset:
    from segedu.data.coco import CocoInstances

    folder, file = _coco_files(root, split, images, annotations, "instances")
    return CocoInstances(folder, file, crowd=crowd, task=task, **shared)


def _open_coco_panoptic(
    root: Path,
    split: str | None,
    task: str,
    shared: Options,
    *,
    images: str = "",
    annotations: str = "",
    segments: str = "",
) -> Dataset:
    from segedu.data.coco_panoptic import CocoPanoptic

    folder, file = _coco_files(root, split, images, annotations, "panoptic")
    maps = root / segments if segments else None
    return CocoPanoptic(folder, file, maps, task=task, **shared)


def _coco_files(
    root: Path, split: str | None, images: str, annotations: str, kind: str
) -> tuple[Path, Path]:
    """Folder of images and json: as given, or as COCO's archives unpack."""
    if annotations:
        if not images:
            raise ValueError("images is missing: the folder of the images, below root")
        return root / images, root / annotations
    name = _coco_names(root, kind)[split]
    return root / (images or name), root / "annotations" / f"{kind}_{name}.json"


def _coco_names(root: Path, kind: str) -> dict[str, str]:
    """Split -> its name with the year, train -> train2017, of every json of a kind."""
    check_folder(root / "annotations", f"{kind}_train2017.json, or give images and annotations")
    names = [p.stem.removeprefix(f"{kind}_") for p in (root / "annotations").glob(f"{kind}_*.json")]
    found = {name.rstrip("0123456789"): name for name in sorted(names)}
    if len(found) < len(names):
        raise ValueError(
            f"{root / 'annotations'}: several years of a split ({', '.join(sorted(names))}); "
            "give images and annotations"
        )
    return found


def _coco_splits(kind: str, root: Path, options: Options) -> tuple[str, ...]:
    if options.get("annotations"):
        return ()
    wanted = f"{kind}_train2017.json; or give images and annotations"
    return _found(root / "annotations", set(_coco_names(root, kind)), wanted)


def _open_objects(
    root: Path, split: str | None, task: str, shared: Options, *, classes: Any = None
) -> Dataset:
    from segedu.data.object_folders import ObjectFolders

    names = ["object"] if classes is None else class_names(classes)
    if len(names) != 1:
        raise ValueError(f"layout objects has one class of objects, got {', '.join(names)}")
    [_, category] = object_categories(names)
    folder = root if split is None else root / split
    return ObjectFolders(folder, category=category, task=task, **shared)


def _object_splits(root: Path, options: Options) -> tuple[str, ...]:
    return tuple(sorted({path.parts[0] for path in _shown(root, "*/*/images")}))


def _open_labelme(
    root: Path, split: str | None, task: str, shared: Options, *, classes: Any = None
) -> Dataset:
    from segedu.data.labelme import LabelMe

    return LabelMe(root, split, classes=classes, task=task, **shared)


def _labelme_splits(root: Path, options: Options) -> tuple[str, ...]:
    return tuple(sorted({path.parts[0] for path in _shown(root, "*/*.json")}))


def _open_yolo(
    root: Path, split: str | None, task: str, shared: Options, *, classes: Any = None
) -> Dataset:
    from segedu.data.yolo import YoloSegmentation

    return YoloSegmentation(root, split, classes=classes, task=task, **shared)


def _yolo_splits(root: Path, options: Options) -> tuple[str, ...]:
    return folders.find_splits(root, ("images", "labels"))


def _open_pennfudan(root: Path, split: str | None, task: str, shared: Options) -> Dataset:
    from segedu.data.pennfudan import PennFudan

    return PennFudan(root, task=task, **shared)


def _no_splits(root: Path, options: Options) -> tuple[str, ...]:
    return ()


def _shown(folder: Path, pattern: str) -> list[Path]:
    """What a pattern finds below a folder, relative to it, without hidden files and folders."""
    found = [path.relative_to(folder) for path in folder.glob(pattern)]
    return [path for path in found if not any(part.startswith(".") for part in path.parts)]


def _found(folder: Path, splits: Set[str], example: str) -> tuple[str, ...]:
    """The splits of a layout that always has some."""
    if not splits:
        raise FileNotFoundError(f"{folder}: holds no split, such as {example}")
    return tuple(sorted(splits))


def _open_scenes(
    root: Path, split: str, task: str, shared: Options, *, scenes: int | None = None
) -> Dataset:
    """Scenes; ``scenes`` is how many there are to train on."""
    from segedu.data.scenes import SceneDataset

    if scenes is not None and scenes < 1:
        raise ValueError(f"scenes must be at least 1, got {scenes}")
    wanted = scenes if split == "train" and scenes is not None else SCENE_SPLITS[split]
    seed = list(SCENE_SPLITS).index(split)
    return SceneDataset(wanted, seed=seed, task=task, transforms=shared["transforms"])


class Layout(NamedTuple):
    """How a data set lies on the disk."""

    summary: str
    """In a few words, for people."""
    tasks: tuple[str, ...]
    """That it is for; the usual one first."""
    open: Callable[..., Dataset]
    """(root, split or None, task, what all loaders take, options of its own)."""
    splits: Callable[[Path, Options], tuple[str, ...]]
    """(root, options) -> the splits that it has by itself."""


_SEMANTIC = ("semantic", "instance", "panoptic")
_INSTANCE = ("instance", "semantic", "panoptic")

LAYOUTS = {
    "folders": Layout(
        "own images/ and masks/, or a CSV of pairs", _SEMANTIC, _open_folders, _folder_splits
    ),
    "voc": Layout("the devkit of Pascal VOC", _SEMANTIC, _open_voc, _voc_splits),
    "camvid": Layout("CamVid, 11 classes", ("semantic",), _open_camvid, _camvid_splits),
    "cityscapes": Layout("Cityscapes", _SEMANTIC, _open_cityscapes, _cityscapes_splits),
    "coco": Layout(
        "images and a json of COCO", _INSTANCE, _open_coco, partial(_coco_splits, "instances")
    ),
    "coco-panoptic": Layout(
        "COCO panoptic: a json and PNGs of ids",
        ("panoptic", "semantic", "instance"),
        _open_coco_panoptic,
        partial(_coco_splits, "panoptic"),
    ),
    "objects": Layout(
        "a folder per image, a PNG per object", _INSTANCE, _open_objects, _object_splits
    ),
    "labelme": Layout(
        "a LabelMe json beside each image", _INSTANCE, _open_labelme, _labelme_splits
    ),
    "yolo": Layout("text files of YOLO segmentation", _INSTANCE, _open_yolo, _yolo_splits),
    "pennfudan": Layout("Penn-Fudan pedestrians", _INSTANCE, _open_pennfudan, _no_splits),
    "scenes": Layout(
        "painted scenes, no files", _SEMANTIC, _open_scenes, lambda *_: tuple(SCENE_SPLITS)
    ),
}


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}; got {name!r}")
    return LAYOUTS[name]
