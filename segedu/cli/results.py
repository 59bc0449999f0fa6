"""What ``predict`` computes of a picture, and the files that it writes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from segedu.cli.sources import Picture
from segedu.data.transforms import MEAN, STD
from segedu.engine import predict_strips, predict_tta
from segedu.engine.deployed import fitted, numbered
from segedu.engine.inference import probabilities
from segedu.files import atomic_write, write_json
from segedu.ops import masks_to_boxes, resize_labels, rle
from segedu.tasks import Instance, Panoptic
from segedu.viz import overlay, overlay_instances, overlay_panoptic

#: Pixels of an image that the network sees at once if no window was asked for.
WHOLE = 2048 * 2048
WINDOW = 1024
ROWS = 512  # that are drawn at once


class Network(NamedTuple):
    """What a checkpoint says of the images that its network takes, and of its classes."""

    task: str
    classes: Sequence[str]
    colors: Sequence[Sequence[int]]
    isthing: Sequence[bool]
    channels: int
    mean: Sequence[float]
    std: Sequence[float]
    image_size: Sequence[int] | None
    """Height and width that pictures were scaled into in training."""


def network_input(state: Mapping[str, Any]) -> Network:
    """Read that from a checkpoint of `segedu.cli.networks.load_model`.

    Raises:
        ValueError: if the network is for something that ``predict`` does not do.
    """
    config, built = state["config"], state["network"]
    task = config["task"]
    if task not in ("semantic", "instance", "panoptic"):
        raise ValueError(f"{built['name']} is for {task} segmentation, which predict cannot do")
    mean, std = config.get("mean") or MEAN, config.get("std") or STD
    if task == "semantic" and built.get("in_channels", len(mean)) != len(mean):
        raise ValueError(
            f"{built['name']} takes {built['in_channels']} channels, but the checkpoint names the "
            f"mean of {len(mean)}: give mean and std to the training, fit(..., config={{...}})"
        )
    if len(config["classes"]) > 256:
        raise ValueError(f"a mask holds 256 classes at most, got {len(config['classes'])}")
    return Network(
        task=task,
        classes=config["classes"],
        colors=config["colors"],
        isthing=config["isthing"],
        channels=len(mean),
        mean=mean,
        std=std,
        image_size=config.get("image_size") or None,
    )


class SemanticView:
    """How a semantic network looks at a picture: whole, or in windows, once or several times.

    Args:
        model: maps (N,C,h,w) to logits.
        network: what it takes.
        window: side of the windows; by default pictures up to 2048 x 2048 pixels are seen whole,
            and others in windows of 1024.
        tta: average over the mirror image and the scales.
        scales: with ``tta``.
    """

    def __init__(
        self,
        model: nn.Module,
        network: Network,
        window: int | None,
        tta: bool,
        scales: Sequence[float],
    ) -> None:
        self.model, self.network, self.window = model, network, window
        self.tta, self.scales = tta, tuple(scales)
        self.device = next(model.parameters()).device
        shape = (-1, 1, 1)
        self.mean = torch.tensor(network.mean, device=self.device).view(shape)
        self.std = torch.tensor(network.std, device=self.device).view(shape)

    def strips(self, image: Tensor) -> Iterator[Tensor]:
        """Picture uint8 (C,H,W) -> probabilities (K,h,W) on the CPU, from the top down."""
        size = tuple(image.shape[1:])
        window = self.window
        if window is None:
            window = max(size) if size[0] * size[1] <= WHOLE else WINDOW

        def read(here: tuple[slice, ...]) -> Tensor:
            part = image[(..., *here)].as_subclass(Tensor).to(self.device).float() / 255
            return ((part - self.mean) / self.std)[None]

        for strip in predict_strips(self._predict, read, size, window, activation=_as_it_is):
            if not strip.isfinite().all():
                raise ValueError("the network answers with numbers that are not finite")
            yield strip[0].cpu()

    def _predict(self, images: Tensor) -> Tensor:
        if self.tta:
            return predict_tta(self.model, images, scales=self.scales)
        return probabilities(self.model(images))


@torch.no_grad()
def predict_objects(model: nn.Module, network: Network, image: Tensor) -> dict[str, Any]:
    """What an instance or panoptic network finds in a picture uint8 (C,H,W), at its size."""
    size = tuple(image.shape[1:])
    seen = fitted(image, network.image_size).as_subclass(Tensor).float() / 255
    task = Instance() if network.task == "instance" else Panoptic(dict(enumerate(network.isthing)))
    sample = {"image": seen.to(next(model.parameters()).device)}
    (found,) = task.predict(model, [sample])
    found = {key: v.cpu() if isinstance(v, Tensor) else v for key, v in found.items()}
    if "panoptic_seg" in found:
        found["panoptic_seg"] = resize_labels(found["panoptic_seg"], size)
        return found
    masks = found["masks"].reshape(-1, *found["masks"].shape[-2:])  # (D,H,W)
    found["masks"] = resize_labels(masks if masks.dtype == torch.bool else masks > 0.5, size)
    return found


class Writer:
    """Writes the results of a run; each file is whole or absent.

    The folder has a folder for each kind of result, and the names in it are those of the pictures;
    objects and segments stand in a json beside them, as COCO writes them.

    Args:
        folder: of the results.
        network: names and colours of the classes, and the task.
        save: of ``overlay``, ``mask`` and ``probabilities``.
        force: whether files that are there are replaced.
    """

    def __init__(self, folder: Path, network: Network, save: Sequence[str], force: bool) -> None:
        self.folder, self.network, self.save, self.force = folder, network, save, force
        self.written = 0
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        if network.task != "semantic":
            self._check(self._json())

    def check_free(self, name: str) -> None:
        """Raise FileExistsError if a result of this name is there, unless it may be replaced."""
        for what in self.save:
            self._check(self._path(what, name))

    def _path(self, what: str, name: str) -> Path:
        return self.folder / what / f"{name}{'.npz' if what == 'probabilities' else '.png'}"

    def _check(self, file: Path) -> None:
        if file.exists() and not self.force:
            raise FileExistsError(f"{file} is there already: --force replaces it")

    def semantic(self, name: str, image: Tensor, view: SemanticView) -> str:
        """Write the results of a picture; returns the shares of the classes."""
        size = tuple(image.shape[1:])
        seen = fitted(image, self.network.image_size)
        labels = np.empty(seen.shape[1:], np.uint8)
        top = 0
        file = self._path("probabilities", name)
        with _RowsOfNpz(file if "probabilities" in self.save else None, seen.shape[1:]) as rows:
            for strip in view.strips(seen):
                if len(strip) == 1:  # one channel is the probability of class 1
                    strip = torch.cat([1 - strip, strip])
                labels[top : top + strip.shape[1]] = strip.argmax(0).numpy().astype(np.uint8)
                rows.add(strip)
                top += strip.shape[1]
        labels = resize_labels(torch.from_numpy(labels), size).numpy()
        if "mask" in self.save:
            indexed = Image.fromarray(labels)
            indexed.putpalette([value for color in self.network.colors for value in color])
            _save_png(self._path("mask", name), indexed)
        if "overlay" in self.save:
            drawn = _draw_rows(image, labels, self.network.colors)
            _save_png(self._path("overlay", name), Image.fromarray(drawn))
        self.written += 1
        # Class by class, since np.bincount would need eight bytes for each pixel.
        classes = enumerate(self.network.classes)
        shares = [(np.count_nonzero(labels == i) / labels.size, name) for i, name in classes]
        return ", ".join(f"{c} {s:.1%}" for s, c in sorted(shares, reverse=True) if s > 0)

    def instance(
        self, picture: Picture, image: Tensor, found: Mapping[str, Tensor], min_score: float
    ) -> str:
        """Keep the objects of a picture for the json, and draw them; returns how many."""
        name = picture.name
        kept = found["scores"] >= min_score
        masks, labels = found["masks"][kept].numpy(), found["labels"][kept].tolist()
        image_id = self._image(picture.file_name, image)
        boxes = masks_to_boxes(found["masks"][kept]).tolist()
        about = zip(masks, labels, found["scores"][kept].tolist(), boxes, strict=True)
        for mask, label, score, (left, top, right, bottom) in about:
            run_lengths = rle.encode(mask)
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image_id,
                    "category_id": label,
                    "segmentation": run_lengths | {"counts": run_lengths["counts"].decode()},
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "score": round(score, 6),
                }
            )
        if "overlay" in self.save:
            drawn = overlay_instances(_as_rgb(image), masks)
            _save_png(self._path("overlay", name), Image.fromarray(drawn))
        if "mask" in self.save:
            _save_png(self._path("mask", name), Image.fromarray(numbered(masks)))
        self.written += 1
        names = [self.network.classes[label] for label in labels]
        counts = {n: names.count(n) for n in sorted(set(names))}
        return ", ".join(f"{count} {n}" for n, count in counts.items()) or "no objects"

    def panoptic(self, picture: Picture, image: Tensor, found: Mapping[str, Any]) -> str:
        """Write the map of a picture in COCO's colours, and keep its segments for the json."""
        name = picture.name
        ids = found["panoptic_seg"].numpy()
        segments = []
        for segment in found["segments_info"]:
            rows, columns = np.nonzero(ids == segment["id"])
            if len(rows):
                left, top = int(columns.min()), int(rows.min())
                width, height = int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
                segments.append(
                    {
                        "id": int(segment["id"]),
                        "category_id": int(segment["category_id"]),
                        "area": len(rows),
                        "bbox": [left, top, width, height],
                        "iscrowd": 0,
                    }
                )
        image_id = self._image(picture.file_name, image)
        self.annotations.append(
            {"image_id": image_id, "file_name": f"{name}.png", "segments_info": segments}
        )
        if "mask" in self.save:
            packed = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
            _save_png(self._path("mask", name), Image.fromarray(packed.astype(np.uint8)))
        if "overlay" in self.save:
            drawn = overlay_panoptic(
                _as_rgb(image), ids, found["segments_info"], self.network.colors
            )
            _save_png(self._path("overlay", name), Image.fromarray(drawn))
        self.written += 1
        return f"{len(segments)} segment{'' if len(segments) == 1 else 's'}"

    def close(self) -> None:
        """Write the json of the objects of all pictures."""
        if self.network.task == "semantic" or not self.written:
            return
        categories = [
            {"id": i, "name": n, "color": list(c)}
            for i, (n, c) in enumerate(zip(self.network.classes, self.network.colors, strict=True))
        ]
        if self.network.task == "panoptic":
            for category, isthing in zip(categories, self.network.isthing, strict=True):
                category["isthing"] = int(isthing)
        else:
            categories = categories[1:]  # 0 is the background
        content = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
        }
        write_json(self._json(), content)

    def _json(self) -> Path:
        return self.folder / f"{self.network.task}.json"

    def _image(self, file_name: str, image: Tensor) -> int:
        height, width = image.shape[1:]
        entry = {"id": len(self.images) + 1, "file_name": file_name}
        entry |= {"height": height, "width": width}
        self.images.append(entry)
        return entry["id"]


