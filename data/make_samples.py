"""Write the sample data sets of this folder: the same procedural scenes in four layouts.

    python -m data.make_samples            # rewrite data/voc, data/cityscapes and data/coco
    python -m data.make_samples some/place # write them there

Running it again gives the same bytes (with the package versions of requirements.txt).
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from segedu.data import scenes, voc
from segedu.files import write_text

SPLITS = {"train": range(16), "val": range(16, 24)}
SHAPE, WIDE = (192, 256), (128, 256)  # height, width
JPEG = {"quality": 92, "subsampling": 0}
FIRST_SEED = 1000

# scene class -> label of the layout; animals by their kind
VOC_LABELS = {"car": 7, "person": 15, "dog": 12, "cow": 10, "bird": 3}  # all else: background
CITYSCAPES_LABELS = {
    "sky": 23, "building": 11, "road": 7, "pavement": 8, "grass": 22, "water": 6, "wall": 12,
    "tree": 21, "car": 26, "person": 24, "sign": 20, "animal": 5,
}  # fmt: skip
CITYSCAPES_COLORS = {
    23: (70, 130, 180), 11: (70, 70, 70), 7: (128, 64, 128), 8: (244, 35, 232),
    22: (152, 251, 152), 6: (81, 0, 81), 12: (102, 102, 156), 21: (107, 142, 35),
    26: (0, 0, 142), 24: (220, 20, 60), 20: (220, 220, 0), 5: (111, 74, 0),
}  # fmt: skip
# id, name, supercategory, isthing; in COCO trees are stuff and signs other than stop signs have no
# class of their own, so ours join the nearest category
COCO_CATEGORIES = {
    "person": (1, "person", "person", 1),
    "car": (3, "car", "vehicle", 1),
    "sign": (13, "stop sign", "outdoor", 1),
    "bird": (16, "bird", "animal", 1),
    "dog": (18, "dog", "animal", 1),
    "cow": (21, "cow", "animal", 1),
    "road": (149, "road", "ground", 0),
    "water": (178, "water-other", "water", 0),
    "tree": (184, "tree-merged", "plant", 0),
    "sky": (187, "sky-other-merged", "sky", 0),
    "pavement": (191, "pavement-merged", "ground", 0),
    "grass": (193, "grass-merged", "plant", 0),
    "building": (197, "building-other-merged", "building", 0),
    "wall": (199, "wall-other-merged", "wall", 0),
}
LICENSE = {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}


def main() -> None:
    """Write all layouts into the folder given on the command line, by default this one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent)
    write(parser.parse_args().root)


def write(root: Path) -> None:
    """Write the folders voc, cityscapes and coco under `root`."""
    square = scenes.SceneConfig(size=SHAPE)
    drawn = {i: scenes.generate(FIRST_SEED + i, square) for split in SPLITS.values() for i in split}
    write_voc(root / "voc", drawn)
    write_coco(root / "coco", drawn)
    street = scenes.SceneConfig(size=WIDE, kind="street")
    write_cityscapes(
        root / "cityscapes", {i: scenes.generate(FIRST_SEED + i, street) for i in drawn}
    )


def names_of(scene: scenes.Scene) -> dict[int, str]:
    """Segment id -> name: the class, and for animals their kind."""
    kinds = iter(scene.instances.kinds)
    names = {}
    for segment in scene.segments_info:
        name = scenes.CLASSES[segment["category_id"]].name
        kind = next(kinds) if segment["isthing"] else name
        names[segment["id"]] = kind if name == "animal" else name
    return names


