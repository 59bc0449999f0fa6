"""People's own data: a folder of images and a folder of masks, or a CSV file of pairs.

    <root>/images/<name>.<any>          <root>/masks/<name>.<any>          no splits
    <root>/<split>/images/...           <root>/<split>/masks/...           splits as folders
    <root>/images/<split>/...           <root>/masks/<split>/...           the same, turned round
    <root>/{train,val,test}.txt         the names of a split, one per line, beside images and masks
    <root>.csv                          columns image, mask and, where there are splits, split

Names are matched by their stems: without the ending of the file, and without one of the suffixes
``IMAGE_SUFFIXES`` and ``MASK_SUFFIXES``, so that ``a.jpg`` and ``a_mask.png`` are a pair, in any
case of letters of the ending; a list of names may leave all of that out. What has no partner is
left out, counted and reported. Hidden folders (``.ipynb_checkpoints``) are no splits.
"""

import csv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segedu.data.classes import class_names, class_table
from segedu.data.images import (
    ReadImage,
    Skipped,
    check_folder,
    list_images,
    read_colors,
    read_image,
    read_values,
    report_skipped,
)
from segedu.data.pairs import PairDataset, read_lines
from segedu.data.segments import (
    Category,
    Segment,
    SegmentDataset,
    Transforms,
    numbered_objects,
)

IMAGE_SUFFIXES = ("_image", "-image", "_img", "-img")
MASK_SUFFIXES = (
    *("_mask", "-mask", "_masks", "-masks", "_label", "-label", "_labels", "-labels"),
    *("_gt", "-gt", "_seg", "-seg", "_annotation", "-annotation"),
)

Pairs = list[tuple[Path, Path]]


class FolderSegmentation(PairDataset):
    """Own images with a mask each: semantic samples (``data.pairs``).

    Args:
        root: the folder, or the CSV file.
        split: which part; None for data without splits.
        classes: as `segedu.data.classes` reads them.
        masks: what the mask files hold: ``index``, ``color`` or ``binary``.
        image_folder: name of the folder of images; ``{split}`` in it stands for the split.
        mask_folder: name of the folder of masks.
        image_suffix: what the stems of images end in; other files are left out.
        mask_suffix: what the stems of masks end in; other files are left out.
        transforms: called with each sample, such as ``segedu.data.transforms.training(256)``.
        read_image: image file -> uint8 (C, H, W), such as ``partial(read_image, channels=1)``.

    Attributes:
        names, image_paths, skipped, classes, classes_zh, colors, num_classes: see ``PairDataset``.

    Raises:
        FileNotFoundError: if a folder or listed file is missing.
        ValueError: if no image has a mask, names are ambiguous, or ``classes`` is malformed; on
            access if a mask has another size than its image or a value that is no class.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        *,
        classes: str | Path | Sequence[str] | None = None,
        masks: str = "index",
        image_folder: str = "images",
        mask_folder: str = "masks",
        image_suffix: str = "",
        mask_suffix: str = "",
        transforms: Callable[[dict[str, Any]], Any] | None = None,
        read_image: ReadImage = read_image,
    ):
        pairs, skipped = find_pairs(
            Path(root), split, (image_folder, mask_folder), (image_suffix, mask_suffix)
        )
        if classes is None and masks == "index":
            raise ValueError(_without_classes(pairs))
        table = class_table(classes, masks)
        super().__init__(
            pairs,
            table.label_of,
            table.names,
            table.names,
            table.colors,
            transforms,
            read_image=read_image,
            read_labels=read_colors if masks == "color" else read_values,
            skipped=skipped,
        )
        self._cure = _CURES[masks]


#: What to tell someone whose masks hold a value that is no label, by the kind of the masks.
_CURES = {
    "index": "; add its name to the classes, or void={} to ignore it",
    "color": ", where a colour is R + 256 G + 65536 B; add it to the classes",
    "binary": "; these are no black and white masks",
}


def _without_classes(pairs: Sequence[tuple[Path, Path]], count: int = 8) -> str:
    """What to tell someone who named no classes: the values that the first masks hold."""
    values = np.unique(np.concatenate([np.unique(read_values(m)) for _, m in pairs[:count]]))
    if values.tolist() == [0, 255]:
        return (
            "classes is missing; the masks hold 0 and 255: if they are black and white, say so "
            "(masks='binary')"
        )
    shown = ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
    return f"classes is missing: give a name, or name=value, for each value; the masks hold {shown}"


class FolderObjects(SegmentDataset):
    """Own images with a map each that numbers its objects, all of one class (``data.segments``).

    A map holds 0 where there is no object, and a number of its own for each object, as Cellpose and
    StarDist write them. All objects are taken to be annotated: the background is a segment.

    Args:
        root, split, image_folder, mask_folder, image_suffix, mask_suffix, read_image: see
            ``FolderSegmentation``.
        classes: the names of the background and of the objects.
        task: "instance", "panoptic" or "semantic".
        transforms: called with each sample dict.

    Raises:
        FileNotFoundError, ValueError: see ``FolderSegmentation``.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        *,
        classes: str | Path | Sequence[str] | None = None,
        task: str = "instance",
        image_folder: str = "images",
        mask_folder: str = "masks",
        image_suffix: str = "",
        mask_suffix: str = "",
        transforms: Transforms | None = None,
        read_image: ReadImage = read_image,
    ):
        names = ("background", "object") if classes is None else class_names(classes)
        if len(names) != 2:
            raise ValueError(
                "a map that numbers objects knows two classes, the background and that of all "
                f"objects; got {len(names)}: {', '.join(names)}"
            )
        table = class_table(names, "binary")
        rows = zip(table.names, table.names, table.colors, strict=True)
        categories = [Category(*row, isthing=label > 0) for label, row in enumerate(rows)]
        pairs, skipped = find_pairs(
            Path(root), split, (image_folder, mask_folder), (image_suffix, mask_suffix)
        )
        super().__init__(
            pairs,
            partial(_read_numbers, categories),
            categories,
            task,
            transforms,
            read_image=read_image,
            skipped=skipped,
        )


