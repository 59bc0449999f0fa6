"""Run-length encoding of binary masks in COCO's formats.

A mask is read column by column; the counts alternate between runs of 0 and of 1, starting with 0.
COCO's compressed form writes each count as the difference to the count two before (from the third
on), in groups of five bits, lowest first, with a continuation bit and 48 added to make a character.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

RLE = Mapping[str, Any]


def encode(mask: np.ndarray, *, compress: bool = True) -> dict[str, Any]:
    """Encode a mask (H, W) of bool or 0 and 1.

    Returns:
        ``{"size": [H, W], "counts": bytes}``, or a list of counts if not ``compress``.

    Raises:
        ValueError: the mask is not two-dimensional.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask must be (H, W), got {mask.shape}")
    flat = mask.ravel(order="F").astype(bool)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    counts = np.diff(ends, prepend=0)
    if flat.size and flat[0]:
        counts = np.insert(counts, 0, 0)
    listed = counts.tolist()
    return {"size": list(mask.shape), "counts": _compress(listed) if compress else listed}


def decode(rle: RLE) -> np.ndarray:
    """Decode ``{"size": [H, W], "counts": bytes, str or list}`` to a bool mask (H, W).

    Raises:
        ValueError: the counts do not add up to H · W.
    """
    height, width = rle["size"]
    counts = _counts(rle)
    if counts.sum() != height * width or (counts < 0).any():
        raise ValueError(f"the counts must add up to {height} x {width}, got {counts.sum()}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def area(rle: RLE) -> int:
    """Number of pixels of the mask."""
    return int(_counts(rle)[1::2].sum())


def _counts(rle: RLE) -> np.ndarray:
    counts = rle["counts"]
    if isinstance(counts, (bytes, str)):
        return _decompress(counts if isinstance(counts, bytes) else counts.encode("ascii"))
    return np.asarray(counts, dtype=np.int64)


def _compress(counts: list[int]) -> bytes:
    text = bytearray()
    for i, count in enumerate(counts):
        rest = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = rest & 31
            rest >>= 5  # keeps the sign
            more = rest != (-1 if bits & 16 else 0)
            text.append(bits + 48 + (32 if more else 0))
    return bytes(text)


def _decompress(text: bytes) -> np.ndarray:
    char = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(char & 32 == 0)  # the last character of each count
    if not len(ends):
        return np.zeros(0, np.int64)
    length = np.diff(ends, prepend=-1)
    starts = ends - length + 1
    place = np.arange(ends[-1] + 1) - np.repeat(starts, length)
    value = np.add.reduceat((char[: ends[-1] + 1] & 31) << (5 * place), starts)
    value -= (char[ends] & 16 > 0) * (1 << (5 * length))
    # From the fourth on, each is the difference to the one two before.
    value[1::2] = value[1::2].cumsum()
    value[2::2] = value[2::2].cumsum()
    return value
