"""Promptable networks as two ONNX files: an image is embedded once, then every click is quick.

The encoder takes ``image`` float32 (1,3,H,W), RGB in [0, 1], whose longer side is the S pixels that
the network works at, and gives ``embedding`` (1,C,h,w). The decoder takes this, and

- ``points`` float32 (1,n,2), x and y in pixels of the image, and ``labels`` int64 (1,n), 1 on the
  object, 0 beside it;
- ``mask`` float32 (1,1,4h,4w), logits of an earlier answer, and ``has_mask`` float32 (1,), 1 if
  there is one, else 0: then ``mask`` counts for nothing.

It gives ``logits`` (1,4,S,S), in whose upper left corner the image is, ``iou`` (1,4), what the
network thinks of each, and ``low_res`` (1,4,4h,4w), of which one is the next ``mask``. Mask 0 is
meant after several clicks; 1 to 3 are what a single one may mean.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.engine.export import INPUT, convert, difference, halved, runner, write_onnx
from segedu.models.sam import SAM
from segedu.models.targets import IMAGE_MEAN, IMAGE_STD, normalize

PARTS = ("encoder", "decoder")
OUTPUTS = ("logits", "iou", "low_res")


class Encoder(nn.Module):
    """What a promptable network does with an image that has its size, as one graph."""

    def __init__(self, model: SAM) -> None:
        super().__init__()
        self.size, self.encoder = model.image_size, model.image_encoder

    def forward(self, image: Tensor) -> Tensor:
        """(1,3,H,W) in [0, 1], the longer side S -> (1,C,h,w)."""
        padding = (0, self.size - image.shape[3], 0, self.size - image.shape[2])
        return self.encoder(F.pad(normalize(image, IMAGE_MEAN, IMAGE_STD), padding))


class Decoder(nn.Module):
    """What a promptable network does with clicks, as one graph; see the head of the module."""

    def __init__(self, model: SAM) -> None:
        super().__init__()
        self.size, self.grid = model.image_size, model.grid
        self.prompts, self.masks = model.prompt_encoder, model.mask_decoder

    def forward(
        self, embedding: Tensor, points: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(1,C,h,w), (1,n,2), (1,n), (1,1,4h,4w), (1,) -> logits, IoU, low-resolution logits."""
        sparse, given = self.prompts((points + 0.5) / self.size, labels, None, mask)
        _, none = self.prompts(None, None, None, None)
        dense = has_mask * given + (1 - has_mask) * none  # (1, C, h, w)
        low_res, iou = self.masks(embedding + dense, self.prompts.code.map(self.grid), sparse)
        return F.interpolate(low_res, (self.size,) * 2, mode="bilinear"), iou, low_res


def click_files(model: SAM) -> dict[str, bytes]:
    """The two files of a promptable network, each compared with it: ``encoder`` and ``decoder``.

    Weights that half precision holds exactly, as those in the package, are kept in it.

    Args:
        model: left in eval mode, on the CPU.

    Raises:
        ExportError: if the network cannot be exported, or a file computes something else.
        ImportError: if a package of the extra ``deploy`` is missing.
    """
    encoder, decoder = Encoder(model.eval()), Decoder(model)
    image, free = torch.zeros(1, 3, model.image_size, model.image_size), {2: "H", 3: "W"}
    arguments = _example(model, 2, torch.Generator().manual_seed(0))
    names = ("embedding", "points", "labels", "mask", "has_mask")
    inputs = {name: {1: "n"} if name in ("points", "labels") else {} for name in names}
    files = {
        "encoder": convert(encoder, (image,), {INPUT: free}, {"embedding": {}}, fold=False),
        "decoder": convert(decoder, arguments, inputs, {name: {} for name in OUTPUTS}, fold=False),
    }
    files = {part: halved(data) for part, data in files.items()}
    compare(model, files)
    return files


@torch.no_grad()
def compare(model: SAM, files: Mapping[str, bytes]) -> float:
    """The largest difference of the files to their network, relative to the largest value.

    Both embed random images, high, wide and square, as `SAM.embed` does, and answer one, two and
    five random clicks, with a mask and without.

    Raises:
        ExportError: if a file fails, or differs by more than `segedu.engine.export.TOLERANCE`.
    """
    encode, decode = (runner(files[part]) for part in PARTS)
    generator, decoder = torch.Generator().manual_seed(1), Decoder(model)
    side, largest = model.image_size, 0.0
    for size in ((side, side // 2), (side * 3 // 4, side), (side, side)):
        image = torch.rand(1, 3, *size, generator=generator)
        embedding = model.embed(image)
        largest = max(largest, difference(encode(image)[0], embedding, "embeddings"))
    for clicks in (1, 2, 5):
        for has_mask in (0.0, 1.0):
            _, *prompts, _ = _example(model, clicks, generator)
            arguments = (embedding, *prompts, torch.tensor([has_mask]))
            for name, found, wanted in zip(
                OUTPUTS, decode(*arguments), decoder(*arguments), strict=True
            ):
                largest = max(largest, difference(found, wanted, name))
    return largest


def export_clicks(
    model: SAM, path: str | Path, metadata: Mapping[str, Any]
) -> tuple[list[Path], float]:
    """Write the two files of a promptable network, if they then compute what it does.

    Args:
        model: left in eval mode, on the CPU.
        path: ``clicks.onnx`` makes ``clicks.encoder.onnx`` and ``clicks.decoder.onnx``.
        metadata: kept in both as text: strings as they are, everything else as JSON.

    Returns:
        The files, and the largest difference to PyTorch that was seen, relative to the largest
        value.

    Raises:
        ExportError: if the network cannot be exported, or a file computes something else.
        ImportError: if a package of the extra ``deploy`` is missing.
    """
    files = click_files(model)
    targets = part_paths(path)
    for part, data in files.items():
        write_onnx(targets[part], data, {**metadata, "part": part, "size": [model.image_size] * 2})
    return [*targets.values()], compare(model, files)


def part_paths(path: str | Path) -> dict[str, Path]:
    """Where the two files of ``clicks.onnx`` stand."""
    return {part: Path(path).with_suffix(f".{part}.onnx") for part in PARTS}


def _example(model: SAM, clicks: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Random inputs of the decoder: embedding, points, labels, mask, has_mask."""
    weight = model.prompt_encoder.no_mask.weight  # (1, C)
    return (
        torch.randn(1, weight.shape[1], model.grid, model.grid, generator=generator),
        torch.rand(1, clicks, 2, generator=generator) * model.image_size,
        torch.randint(2, (1, clicks), generator=generator),
        torch.randn(1, 1, model.grid * 4, model.grid * 4, generator=generator),
        torch.ones(1),
    )