def _read_numbers(
    categories: Sequence[Category], pair: tuple[Path, Path], size: tuple[int, int]
) -> tuple[NDArray[np.int32], list[Segment]]:
    ids = read_values(pair[1], size)
    if set(np.unique(ids).tolist()) == {0, 255}:
        raise ValueError(
            f"{pair[1]}: holds 0 and 255 alone, so all its objects would be one; a map of objects "
            "numbers them 1, 2, ..."
        )
    return numbered_objects(ids, categories)


def find_pairs(
    root: Path,
    split: str | None,
    folders: tuple[str, str] = ("images", "masks"),
    suffixes: tuple[str, str] = ("", ""),
    known: tuple[Sequence[str], Sequence[str]] = (IMAGE_SUFFIXES, MASK_SUFFIXES),
) -> tuple[Pairs, list[Skipped]]:
    """The pairs of image and mask of a data set, and the files that were left out.

    Args:
        root: above the folders, or a CSV file of pairs.
        split: which part; None for data without splits.
        folders: of the images and of the masks.
        suffixes: what their stems end in.
        known: what their stems may end in where that is not said.
    """
    if root.suffix.lower() == ".csv":
        return read_csv(root, split), []
    skipped: list[Skipped] = []
    places = split_folders(root, split, folders)
    images, masks = (
        _by_key(*place, skipped) for place in zip(places, suffixes, known, strict=True)
    )
    for place, found in zip(places, (images, masks), strict=True):
        if not found and not any(entry.path.parent == place for entry in skipped):
            raise FileNotFoundError(f"{place}: holds no image, at most folders of them")
    skipped += [Skipped(path, "no mask") for key, path in images.items() if key not in masks]
    skipped += [
        Skipped(path, "a mask without an image") for key, path in masks.items() if key not in images
    ]
    pairs = {key: (images[key], masks[key]) for key in images if key in masks}
    if not pairs:
        raise ValueError(
            f"{root}: no image has a mask; the first of {len(images)} images is "
            f"{next(iter(images), None)!r}, the first of {len(masks)} masks "
            f"{next(iter(masks), None)!r}, without their suffixes; names must agree"
        )
    report_skipped(root, skipped)
    if split is not None and (root / f"{split}.txt").is_file():
        pairs = _listed(root / f"{split}.txt", pairs)
    return list(pairs.values()), skipped


