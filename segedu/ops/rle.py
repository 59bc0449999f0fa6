"""Run-length encoding of binary masks in COCO's formats.

A mask is read column by column; the counts alternate between runs of 0 and of 1, starting with 0.
COCO's compressed form writes each count as the difference to the count two before (from the third
on), in groups of five bits, lowest first, with a continuation bit and 48 added to make a character.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
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
    (counts,) = _counts([rle])
    if counts.sum() != height * width or (counts < 0).any():
        raise ValueError(f"the counts must add up to {height} x {width}, got {counts.sum()}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def area(rle: RLE) -> int:
    """Number of pixels of the mask."""
    return int(_counts([rle])[0][1::2].sum())


def overlaps(
    first: Sequence[RLE], second: Sequence[RLE], wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels that pairs of masks have in common and areas of all, without decoding a mask.

    Args:
        first: N masks.
        second: M masks of the same size.
        wanted: bool (N, M), the pairs to look at.

    Returns:
        Intersections int64 (N, M), 0 where not wanted, and areas (N,) and (M,).

    Raises:
        ValueError: sizes differ, or counts do not add up to the size.
    """
    sizes = {tuple(mask["size"]) for mask in (*first, *second)}
    if len(sizes) > 1:
        raise ValueError(f"masks must have the same size, got {sorted(sizes)}")
    masks = _counts((*first, *second))
    # All masks lie on one line, end to end; up to the end of each run ``on`` pixels are 1.
    lengths = np.array([len(x) for x in masks], dtype=np.int64)
    last = np.append(0, lengths.cumsum())
    counts = np.concatenate([np.zeros(1, np.int64), *masks])
    is_on = np.append(0, (np.arange(last[-1]) - last[:-1].repeat(lengths)) % 2)
    ends, on = counts.cumsum(), (counts * is_on).cumsum()
    height, width = sizes.pop() if sizes else (0, 0)
    if (counts < 0).any() or (ends[last] != np.arange(len(last)) * height * width).any():
        raise ValueError(f"the counts of each mask must add up to {height} x {width}")
    areas = np.diff(on[last])
    result = np.zeros(wanted.shape, np.int64)
    n, m = np.nonzero(wanted)
    # Both ends of each run of 1 in a first mask, moved to each second mask: what this has on
    # between them is shared.
    runs = lengths[n] // 2
    pair = np.arange(len(n)).repeat(runs)
    start = last[n][pair] + 2 * (np.arange(len(pair)) - (runs.cumsum() - runs)[pair]) + 1
    moves = (len(first) + m - n) * (height * width)
    places = ends[np.stack([start, start + 1])] + moves[pair]  # (2, R)
    run = np.searchsorted(ends, places)
    before = on[run] - is_on[run] * (ends[run] - places)
    shared = np.append(0, (before[1] - before[0]).cumsum())
    result[n, m] = shared[runs.cumsum()] - shared[runs.cumsum() - runs]
    return result, areas[: len(first)], areas[len(first) :]


def _counts(masks: Sequence[RLE]) -> list[np.ndarray]:
    """Counts of every mask; whether they fill it is for the caller to check."""
    listed = [mask["counts"] for mask in masks]
    texts = [x.encode("ascii") if isinstance(x, str) else x for x in listed]
    texts = [x for x in texts if isinstance(x, bytes)]
    decompressed = iter(_decompress(texts))
    return [
        next(decompressed) if isinstance(x, (bytes, str)) else np.asarray(x, dtype=np.int64)
        for x in listed
    ]


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


def _decompress(texts: Sequence[bytes]) -> list[np.ndarray]:
    """Counts of every text; the characters of all are read together."""
    char = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(char & 32 == 0)  # the last character of each count
    if not len(last):
        return [np.zeros(0, np.int64)] * len(texts)
    starts = np.append(0, last[:-1] + 1)
    length = last + 1 - starts
    place = np.arange(last[-1] + 1) - np.repeat(starts, length)
    value = np.add.reduceat((char[: last[-1] + 1] & 31) << (5 * place), starts)
    value -= (char[last] & 16 > 0) * (1 << (5 * length))
    stops = np.searchsorted(last, np.cumsum([0, *map(len, texts)]))
    first = stops[:-1].repeat(np.diff(stops))  # of the same text
    nth = np.arange(len(value)) - first
    # From the fourth on, each is the difference to the one two before: every other value is summed
    # up along all texts, less what the sum was at the start of the text.
    total = np.append(0, value)
    for parity in (0, 1):
        total[parity::2].cumsum(out=total[parity::2])
    counts = np.where(nth > 0, total[1:] - total[first + 1 - nth % 2], value)
    return [counts[a:b] for a, b in itertools.pairwise(stops.tolist())]
