"""Which prediction answers for which object: by IoU, by chance within limits, and one to one."""

from __future__ import annotations

import torch
from torch import Tensor

BELOW = -1
BETWEEN = -2


def match_iou(
    iou: Tensor, high: float = 0.5, low: float = 0.5, *, low_quality: bool = False
) -> Tensor:
    """Give each prediction the object that it overlaps best, Ren et al. (2015), section 3.1.2.

    Args:
        iou: (M, N) of M objects with N predictions or anchors, in [0, 1].
        high: at least this makes a match.
        low: less than this is background; in between is nothing.
        low_quality: also match, below ``high``, the predictions that an object overlaps best, all
            that tie. They get the object that *they* overlap best, as in torchvision. An object
            that overlaps nothing ties with every prediction it does not touch.

    Returns:
        int64 (N,): index of the object, ``BELOW`` = -1 for background, ``BETWEEN`` = -2. All
        background if there is no object.

    Raises:
        ValueError: ``iou`` is not (M, N), or not 0 <= low <= high <= 1.
    """
    if iou.ndim != 2:
        raise ValueError(f"iou must be (M, N), got {tuple(iou.shape)}")
    if not 0 <= low <= high <= 1:
        raise ValueError(f"low and high must be 0 <= low <= high <= 1, got {low} and {high}")
    if not iou.numel():
        return torch.full(iou.shape[1:], BELOW, device=iou.device)
    value, best = iou.max(dim=0)  # (N,)
    matches = best.where(value >= high, BETWEEN).where(value >= low, BELOW)
    if low_quality:
        favourite = (iou == iou.amax(1, keepdim=True)).any(0)  # (N,)
        matches = best.where(favourite, matches)
    return matches


def balanced_sample(
    labels: Tensor,
    num_samples: int,
    positive_fraction: float,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw predictions for the loss, at most a given share of them positive.

    Ren et al. (2015), section 3.1.3: 256 anchors of an image, half of them positive. What positives
    are missing is filled with negatives.

    Args:
        labels: (N,), >= 1 positive, 0 negative, below 0 never drawn.
        num_samples: number to draw in all.
        positive_fraction: largest share of positives, in [0, 1].
        generator: where chance comes from; the default generator of PyTorch if None.

    Returns:
        Indices of the positives and of the negatives, int64, without repetition.

    Raises:
        ValueError: ``labels`` is not (N,), a negative number, or a fraction outside [0, 1].
    """
    if labels.ndim != 1:
        raise ValueError(f"labels must be (N,), got {tuple(labels.shape)}")
    if num_samples < 0:
        raise ValueError(f"num_samples must be >= 0, got {num_samples}")
    if not 0 <= positive_fraction <= 1:
        raise ValueError(f"positive_fraction must be in [0, 1], got {positive_fraction}")
    positive, negative = ((labels >= 1).nonzero()[:, 0], (labels == 0).nonzero()[:, 0])
    positive = _draw(positive, int(num_samples * positive_fraction), generator)
    return positive, _draw(negative, num_samples - len(positive), generator)


def hungarian(cost: Tensor) -> tuple[Tensor, Tensor]:
    """The one-to-one assignment of least total cost, Kuhn (1955), through SciPy.

    Args:
        cost: (M, N), finite.

    Returns:
        Rows and columns of the min(M, N) pairs, int64 on the device of ``cost``, rows ascending.

    Raises:
        ValueError: ``cost`` is not (M, N) or not finite.
    """
    if cost.ndim != 2:
        raise ValueError(f"cost must be (M, N), got {tuple(cost.shape)}")
    if not bool(cost.isfinite().all()):
        raise ValueError("cost must be finite, got NaN or infinity")
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost.detach().double().cpu().numpy())
    return torch.from_numpy(rows).to(cost.device), torch.from_numpy(columns).to(cost.device)


def _draw(index: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator else index.device
    order = torch.randperm(len(index), generator=generator, device=device)
    return index[order[:count].to(index.device)]