def split_folders(root: Path, split: str | None, names: Sequence[str]) -> list[Path]:
    """Where the parts (images, masks or labels) of a split lie; see the head of this file."""
    if any("{split}" in name for name in names):
        return [root / name.replace("{split}", split or "") for name in names]
    if split is None or (root / f"{split}.txt").is_file():
        return [root / name for name in names]
    for folders in ([root / split / name for name in names], [root / n / split for n in names]):
        if folders[0].is_dir():
            return folders
    raise FileNotFoundError(
        f"{root}: has no split {split!r}: neither {split}/{names[0]}, {names[0]}/{split} nor "
        f"{split}.txt"
    )


def find_splits(root: Path, folders: Sequence[str] = ("images", "masks")) -> tuple[str, ...]:
    """The splits that a data set of folders has by itself.

    Raises:
        FileNotFoundError: if there are neither splits nor the folders.
    """
    if root.suffix.lower() == ".csv":
        return tuple(sorted({row["split"] for row in _rows(root) if row.get("split")}))
    first = folders[0]
    if "{split}" in first:
        before, _, after = first.partition("{split}")
        names = [path.relative_to(root).as_posix() for path in root.glob(f"{before}*{after}")]
        found = {name[len(before) : len(name) - len(after)] for name in names}
    else:
        found = {path.relative_to(root).parts[0] for path in root.glob(f"*/{first}")}
        found |= {path.name for path in root.glob(f"{first}/*") if path.is_dir()}
    found = {
        split
        for split in found
        if not split.startswith(".")
        and all(folder.is_dir() for folder in split_folders(root, split, folders))
    }
    found |= {name for name in ("train", "val", "test") if (root / f"{name}.txt").is_file()}
    if not found and "{split}" not in first:
        for name in folders:
            check_folder(root / name, f"a file for each sample, or {name}/ in folders of splits")
    return tuple(sorted(found))


def read_csv(path: Path, split: str | None) -> Pairs:
    """The pairs of a CSV file with the columns image and mask; paths are relative to it.

    Args:
        path: of the file.
        split: the rows with this in the column split; all rows if None.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a column is missing, or no row belongs to the split.
    """
    rows = _rows(path)
    if split is not None:
        rows = [row for row in rows if row.get("split") == split]
    if not rows:
        raise ValueError(f"{path}: holds no row" + (f" of the split {split!r}" if split else ""))
    return [(path.parent / row["image"], path.parent / row["mask"]) for row in rows]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it should hold the columns image and mask")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, start=2):
        if not row.get("image") or not row.get("mask"):
            raise ValueError(
                f"{path}: line {number} must have image and mask, the columns are "
                f"{', '.join(key for key in row if key)}"
            )
    return rows


def _by_key(
    folder: Path, suffix: str, endings: Sequence[str], skipped: list[Skipped]
) -> dict[str, Path]:
    """Images of a folder by what their names have in common with those of the other folder."""
    found: dict[str, Path] = {}
    for stem, path in list_images(folder, "an image for each sample", skipped).items():
        if suffix and not stem.endswith(suffix):
            skipped.append(Skipped(path, f"its name does not end in {suffix}"))
            continue
        ending = suffix or next((end for end in endings if stem.lower().endswith(end)), "")
        key = stem[: len(stem) - len(ending)]
        if key in found:
            raise ValueError(f"{path}: {found[key].name} would be the same sample; keep one")
        found[key] = path
    return found


def _listed(listing: Path, pairs: dict[str, tuple[Path, Path]]) -> dict[str, tuple[Path, Path]]:
    """The pairs that a list file names, by file name, stem or what both names share, in order."""
    names = {key: key for key in pairs}
    names |= {image.stem: key for key, (image, _) in pairs.items()}
    names |= {image.name: key for key, (image, _) in pairs.items()}
    wanted = [Path(line).name for line in read_lines(listing, "the names of the images")]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise FileNotFoundError(
            f"{listing}: no image and mask of the name {missing[0]!r} "
            f"({len(missing)} of {len(wanted)} are missing)"
        )
    return {names[name]: pairs[names[name]] for name in wanted}
