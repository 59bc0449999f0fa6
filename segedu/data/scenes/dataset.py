"""Scenes as a torch data set for the three tasks."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from segedu.data.naming import NamedDataset
from segedu.data.scenes.classes import CLASSES, VOID, SceneClass
from segedu.data.scenes.config import SceneConfig
from segedu.data.scenes.generator import Scene, generate
from segedu.data.segments import BACKGROUND
from segedu.data.transforms import evaluation, instances

Sample = dict[str, Any]
TASKS = ("semantic", "instance", "panoptic")


class SceneDataset(NamedDataset):
    """`num_images` scenes; number i depends on `seed` and i alone.

    A scene is painted when it is first asked for and then kept in memory (as bytes: about 5 bytes
    per pixel plus the instance masks), until `cache_bytes` are used; later ones are painted anew
    each time.

    Args:
        num_images: length of the data set, at least 1.
        config: the knobs; defaults to `SceneConfig()`.
        seed: data sets with different seeds share no scene.
        task: "semantic" gives `image`, `mask`; "instance" gives `image`, `boxes`, `masks` and
            `labels`, from 1 on, since detectors keep 0 for the background; "panoptic" gives
            `image`, `panoptic_seg`, `segments_info`.
        transforms: called with the sample dict, e.g. a `torchvision.transforms.v2.Compose`.
        classes: names of the classes to learn, renumbered 0, 1, ... in this order, as the train
            ids of Cityscapes are; all others become void (255; 0 in a panoptic map) and their
            objects are left out. All twelve if not given. Of an instance data set only the things
            among them count.
        cache_bytes: memory for painted scenes; 0 switches the cache off.

    Raises:
        ValueError: unknown task or class, no thing for an instance data set, `num_images` < 1,
            negative seed or cache size.

    Attributes:
        classes, classes_zh: the names of the classes in English and Chinese, the first one of an
            instance data set the background.
        colors: their display colours.
        labels: the names as figures need them, ``English ｜ 中文``.
        num_classes: how many there are.
        isthing: category id of a panoptic data set -> whether it is a thing.
    """

    def __init__(
        self,
        num_images: int,
        config: SceneConfig | None = None,
        seed: int = 0,
        task: str = "semantic",
        transforms: Callable[[Sample], Sample] | None = None,
        classes: Sequence[str] | None = None,
        cache_bytes: int = 512 * 2**20,
    ):
        if num_images < 1:
            raise ValueError(f"num_images must be >= 1; got {num_images}")
        if seed < 0:
            raise ValueError(f"seed must be >= 0; got {seed}")
        if task not in TASKS:
            raise ValueError(f"task must be one of {TASKS}; got {task!r}")
        if cache_bytes < 0:
            raise ValueError(f"cache_bytes must be >= 0; got {cache_bytes}")
        kept = _find_classes(classes)
        self.isthing = {category: c.isthing for category, c in enumerate(kept)}
        shown = [(c.name, c.name_zh, c.color) for c in kept]
        if task == "instance":
            kept = _things(kept)
            shown = [BACKGROUND, *((c.name, c.name_zh, c.color) for c in kept)]
        self.classes, self.classes_zh, self.colors = zip(*shown, strict=True)
        self.num_classes = len(shown)
        self._new_id = np.full(256, VOID, np.uint8)
        self._new_id[[c.id for c in kept]] = range(len(shown) - len(kept), len(shown))
        self.num_images, self.config, self.seed = num_images, config or SceneConfig(), seed
        self.task, self.transforms = task, transforms
        self._free = cache_bytes
        self._cache: dict[int, Sample] = {}

    def __len__(self) -> int:
        return self.num_images

    def scene(self, index: int) -> Scene:
        """The whole scene number `index`, freshly painted."""
        if not 0 <= index < self.num_images:
            raise IndexError(f"index must be within [0, {self.num_images}); got {index}")
        return generate((self.seed << 32) + index, self.config)

    def __getitem__(self, index: int) -> Sample:
        sample = self._cache.get(index)
        if sample is None:
            sample = _to_sample(self.scene(index), self.task, self._new_id)
            size = sum(v.numel() * v.element_size() for v in sample.values() if torch.is_tensor(v))
            if size <= self._free:
                self._free -= size
                self._cache[index] = sample
        # the caller may change what it gets, but not the cache
        sample = {
            k: v.clone() if torch.is_tensor(v) else [dict(s) for s in v] for k, v in sample.items()
        }
        return self.transforms(sample) if self.transforms else sample


def splits(
    train: int,
    val: int,
    size: int | tuple[int, int],
    *,
    seed: int = 0,
    task: str = "semantic",
    transforms: Callable[[Sample], Sample] | None = None,
    classes: Sequence[str] | None = None,
    **knobs: Any,
) -> tuple[SceneDataset, SceneDataset]:
    """Scenes to train on and scenes to judge on, ready for a network; none is in both.

    Each scene is painted once and kept in memory, see `SceneDataset`.

    Args:
        train: number of training scenes.
        val: number of validation scenes.
        size: height and width in pixels, or one number for a square.
        seed: data sets of different seeds share no scene, neither in training nor in validation.
        task: what the samples hold, see `SceneDataset`.
        transforms: of the training scenes, such as ``segedu.data.transforms.training(64)``; if not
            given, those of the validation scenes: normalised for ``"semantic"``, in 0..1 for the
            other tasks, whose networks normalise themselves.
        classes: names of the classes to learn; all twelve if not given.
        **knobs: of `SceneConfig`, such as ``occlusion=1.0``.

    Raises:
        ValueError: for fewer than one scene, a negative seed, an unknown task or class, or a knob
            out of range.

    Example:
        >>> train_set, val_set = splits(8, 4, 64, occlusion=0.5)
        >>> train_set[0]["image"].shape, val_set[0]["mask"].shape
        (torch.Size([3, 64, 64]), torch.Size([64, 64]))
    """
    config = SceneConfig(size=size, **knobs)
    plain = evaluation() if task == "semantic" else instances()
    train_set = SceneDataset(train, config, 2 * seed, task, transforms or plain, classes)
    return train_set, SceneDataset(val, config, 2 * seed + 1, task, plain, classes)


def _find_classes(names: Sequence[str] | None) -> tuple[SceneClass, ...]:
    """The classes with these names, in this order."""
    if names is None:
        return CLASSES
    known = {c.name: c for c in CLASSES}
    if not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(f"classes must be different names out of {tuple(known)}; got {names!r}")
    return tuple(known[name] for name in names)


def _things(classes: Sequence[SceneClass]) -> tuple[SceneClass, ...]:
    """Those of them that are things."""
    things = tuple(c for c in classes if c.isthing)
    if not things:
        raise ValueError(
            "classes of an instance data set must hold one or more of "
            f"{tuple(c.name for c in CLASSES if c.isthing)}; got {tuple(c.name for c in classes)}"
        )
    return things


def _to_sample(scene: Scene, task: str, new_id: np.ndarray) -> Sample:
    """The parts of a scene that a task needs, with classes renumbered by the table (256,)."""
    # (H, W, 3) -> (3, H, W)
    image = tv_tensors.Image(torch.from_numpy(scene.image).permute(2, 0, 1).contiguous())
    if task == "semantic":
        return {"image": image, "mask": tv_tensors.Mask(torch.from_numpy(new_id[scene.semantic]))}
    if task == "panoptic":
        info = [
            {**segment, "category_id": int(new_id[segment["category_id"]])}
            for segment in scene.segments_info
            if new_id[segment["category_id"]] != VOID
        ]
        kept = np.isin(scene.panoptic, [segment["id"] for segment in info])
        panoptic_seg = tv_tensors.Mask(torch.from_numpy(scene.panoptic * kept))
        return {"image": image, "panoptic_seg": panoptic_seg, "segments_info": info}
    labels = new_id[scene.instances.labels]
    kept = labels != VOID
    boxes = tv_tensors.BoundingBoxes(
        torch.from_numpy(scene.instances.boxes[kept]),
        format="XYXY",
        canvas_size=scene.semantic.shape,
    )
    return {
        "image": image,
        "boxes": boxes,
        "masks": tv_tensors.Mask(torch.from_numpy(scene.instances.masks[kept])),
        "labels": torch.from_numpy(labels[kept].astype(np.int64)),
    }
