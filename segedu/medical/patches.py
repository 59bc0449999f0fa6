"""Pieces of volumes to train on, and a split that keeps patients apart."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from segedu.engine.inference import window_starts

IGNORE = 255  #: mask of voxels that padding added


class Case(NamedTuple):
    """One scan, ready for a network."""

    patient: str  #: whose it is; several scans may share it
    image: Tensor  #: (C, D, H, W) float
    mask: Tensor  #: (D, H, W) uint8


def split_patients(
    patients: Sequence[str], shares: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0
) -> tuple[list[int], ...]:
    """Deal scans out to subsets so that no patient is in two of them.

    Args:
        patients: whose each scan is.
        shares: of the patients, for each subset; positive, their sum is 1. Each subset gets at
            least one patient.
        seed: of the random order.

    Returns:
        For each subset the sorted indices of its scans.

    Raises:
        ValueError: if the shares do not fit, or there are fewer patients than subsets.

    Example:
        >>> split_patients(["a", "b", "a", "c"], (0.5, 0.5), seed=1)
        ([1], [0, 2, 3])
    """
    if not shares or min(shares) <= 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"shares must be positive and sum to 1, got {tuple(shares)}")
    names = sorted(set(patients))
    if len(names) < len(shares):
        raise ValueError(f"{len(shares)} subsets need as many patients, got {len(names)}")
    generator = torch.Generator().manual_seed(seed)
    names = [names[i] for i in torch.randperm(len(names), generator=generator)]
    ends, spare = [], len(names) - len(shares)  # one for each, the rest by share
    for number, share in enumerate(itertools.accumulate(shares), start=1):
        ends.append(number + round(share * spare))
    chosen = [set(names[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    return tuple([i for i, name in enumerate(patients) if name in subset] for subset in chosen)


class PatchDataset(Dataset):
    """Random patches, a stated share of them around a voxel of the foreground.

    Rare structures fill a small part of a scan; without the share most patches would show none.
    A patch that is 1 voxel deep is given as an image: ``size=(1, h, w)`` trains a 2-D network on
    axial slices.

    Args:
        cases: the scans.
        size: voxels d, h, w of a patch.
        length: patches in an epoch; the cases take turns.
        positive_ratio: share of the patches whose middle is a random voxel of a random class of
            the foreground, exactly (up to rounding) over an epoch; the others lie anywhere.
        transforms: called on the sample.

    Samples are ``{"image": (C, d, h, w) float, "mask": (d, h, w) int64}``. What lies outside a scan
    smaller than the patch has the smallest value of its channel and the mask 255. Random numbers
    come from torch's global generator, which the loaders of `segedu.engine.make_loader` seed for
    each sample.

    Raises:
        ValueError: if an argument is out of range, or patches should be positive but no case has
            foreground.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        size: tuple[int, int, int],
        length: int,
        *,
        positive_ratio: float = 0.5,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        _check_size(size)
        if not cases or length < 1:
            raise ValueError(f"need cases and a positive length, got {len(cases)} and {length}")
        if not 0 <= positive_ratio <= 1:
            raise ValueError(f"positive_ratio must be in 0..1, got {positive_ratio}")
        self.cases, self.size, self.length = cases, size, length
        self.positive_ratio, self.transforms = positive_ratio, transforms
        self.voxels = [_by_class(case.mask) for case in cases]
        if positive_ratio > 0 and not any(self.voxels):
            raise ValueError("positive_ratio is positive, but no case has foreground")

    def __len__(self) -> int:
        return self.length

    def is_positive(self, index: int) -> bool:
        """Whether patch ``index`` is one of those around foreground."""
        return math.floor((index + 1) * self.positive_ratio) > math.floor(
            index * self.positive_ratio
        )

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(index)
        positive = self.is_positive(index)
        usable = [i for i, voxels in enumerate(self.voxels) if voxels or not positive]
        number = usable[index % len(usable)]
        case = self.cases[number]
        if positive:
            of_class = _any(self.voxels[number])
            middle = _unravel(of_class[_draw(len(of_class))].item(), case.mask.shape)
            start = [m - n // 2 for m, n in zip(middle, self.size, strict=True)]
        else:
            spare = [s - n for s, n in zip(case.mask.shape, self.size, strict=True)]
            start = [_draw(s + 1) if s >= 0 else s // 2 for s in spare]
        sample = _cut(case, self._inside(start, case.mask.shape), self.size)
        return self.transforms(sample) if self.transforms else sample

    def _inside(self, start: Sequence[int], shape: Sequence[int]) -> list[int]:
        """Move a patch until it leaves the scan as little as possible."""
        limits = [(min(0, (s - n) // 2), max(s - n, (s - n) // 2))
                  for s, n in zip(shape, self.size, strict=True)]  # fmt: skip
        return [min(max(a, low), high) for a, (low, high) in zip(start, limits, strict=True)]


class GridDataset(Dataset):
    """Every patch of a regular grid over the scans: what validation looks at.

    Args:
        cases: the scans.
        size: voxels d, h, w of a patch.
        overlap: share of a patch that the next one repeats, 0 <= overlap < 1; the last patch along
            an axis is moved inwards and may repeat more.

    Samples are those of `PatchDataset`.
    """

    def __init__(
        self, cases: Sequence[Case], size: tuple[int, int, int], *, overlap: float = 0.0
    ) -> None:
        _check_size(size)
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap must be in [0, 1), got {overlap}")
        self.cases, self.size = cases, size
        self.places = [
            (number, start)
            for number, case in enumerate(cases)
            for start in itertools.product(
                *(
                    window_starts(s, n, overlap) if s > n else [(s - n) // 2]
                    for s, n in zip(case.mask.shape, size, strict=True)
                )
            )
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, start = self.places[index]
        return _cut(self.cases[number], start, self.size)


def stack_neighbours(volume: Tensor, neighbours: int) -> Tensor:
    """2.5-D: every slice as an image whose channels are the slice and those around it.

    Args:
        volume: (D, H, W).
        neighbours: n, slices on either side; beyond the ends the outermost slice is repeated.

    Returns:
        (D, 2n + 1, H, W).

    Raises:
        ValueError: if ``volume`` is not 3-D or ``neighbours`` is negative.

    Example:
        >>> stack_neighbours(torch.arange(4).view(4, 1, 1), 1).flatten(1).tolist()
        [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    """
    if volume.ndim != 3 or neighbours < 0:
        raise ValueError(
            "volume must be (D, H, W) and neighbours at least 0, got "
            f"{tuple(volume.shape)} and {neighbours}"
        )
    depth = len(volume)
    offsets = torch.arange(-neighbours, neighbours + 1)
    return volume[(torch.arange(depth)[:, None] + offsets).clamp(0, depth - 1)]


def slices_as_channels(sample: dict[str, Any]) -> dict[str, Any]:
    """2.5-D: a patch of few slices as one image, to be labelled in its middle slice.

    A transform for `PatchDataset` with ``size=(2n + 1, h, w)``.

    Args:
        sample: ``image`` (C, 2n + 1, h, w) and ``mask`` (2n + 1, h, w).

    Returns:
        The sample with ``image`` (C (2n + 1), h, w) and ``mask`` (h, w).
    """
    image, mask = sample["image"].flatten(0, 1), sample["mask"]
    return {**sample, "image": image, "mask": mask[len(mask) // 2]}


def pad_to(image: Tensor, size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad a scan that is smaller than a patch as training patches are: a network that normalises by
    instance answers differently without.

    Args:
        image: (..., D, H, W).
        size: voxels d, h, w that the result has at least.

    Returns:
        The image, around it the smallest value of each channel, and where the scan lies in it.

    Example:
        >>> padded, box = pad_to(torch.ones(1, 3, 8, 5), (4, 6, 8))
        >>> padded.shape, padded[..., *box].shape
        (torch.Size([1, 4, 8, 8]), torch.Size([1, 3, 8, 5]))
    """
    padding, box = [], []
    for s, n in zip(image.shape[-3:], size, strict=True):
        before = max(-((s - n) // 2), 0)  # as GridDataset places its patch
        padding = [before, max(n - s, 0) - before, *padding]  # F.pad begins with the last axis
        box.append(slice(before, before + s))
    return _pad(image, padding, image.amin((-3, -2, -1))), tuple(box)


def _cut(case: Case, start: Sequence[int], size: Sequence[int]) -> dict[str, Tensor]:
    """The patch that begins at ``start``, padded where it leaves the scan."""
    shape = case.mask.shape
    box, padding = [], []
    for a, n, s in zip(start, size, shape, strict=True):
        box.append(slice(max(a, 0), min(a + n, s)))
        padding = [max(-a, 0), max(a + n - s, 0), *padding]  # F.pad begins with the last axis
    image, mask = case.image[:, *box], case.mask[*box]
    image = _pad(image, padding, case.image.amin((-3, -2, -1)))
    mask = F.pad(mask, padding, value=IGNORE).long()
    if size[0] == 1:
        image, mask = image[:, 0], mask[0]  # (C, h, w), (h, w)
    return {"image": image, "mask": mask}


def _pad(image: Tensor, padding: Sequence[int], values: Tensor) -> Tensor:
    """(..., D, H, W) with a value of its own around each channel, (...)."""
    inside = F.pad(torch.ones_like(image, dtype=torch.bool), padding)
    return torch.where(inside, F.pad(image, padding), values[..., None, None, None])


def _by_class(mask: Tensor) -> list[Tensor]:
    """Flat indices of the voxels of each class of the foreground."""
    flat = mask.flatten()
    classes = [c for c in flat.unique().tolist() if c not in (0, IGNORE)]
    return [(flat == c).nonzero().flatten().int() for c in classes]


def _unravel(index: int, shape: Sequence[int]) -> tuple[int, int, int]:
    _, h, w = shape
    return index // (h * w), index // w % h, index % w


def _draw(count: int) -> int:
    return int(torch.randint(count, ()))


def _any(items: Sequence[Tensor]) -> Tensor:
    return items[_draw(len(items))]


def _check_size(size: Sequence[int]) -> None:
    if len(size) != 3 or min(size) < 1:
        raise ValueError(f"size must be three positive numbers (d, h, w), got {tuple(size)}")
