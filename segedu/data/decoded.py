"""A data set decoded once into a file, whose samples are then parts of that file in memory.

The operating system reads the pages that a sample touches and lends them to every process that maps
the file, so that worker processes share one copy and nothing need fit into memory.

The file holds the samples one after the other, each as a header in JSON (what its parts are and
where they lie) and the bytes of its tensors; then where the samples begin, 8 bytes each, and their
number.
"""

import errno
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from segedu.data.views import Transformed, View
from segedu.files import atomic_write

_ALIGNED = 64  # bytes; where tensors begin
_FORMAT = 1
_KINDS = {"Image": tv_tensors.Image, "Mask": tv_tensors.Mask, "Tensor": Tensor}


class Decoded(View):
    """The samples of a data set, read from one file in which they lie decoded.

    The first time every sample is read and written there. A file of another state of the data set
    is left alone. What a caller changes in a sample stays with the caller.

    Args:
        dataset: its samples are dicts of tensors and plain values; nothing in it is random.
        folder: where the file is, or will be; it is made if need be.
        **about: how the data set was opened, plain values, as far as its files do not tell.

    Attributes:
        path: of the file.

    Raises:
        ValueError: if the data set has transforms of its own or no files, or the file is damaged.
        TypeError: if a sample holds what cannot be kept.
        OSError: if the file cannot be written, as on a full disk; nothing is left then.
    """

    def __init__(self, dataset: Dataset, folder: str | Path, **about: Any) -> None:
        super().__init__(dataset)
        _check_fixed(dataset)
        name = f"decoded-{_identity(dataset, about)}"
        self.path = Path(folder, f"{name}-{_state(dataset)}.bin")
        if not self.path.exists():
            for stale in sorted(Path(folder).glob(f"{name}-*.bin")):
                warnings.warn(
                    f"{stale}: the files of the data set have changed since; they are decoded anew "
                    "and this file may be deleted",
                    stacklevel=2,
                )
            _write(dataset, self.path)
        self._begins = _begins(self.path, len(dataset))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        begin, end = self._begins[index : index + 2].tolist()
        # Mapped for this sample alone: its tensors hold the memory, and writing copies a page.
        return _unpacked(np.memmap(self.path, np.uint8, "c", begin, (end - begin,)))


def _check_fixed(dataset: Dataset) -> None:
    """Refuse what would be decided once and for all."""
    for view in _chain(dataset):
        if isinstance(view, Transformed) or vars(view).get("transforms") is not None:
            raise ValueError(
                "dataset has transforms, which would be the same in every epoch; rather "
                "transform what is decoded: Transformed(Decoded(dataset, folder), transform)"
            )
    if not getattr(dataset, "image_paths", None):
        raise ValueError("dataset has no files (image_paths), so nobody could tell when it changes")


def _chain(dataset: Dataset) -> Iterator[Dataset]:
    """The data set, and those that it is a view of."""
    yield dataset
    while isinstance(dataset, View):
        dataset = dataset.dataset
        yield dataset


def _files(dataset: Dataset) -> list[Path]:
    labels: Sequence[Sequence[Path]] = getattr(dataset, "label_paths", ())
    return [*dataset.image_paths, *(path for paths in labels for path in paths)]


def _identity(dataset: Dataset, about: Mapping[str, Any]) -> str:
    """Which samples of which data set they are."""
    kinds = [type(view).__qualname__ for view in _chain(dataset)]
    known = [getattr(dataset, name, None) for name in ("task", "classes", "names")]
    return _digest([_FORMAT, kinds, *known, _files(dataset), dict(about)])


def _state(dataset: Dataset) -> str:
    """Of which sizes and times the files are."""
    stats = [path.stat() for path in dict.fromkeys(_files(dataset))]
    return _digest([(stat.st_size, stat.st_mtime_ns) for stat in stats])


def _digest(content: Any) -> str:
    return sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]


def _write(dataset: Dataset, path: Path) -> None:
    """Decode every sample into the file."""
    begins = [0]
    try:
        with atomic_write(path) as file:
            for index in range(len(dataset)):
                file.write(_packed(dataset[index]))
                begins.append(file.tell())
            file.write(np.array([*begins, len(dataset)], "<i8").tobytes())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        done = len(begins) - 1
        needed = f", about {begins[-1] * len(dataset) // done >> 20} MiB are needed" if done else ""
        raise OSError(
            error.errno,
            f"no space left after {done} of {len(dataset)} decoded samples{needed}; choose another "
            "folder",
            str(path),
        ) from error


def _begins(path: Path, count: int) -> NDArray[np.int64]:
    """Where the samples begin, and where the last one ends."""
    size = 8 * (count + 2)
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        found = np.frombuffer(file.read(), "<i8")
    if len(found) != count + 2 or found[-1] != count or found[-2] + size != path.stat().st_size:
        raise ValueError(f"{path}: does not hold {count} decoded samples; delete it")
    return found[:-1]


def _packed(sample: Mapping[str, Any]) -> bytes:
    """One sample: 8 bytes with the length of its header, the header, the tensors."""
    parts, tensors, at = {}, [], 0
    for key, value in sample.items():
        if not isinstance(value, Tensor):
            parts[key] = {"value": value}
            continue
        kind = type(value).__name__
        part = {"kind": kind, "shape": list(value.shape), "at": at}
        if isinstance(value, tv_tensors.BoundingBoxes):
            part |= {"format": value.format.name, "canvas_size": list(value.canvas_size)}
        elif kind not in _KINDS:
            raise TypeError(f"{key} is a {kind}, which cannot be kept")
        array = value.as_subclass(Tensor).contiguous().numpy()
        parts[key] = part | {"dtype": array.dtype.str}
        tensors.append(_padded(array.tobytes()))
        at += len(tensors[-1])
    try:
        header = json.dumps(parts).encode()
    except TypeError as error:
        raise TypeError(f"a sample holds neither tensors nor plain values alone: {error}") from None
    return b"".join([_padded(len(header).to_bytes(8, "little") + header), *tensors])


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNED)


def _unpacked(data: NDArray[np.uint8]) -> dict[str, Any]:
    """The sample of which these are the bytes; its tensors are parts of them."""
    length = 8 + int(data[:8].view("<i8")[0])
    parts = json.loads(data[8:length].tobytes())
    tensors = data[length + -length % _ALIGNED :].view(np.ndarray)
    return {
        key: part["value"] if "value" in part else _tensor(part, tensors)
        for key, part in parts.items()
    }


def _tensor(part: Mapping[str, Any], data: NDArray[np.uint8]) -> Tensor:
    dtype, shape = np.dtype(part["dtype"]), part["shape"]
    end = part["at"] + dtype.itemsize * int(np.prod(shape))
    tensor = torch.from_numpy(data[part["at"] : end].view(dtype).reshape(shape))
    if part["kind"] == "BoundingBoxes":
        return tv_tensors.BoundingBoxes(
            tensor, format=part["format"], canvas_size=tuple(part["canvas_size"])
        )
    return tensor if part["kind"] == "Tensor" else _KINDS[part["kind"]](tensor)