class _RowsOfNpz:
    """An ``.npz`` file with ``probabilities`` float16 (H,W,K), written row by row.

    Args:
        file: None writes nothing.
        size: H and W.
    """

    def __init__(self, file: Path | None, size: Sequence[int]) -> None:
        self.file, self.size = file, tuple(size)
        self.stream = None

    def __enter__(self) -> _RowsOfNpz:
        if self.file is not None:
            self.context = atomic_write(self.file)
            self.archive = zipfile.ZipFile(self.context.__enter__(), "w", zipfile.ZIP_DEFLATED)
        return self

    def add(self, strip: Tensor) -> None:
        """The next rows, (K,h,W)."""
        if self.file is None:
            return
        if self.stream is None:
            self.stream = self.archive.open("probabilities.npy", "w", force_zip64=True)
            shape = (*self.size, len(strip))
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self.stream, header)
        rows = strip.permute(1, 2, 0).numpy().astype("<f2")  # (h,W,K)
        self.stream.write(np.ascontiguousarray(rows).data)

    def __exit__(self, *error: Any) -> None:
        if self.file is None:
            return
        if self.stream is not None:
            self.stream.close()
        self.archive.close()
        self.context.__exit__(*error)


def _draw_rows(image: Tensor, labels: NDArray[np.uint8], colors: Any) -> NDArray[np.uint8]:
    """The overlay of a picture (C,H,W), drawn some rows at a time."""
    height = len(labels)
    drawn = np.empty((*labels.shape, 3), np.uint8)
    for top in range(0, height, ROWS):
        above, below = max(top - 1, 0), min(top + ROWS + 1, height)  # outlines look at neighbours
        part = overlay(_as_rgb(image[:, above:below]), labels[above:below], colors)
        stop = min(top + ROWS, height)
        drawn[top:stop] = part[top - above : stop - above]
    return drawn


def _as_rgb(image: Tensor) -> Tensor:
    """Of a picture (C,H,W) what can be shown: its first three channels, or the first alone."""
    return image.as_subclass(Tensor)[: 3 if len(image) >= 3 else 1]


def _as_it_is(found: Tensor) -> Tensor:
    return found


def _save_png(file_path: Path, image: Image.Image) -> None:
    with atomic_write(file_path) as file:
        image.save(file, format="PNG")
