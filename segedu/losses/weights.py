"""Class weights against imbalance, from the number of pixels of each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def class_weights(
    pixel_counts: Tensor | Sequence[int],
    strategy: str = "median_frequency",
    *,
    image_pixels: Tensor | Sequence[int] | None = None,
    beta: float = 0.9999,
    constant: float = 1.02,
) -> Tensor:
    r"""Weight of each class for a loss, from pixel counts :math:`n_c` of the training set.

    With the frequency :math:`f_c = n_c / \sum n`:

    ==================== ===================================================================
    strategy             weight of class c
    ==================== ===================================================================
    ``inverse``          :math:`1 / f_c`
    ``sqrt``             :math:`1 / \sqrt{f_c}`
    ``log``              :math:`\log(1 / f_c)`, at least 0
    ``median_frequency`` median(f) / :math:`f_c` (Eigen & Fergus 2015, §4.3.1; SegNet), where
                         :math:`f_c` is :math:`n_c` over the pixels of the images that hold c,
                         if ``image_pixels`` is given
    ``effective_number`` :math:`(1 - β) / (1 - β^{n_c})` (Cui et al. 2019, Eq. 4)
    ``enet``             :math:`1 / \log(k + f_c)` (Paszke et al. 2016, §5.2), k = 1.02
    ==================== ===================================================================

    All but ``median_frequency`` and ``enet``, whose scale has a meaning of its own, are scaled to a
    mean of 1 over the classes that occur. A class that never occurs has weight 0.

    Args:
        pixel_counts: (C,) number of labelled pixels of each class, ignored pixels left out.
        strategy: one of the six above.
        image_pixels: (C,) number of labelled pixels in the images that hold class c, only for
            ``median_frequency``.
        beta: β of ``effective_number`` in [0, 1).
        constant: k > 1 of ``enet``.

    Returns:
        (C,) float32 weights >= 0.

    Raises:
        ValueError: an unknown strategy, a negative count, no pixels at all, or a size that differs.
    """
    counts = torch.as_tensor(pixel_counts, dtype=torch.float64)
    if counts.ndim != 1 or not ((counts >= 0) & counts.isfinite()).all() or counts.sum() == 0:
        raise ValueError(
            "pixel_counts must be a vector of finite counts >= 0, not all of them 0, "
            f"got {counts.tolist()}"
        )
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {sorted(STRATEGIES)}, got {strategy!r}")
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), got {beta}")
    if not constant > 1:
        raise ValueError(f"constant must be > 1, got {constant}")
    whole = counts.sum().expand_as(counts)
    if image_pixels is not None:
        if strategy != "median_frequency":
            raise ValueError(f"image_pixels is only used by median_frequency, not by {strategy!r}")
        whole = torch.as_tensor(image_pixels, dtype=torch.float64)
        if whole.shape != counts.shape or not ((whole >= counts) & whole.isfinite()).all():
            raise ValueError(
                "image_pixels must have one number for each class, none below its pixel count, "
                f"got {whole.tolist()} for {counts.tolist()}"
            )
    present = counts > 0
    n, f = counts[present], (counts / whole)[present]
    weights = torch.zeros_like(counts)
    weights[present] = STRATEGIES[strategy](n, f, beta, constant)
    return weights.float()


def _to_mean_one(weights: Tensor) -> Tensor:
    return weights / weights.mean() if weights.sum() > 0 else torch.ones_like(weights)


def _median(f: Tensor) -> Tensor:
    return f.quantile(0.5)  # the mean of the middle two for an even number of classes


STRATEGIES: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "inverse": lambda n, f, beta, k: _to_mean_one(1 / f),
    "sqrt": lambda n, f, beta, k: _to_mean_one(f.rsqrt()),
    "log": lambda n, f, beta, k: _to_mean_one((1 / f).log().clamp(min=0)),
    "median_frequency": lambda n, f, beta, k: _median(f) / f,
    # expm1 and log1p: beta ** n would round to 1 or underflow
    "effective_number": lambda n, f, beta, k: _to_mean_one(
        (1 - beta) / -torch.expm1(n * torch.tensor(beta, dtype=n.dtype).log())
    ),
    "enet": lambda n, f, beta, k: 1 / (k + f).log(),
}