def save(image: Image.Image, path: Path, **options: int | bool) -> None:
    """Save a picture, making its folder first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


# ------------------------------------------------------------------------------- Pascal VOC


def write_voc(root: Path, drawn: dict[int, scenes.Scene]) -> None:
    """VOCdevkit/VOC2012: JPEG pictures, palette PNGs of classes and of objects, lists of names."""
    folder = root / "VOCdevkit" / "VOC2012"
    palette = np.array(voc.colormap(256), np.uint8).tobytes()
    for split, numbers in SPLITS.items():
        names = [f"2012_{i:06d}" for i in numbers]
        write_text(folder / "ImageSets" / "Segmentation" / f"{split}.txt", "\n".join(names) + "\n")
        for i, name in zip(numbers, names, strict=True):
            scene = drawn[i]
            save(Image.fromarray(scene.image), folder / "JPEGImages" / f"{name}.jpg", **JPEG)
            for kind, labels in zip(("Class", "Object"), voc_maps(scene), strict=True):
                image = Image.fromarray(labels).convert("P")
                image.putpalette(palette)
                save(image, folder / f"Segmentation{kind}" / f"{name}.png", optimize=True)


def voc_maps(scene: scenes.Scene) -> tuple[np.ndarray, np.ndarray]:
    """Class labels and object numbers 1, 2, ..., uint8 (H, W); void around every object."""
    classes, objects = np.zeros((2, *scene.panoptic.shape), np.uint8)
    count = 0
    for segment, name in names_of(scene).items():
        if name in VOC_LABELS:
            count += 1
            classes[scene.panoptic == segment] = VOC_LABELS[name]
            objects[scene.panoptic == segment] = count
    void = np.zeros(objects.shape, bool)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = objects[a] != objects[b]
        void[a] |= differs
        void[b] |= differs
    classes[void] = objects[void] = scenes.VOID
    return classes, objects


# ------------------------------------------------------------------------------- Cityscapes


def write_cityscapes(root: Path, drawn: dict[int, scenes.Scene]) -> None:
    """PNG pictures in leftImg8bit, label ids, instance ids and colours in gtFine."""
    palette = np.zeros((256, 3), np.uint8)
    for label, color in CITYSCAPES_COLORS.items():
        palette[label] = color
    for split, numbers in SPLITS.items():
        for i in numbers:
            stem = f"scenes_{i:06d}_000019"
            labels, instances = cityscapes_maps(drawn[i])
            picture = root / "leftImg8bit" / split / "scenes" / f"{stem}_leftImg8bit.png"
            save(Image.fromarray(drawn[i].image), picture, optimize=True)
            truth = root / "gtFine" / split / "scenes" / f"{stem}_gtFine"
            for kind, values in (
                ("labelIds", labels), ("instanceIds", instances), ("color", palette[labels]),
            ):  # fmt: skip
                file = truth.with_name(f"{truth.name}_{kind}.png")
                save(Image.fromarray(values), file, optimize=True)


def cityscapes_maps(scene: scenes.Scene) -> tuple[np.ndarray, np.ndarray]:
    """Label ids uint8 (H, W) and instance ids uint16 (H, W): 1000 · label + number for objects."""
    table = np.array([CITYSCAPES_LABELS[c.name] for c in scenes.CLASSES], np.uint8)
    labels = table[scene.semantic]
    instances = labels.astype(np.uint16)
    for name in ("person", "car"):
        label = CITYSCAPES_LABELS[name]
        ids = [segment for segment, other in names_of(scene).items() if other == name]
        for number, segment in enumerate(ids):
            instances[scene.panoptic == segment] = 1000 * label + number
    return labels, instances


# ------------------------------------------------------------------------------------- COCO


def write_coco(root: Path, drawn: dict[int, scenes.Scene]) -> None:
    """JPEG pictures with the json of their objects, and json and PNGs of the panoptic task."""
    categories = [
        {"id": i, "name": name, "supercategory": above, "isthing": isthing}
        for i, name, above, isthing in COCO_CATEGORIES.values()
    ]
    things = [{k: v for k, v in c.items() if k != "isthing"} for c in categories if c["isthing"]]
    for split, numbers in SPLITS.items():
        images, objects, panoptic = [], [], []
        for i in numbers:
            scene, name = drawn[i], f"{i:012d}"
            height, width = scene.semantic.shape
            images.append({"id": i, "file_name": f"{name}.jpg", "height": height, "width": width,
                           "license": 1})  # fmt: skip
            save(Image.fromarray(scene.image), root / f"{split}2017" / f"{name}.jpg", **JPEG)
            segments, ids = coco_segments(scene)
            colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
            file = root / "annotations" / f"panoptic_{split}2017" / f"{name}.png"
            save(Image.fromarray(colors), file, optimize=True)
            panoptic.append({"image_id": i, "file_name": file.name, "segments_info": segments})
            things_ids = {c["id"] for c in things}
            for segment in segments:
                if segment["category_id"] in things_ids:
                    rle = run_lengths(ids == segment["id"])
                    objects.append({**segment, "id": len(objects) + 1 + 1000 * (split == "val"),
                                    "image_id": i, "segmentation": rle})  # fmt: skip
        head = {"info": {"description": "procedural scenes", "version": "1.0"},
                "licenses": [LICENSE], "images": images}  # fmt: skip
        for task, annotations, kinds in (
            ("instances", objects, things), ("panoptic", panoptic, categories),
        ):  # fmt: skip
            document = {**head, "annotations": annotations, "categories": kinds}
            file = root / "annotations" / f"{task}_{split}2017.json"
            write_text(file, json.dumps(document, separators=(",", ":")) + "\n")


def coco_segments(scene: scenes.Scene) -> tuple[list[dict], np.ndarray]:
    """Segments of a scene and the map of their ids int64 (H, W), 0 for void.

    All segments of one stuff category, such as the trees, become one.
    """
    groups: dict[object, list[int]] = {}
    for segment, name in names_of(scene).items():
        isthing = COCO_CATEGORIES[name][3]
        groups.setdefault((name, segment) if isthing else (name, 0), []).append(segment)
    segments, ids = [], np.zeros(scene.panoptic.shape, np.int64)
    for number, ((name, _), members) in enumerate(groups.items(), start=1):
        mask = np.isin(scene.panoptic, members)
        # spread over three bytes, so that the PNGs show colours and readers need all of them
        identity = number * 2_654_435 % 16_777_213
        ids[mask] = identity
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        segments.append(
            {"id": identity, "category_id": COCO_CATEGORIES[name][0], "area": int(mask.sum()),
             "bbox": box, "iscrowd": 0}
        )  # fmt: skip
    return segments, ids


def run_lengths(mask: np.ndarray) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths, column by column, beginning with the background."""
    flat = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


if __name__ == "__main__":
    main()
