"""Exported networks in integers of eight bits: a quarter of the bytes, and faster where the
processor multiplies them (VNNI, AMX, dot products of ARM).

Static: the ranges of all feature maps are measured on some pictures beforehand, and each filter has
a scale of its own (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient
inference", https://arxiv.org/abs/1806.08342, sections 2 and 3). onnxruntime does the work.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segedu.engine.deployed import Deployed
from segedu.engine.export import INPUT, import_extra, write_onnx


def quantize(source: str | Path, target: str | Path, pictures: Sequence[Tensor]) -> Path:
    """Write an exported semantic network as one of eight-bit integers.

    Args:
        source: a file of ``segedu export``.
        target: file to create or to replace; it says the same of itself, and ``"int8"`` as its
            ``precision``, but holds no reference, since its numbers are others: see
            `segedu.monitor.record`.
        pictures: uint8 (C,H,W), of the kind that the network will see, which measure the ranges of
            its feature maps; one is often enough, a few dozen are usual.

    Returns:
        The path of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there are no pictures, the network cannot take one or answers with numbers
            that are not finite, it is no semantic network, or it is quantized already.
        ImportError: if a package of the extra ``deploy`` is missing.
    """
    import_extra("onnx")
    import_extra("onnxruntime")
    from onnxruntime import quantization

    network = Deployed(source)
    if network.contract.task != "semantic":
        raise ValueError(
            f"{source}: only semantic networks are quantized, this one is for "
            f"{network.contract.task} segmentation"
        )
    if network.about.get("precision") == "int8":
        raise ValueError(f"{source}: is quantized already")
    if not pictures:
        raise ValueError("pictures must hold one picture at least")
    seen = [network.prepared(picture)[None] for picture in pictures]
    network.run(seen[0])  # which says what is wrong with a broken one
    inputs = [network.images(picture) for picture in seen]
    with tempfile.TemporaryDirectory() as folder, _silent():
        folded, written = Path(folder) / "folded.onnx", Path(folder) / "int8.onnx"
        quantization.shape_inference.quant_pre_process(
            str(source), str(folded), skip_symbolic_shape=True
        )
        quantization.quantize_static(
            str(folded),
            str(written),
            _Reader(inputs),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        data = written.read_bytes()
    about = {key: text for key, text in network.about.items() if key != "reference"}
    return write_onnx(target, data, {**about, "precision": "int8"})


class _Reader:
    """Inputs one after the other, as onnxruntime asks for them."""

    def __init__(self, inputs: Sequence[NDArray[np.float32]]) -> None:
        self._inputs: Iterator[NDArray[np.float32]] = iter(inputs)

    def get_next(self) -> dict[str, Any] | None:
        """The next input, None after the last."""
        images = next(self._inputs, None)
        return None if images is None else {INPUT: images}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without onnxruntime's advice, which has been followed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
