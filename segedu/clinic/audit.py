"""Who agrees on labels, which labels are suspect, which images are copies, where a network fails.

`segedu.clinic.examine` finds what is broken; here is what only looks right.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.metrics import SemanticMetrics
from segedu.metrics.intervals import LEVEL, PerImage

_SIDE = 16  # of the grid of comparisons in a near copy's key: 256 bits


class _Agreement(SemanticMetrics):
    """Semantic scores and Cohen's kappa."""

    def compute(self) -> dict[str, Any]:
        """What the scores are, and ``kappa``."""
        result = super().compute()
        shares = result["confusion_matrix"].double()
        shares = shares / shares.sum()
        seen = shares.trace().item()
        by_chance = (shares.sum(0) @ shares.sum(1)).item()
        kappa = (seen - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan
        return {"kappa": kappa} | result


def agreement(
    pairs: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
    *,
    ignore_index: int = 255,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """How far two annotators agree on the same images.

    Cohen (1960): kappa = (p - e) / (1 - e), with p the share of pixels that both label alike and e
    the share if each drew labels at random in his own proportions. 1 is full agreement, 0 that of
    chance. A pixel that either of them ignores is left out.

    Args:
        pairs: for each image the labels of both, integers (H, W).
        num_classes: C.
        ignore_index: the label of pixels that have no class.
        draws, seed: of images, for intervals of 95 %; see `segedu.metrics.intervals.PerImage`.

    Returns:
        ``kappa`` in [-1, 1] (NaN where both know but one class), ``mean_iou`` and the other results
        of `SemanticMetrics`, with ``intervals``; those that prefer one annotator, such as
        ``mean_accuracy``, take the second for the truth.

    Raises:
        ValueError: there is no pair, or the labels of an image differ in shape or are no classes.
    """
    metric = PerImage(lambda: _Agreement(num_classes, ignore_index), draws=draws, seed=seed)
    empty = True
    for first, second in pairs:
        unknown = first == ignore_index
        if unknown.shape != second.shape:
            raise ValueError(
                f"both annotators must label the same pixels, got {tuple(first.shape)} and "
                f"{tuple(second.shape)}"
            )
        labels = first.masked_fill(unknown, 0), second.masked_fill(unknown, ignore_index)
        metric.update(*(x[None] for x in labels))
        empty = False
    if empty:
        raise ValueError("pairs must hold one image or more")
    return metric.compute()


class Suspect(NamedTuple):
    """The pixels of one label in one image, and what a network thinks of them."""

    image: int
    label: int
    #: The class that the network would rather give.
    rather: int
    #: Its mean probability less that of the label, in [-1, 1]; above 0 the network disagrees.
    margin: float
    pixels: int


def suspects(
    probabilities: Iterable[Tensor], masks: Iterable[Tensor], *, smallest: int = 1
) -> list[Suspect]:
    """Labels by how little a network believes them, the least believed first.

    The network should not have learnt from these labels, or it repeats their mistakes: train it on
    other images, or in folds. Mislabelled samples stand at the head of such an order (Northcutt et
    al. 2021), and so do samples that are right and difficult: a person looks at them.

    Args:
        probabilities: for each image (C, H, W), softmaxed.
        masks: for each image integers (H, W); labels that are no class are passed over.
        smallest: pixels that a label needs in an image.

    Raises:
        ValueError: there are more of one than of the other, or an image and its mask differ in
            size.
    """
    found = []
    for image, (chances, mask) in enumerate(zip(probabilities, masks, strict=True)):
        if chances.shape[1:] != mask.shape:
            raise ValueError(
                f"image {image}: probabilities (C, H, W) and mask (H, W) must fit, got "
                f"{tuple(chances.shape)} and {tuple(mask.shape)}"
            )
        for label in mask.unique().tolist():
            where = mask == label
            pixels = int(where.sum())
            if not 0 <= label < len(chances) or pixels < smallest:
                continue
            mean = chances[:, where].mean(1)
            others = mean.index_fill(0, torch.tensor(label), -1.0)
            rather = int(others.argmax())
            found.append(Suspect(image, label, rather, (mean[rather] - mean[label]).item(), pixels))
    return sorted(found, key=lambda suspect: -suspect.margin)


class NearCopy(NamedTuple):
    """Two images that look alike: their splits and their numbers there, and how far they differ."""

    split: str
    image: int
    other_split: str
    other_image: int
    #: Of 256, how many comparisons of neighbouring grey values come out differently.
    bits: int


def near_copies(splits: Mapping[str, Iterable[Tensor]], *, bits: int = 20) -> list[NearCopy]:
    """Images that look alike though their pixels differ: scaled, compressed again, made brighter.

    The key of an image is whether each of 16 x 16 mean grey values is brighter than its left
    neighbour (a difference hash). Turned, mirrored and strongly cropped copies escape it; equal
    pixels are what `segedu.clinic.examine` reports.

    Args:
        splits: split -> images (C, H, W).
        bits: of 256, how many may differ. Keys of unrelated photographs differ in about half.

    Returns:
        The pairs within a split and between two, the most alike first.
    """
    keys = {split: [_key(image) for image in images] for split, images in splits.items()}
    found = []
    for one, other in combinations_with_replacement([s for s in keys if keys[s]], 2):
        signs = [torch.stack(keys[split]) for split in (one, other)]  # (N, 256), -1 or 1
        differ = ((_SIDE**2 - signs[0] @ signs[1].T) / 2).round().int()
        if one == other:
            differ = differ + (bits + 1) * torch.ones_like(differ).tril()
        for i, j in (differ <= bits).nonzero().tolist():
            found.append(NearCopy(one, i, other, j, int(differ[i, j])))
    return sorted(found, key=lambda pair: pair.bits)


def _key(image: Tensor) -> Tensor:
    grey = image.as_subclass(Tensor).float().mean(0)
    cells = F.interpolate(grey[None, None], (_SIDE, _SIDE + 1), mode="area")[0, 0]
    return torch.where(cells.diff(dim=1) > 0, 1.0, -1.0).flatten()


def by_slice(
    scores: Sequence[float], groups: Sequence[Hashable], *, draws: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """A score by an attribute of the images: where the errors are.

    Args:
        scores: one for each image, such as a column of ``Report(...).images``; NaN where there is
            none, which is left out.
        groups: the attribute of each image: place, camera, size, weather.
        draws, seed: of the images of a slice, with replacement, for intervals of 95 % (percentiles
            of the bootstrap).

    Returns:
        For each slice ``slice``, ``images``, ``mean``, ``low`` and ``high``, the worst first; the
        ends are NaN for a single image. Slices without any score are not there.

    Raises:
        ValueError: there are not as many groups as scores.
    """
    if len(scores) != len(groups):
        raise ValueError(f"each score needs a group: {len(scores)} scores, {len(groups)} groups")
    random = np.random.default_rng(seed)
    mine: dict[Hashable, list[float]] = {}
    for score, group in zip(scores, groups, strict=True):
        if not math.isnan(score):
            mine.setdefault(group, []).append(score)
    rows = []
    for group, values in mine.items():
        low = high = math.nan
        if len(values) > 1 and draws:
            drawn = random.choice(values, (draws, len(values))).mean(1)
            low, high = np.percentile(drawn, LEVEL).tolist()
        mean = math.fsum(values) / len(values)
        rows.append({"slice": group, "images": len(values), "mean": mean, "low": low, "high": high})
    return sorted(rows, key=lambda row: row["mean"])
