"""Networks in ONNX files: what a file says of itself, and what its network finds in a picture.

A file of ``segedu export`` holds a contract in its metadata: how pictures become its input, and the
names and colours of its classes. Nothing else is needed to use it, above all no checkpoint.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segedu.engine.export import INPUT, OUTPUT, import_extra
from segedu.ops import resize_labels

MIN_SCORE = 0.5  # of the objects that count
#: Device -> what onnxruntime calls the part of it that computes there.
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Contract(NamedTuple):
    """What an ONNX file says of the pictures that its network takes, and of its classes."""

    task: str
    """``semantic`` or ``instance``."""
    network: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    channels: int
    mean: tuple[float, ...]
    """Of the channels, in [0, 1], as `std`."""
    std: tuple[float, ...]
    image_size: tuple[int, int] | None
    """Height and width that pictures were scaled into in training."""
    size: tuple[int, int] | None
    """Height and width of every input, None if any will do."""
    several: bool
    """Whether any number of inputs goes in at once."""
    segedu: str
    """Version of the package that wrote the file."""
    reference: Mapping[str, Any] | None
    """What monitoring compares with (`segedu.monitor`), if the file holds it."""


def read_contract(about: Mapping[str, str], name: str = "the file") -> Contract:
    """The contract in the metadata of an ONNX file.

    Args:
        about: key -> text.
        name: of the file, for errors.

    Raises:
        ValueError: if something is missing, unreadable or does not fit together.
    """
    entries = {key: _parsed(text) for key, text in about.items()}
    task = entries.get("task", "semantic")  # whose lack is told with that of others
    if task not in ("semantic", "instance"):
        raise ValueError(f"{name} is for {task} segmentation, not semantic or instance")
    try:
        size = None if entries["size"] == "any" else _integers(entries["size"])
        image_size = _integers(entries["image_size"]) if entries["image_size"] else None
        contract = Contract(
            task=str(entries["task"]),
            network=str(entries["network"]),
            classes=tuple(map(str, entries["classes"])),
            colors=tuple(map(_integers, entries["colors"])),
            channels=int(entries["channels"]),
            mean=tuple(map(float, entries["mean"])),
            std=tuple(map(float, entries["std"])),
            image_size=image_size,
            size=size,
            several=about["images"] != "1",
            segedu=about["segedu"],
            reference=entries.get("reference"),
        )
    except KeyError as error:
        raise ValueError(
            f"{name} does not say its {error.args[0]}: write it by `python -m segedu export`"
        ) from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds metadata that cannot be read ({error})") from None
    if len(contract.classes) != len(contract.colors) or not 1 < len(contract.classes) <= 256:
        raise ValueError(
            f"{name} must name 2 to 256 classes and as many colours, got {len(contract.classes)} "
            f"and {len(contract.colors)}"
        )
    if not len(contract.mean) == len(contract.std) == contract.channels or min(contract.std) <= 0:
        raise ValueError(
            f"{name} must hold mean and positive std of its {contract.channels} channels, got "
            f"{contract.mean} and {contract.std}"
        )
    return contract


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _integers(values: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


class Found(NamedTuple):
    """What a network found in a picture of height H and width W."""

    labels: NDArray[np.integer]
    """(H,W): classes, uint8; or the numbers of the objects, uint16, from 1, the best on top."""
    classes: list[int]
    """The classes that are there, or the class of each object, the best first."""
    scores: list[float] | None = None
    """Of the objects."""
    masks: NDArray[np.bool_] | None = None
    """(D,H,W), of the objects, which may overlap."""

    def mask(self, number: int) -> NDArray[np.bool_]:
        """Where the class or object of this place in ``classes`` is, (H,W)."""
        return self.labels == self.classes[number] if self.masks is None else self.masks[number]


class Deployed:
    """A network in an ONNX file, run by onnxruntime as `segedu predict` runs it.

    Args:
        path: a file of ``segedu export``.
        threads: that one run may use; 0 leaves it to onnxruntime, which takes every core.
        device: one of `PROVIDERS`; ``cuda`` needs the package onnxruntime-gpu.

    Attributes:
        contract: what the file says of itself.
        about: the same as it stands there, key -> text, with whatever else it says.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if onnxruntime cannot load it, or has no such device, or the file does not say
            what it takes.
        ImportError: if onnxruntime is missing.
    """

    def __init__(self, path: str | Path, threads: int = 0, device: str = "cpu") -> None:
        runtime = import_extra("onnxruntime")
        if device not in PROVIDERS:
            raise ValueError(f"device must be {' or '.join(PROVIDERS)}, got {device!r}")
        provider = PROVIDERS[device]
        if provider not in runtime.get_available_providers():
            raise ValueError(
                f"device {device}: this onnxruntime has no {provider}; pip uninstall onnxruntime, "
                "then pip install onnxruntime-gpu"
            )
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        # Threads that wait in a loop would take the cores from whoever reads pictures meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=list(dict.fromkeys([provider, PROVIDERS["cpu"]]))
            )
        except Exception as error:  # onnxruntime has a class for each kind
            raise ValueError(f"{path}: not an ONNX file that can be run ({error})") from None
        if self.session.get_providers()[0] != provider:  # it falls back without an error
            raise ValueError(
                f"device {device}: onnxruntime could not use it; its CUDA and cuDNN must be those "
                "that onnxruntime-gpu asks for"
            )
        self.about: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
        self.contract = read_contract(self.about, Path(path).name)
        self._outputs = [output.name for output in self.session.get_outputs()]
        wanted = OUTPUT if self.contract.task == "semantic" else "masks"
        if wanted not in self._outputs:
            raise ValueError(f"{path}: gives {', '.join(self._outputs)}, but no {wanted}")
        shape = (-1, 1, 1)
        self._mean = np.float32(self.contract.mean).reshape(shape)
        self._std = np.float32(self.contract.std).reshape(shape)

    def prepared(self, picture: Tensor) -> NDArray[np.uint8]:
        """A picture uint8 (C,H,W) at the size at which the network looks at it, (C,h,w).

        Raises:
            ValueError: if the network takes another size only.
        """
        seen = fitted(picture, self.contract.image_size).as_subclass(Tensor).numpy()
        size = self.contract.size
        if size is not None and seen.shape[1:] != size:
            raise ValueError(
                f"the network takes pictures of {size[0]} x {size[1]} pixels (height x width), got "
                f"{picture.shape[1]} x {picture.shape[2]}"
            )
        return seen

    def images(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The input of the file for prepared pictures (N,C,h,w); of a detector, N is 1."""
        images = pictures.astype(np.float32) / 255
        return images[0] if self.contract.task == "instance" else (images - self._mean) / self._std

    def run(self, pictures: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The outputs of the file for prepared pictures (N,C,h,w); of a detector, N is 1.

        Raises:
            ValueError: as `outputs`.
        """
        return self.outputs(self.images(pictures))

    def outputs(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The outputs of the file for its input, as `images` makes it.

        Raises:
            ValueError: if it fails, or gives numbers that are not finite.
        """
        try:
            found = self.session.run(self._outputs, {INPUT: images})
        except Exception as error:  # onnxruntime has a class for each kind
            size = " x ".join(map(str, images.shape[-2:]))
            raise ValueError(
                f"the network cannot run on pictures of {size} pixels (height x width): "
                f"{str(error).splitlines()[0]}"
            ) from error
        if not all(np.isfinite(values).all() for values in found):
            raise ValueError("the network answers with numbers that are not finite")
        return dict(zip(self._outputs, found, strict=True))

    def infer(self, pictures: NDArray[np.uint8]) -> list[Any]:
        """What `finished` needs of each of the prepared pictures (N,C,h,w).

        Raises:
            ValueError: as `run`.
        """
        found = self.run(pictures)
        if self.contract.task == "instance":
            kept = found["scores"] >= MIN_SCORE
            return [{key: values[kept] for key, values in found.items()}]
        logits = found[OUTPUT]
        labels = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)
        return list(labels.astype(np.uint8))

    def finished(self, inferred: Any, size: tuple[int, int]) -> Found:
        """The result at the size (H,W) of the picture."""
        if self.contract.task == "semantic":
            labels = resize_labels(torch.from_numpy(inferred), size).numpy()
            return Found(labels, np.unique(labels).tolist())
        masks = resize_labels(torch.from_numpy(inferred["masks"][:, 0] > 0.5), size).numpy()
        classes, scores = inferred["labels"].tolist(), inferred["scores"].tolist()
        return Found(numbered(masks), classes, scores, masks)

    def __call__(self, picture: Tensor) -> Found:
        """What the network finds in a picture uint8 (C,H,W).

        Raises:
            ValueError: if the network cannot take it.
        """
        (inferred,) = self.infer(self.prepared(picture)[None])
        return self.finished(inferred, (picture.shape[1], picture.shape[2]))


def numbered(masks: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Masks (D,H,W), the best first, -> (H,W): which lies on top, from 1; 0 where none is."""
    numbers = np.zeros(masks.shape[1:], np.uint16)
    for number, mask in reversed(list(enumerate(masks, start=1))):
        numbers[mask] = number
    return numbers


def fitted(picture: Tensor, size: Sequence[int] | None) -> Tensor:
    """A picture (C,H,W) scaled into a height and width; as it is where they are None."""
    if size is None:
        return picture
    from torchvision.transforms.v2 import functional

    own = picture.shape[1:]
    factor = min(new / old for new, old in zip(size, own, strict=True))
    return functional.resize(
        picture, [max(1, round(side * factor)) for side in own], antialias=True
    )
