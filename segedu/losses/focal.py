"""Focal losses: cross entropy in which easy pixels count less (Lin et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segedu.losses._inputs import (
    as_weight,
    check_binary,
    check_class_weight,
    check_non_negative,
    check_reduction,
    mean_of,
    weigh,
)
from segedu.losses.cross_entropy import pixel_weight
from segedu.losses.fused import focal, log_prob, sigmoid_focal


class _Focal(nn.Module):
    """What focal losses of several classes share: the settings, and how terms become one number."""

    normalizers: tuple[str, ...]

    def __init__(self, gamma: float, normalizer: str, ignore_index: int, reduction: str) -> None:
        super().__init__()
        self.gamma = check_non_negative("gamma", gamma)
        if normalizer not in self.normalizers:
            raise ValueError(f"normalizer must be one of {self.normalizers}, got {normalizer!r}")
        self.normalizer = normalizer
        self.ignore_index = ignore_index
        self.reduction = check_reduction(reduction)

    def reduce(self, loss: Tensor, target: Tensor, count: Callable[[Tensor], Tensor]) -> Tensor:
        """Reduce a map as the settings say.

        Args:
            loss: (N, *S), 0 where ignored.
            target: (N, *S).
            count: labelled pixels, bool (N, *S) -> what a mean divides by, unless the positives.
        """
        if self.reduction == "none":
            return loss
        if self.reduction == "sum":
            return loss.sum()
        valid = target != self.ignore_index
        if self.normalizer == "positives":
            return loss.sum() / (valid & (target != 0)).sum().clamp(min=1)
        return mean_of(loss.sum(), count(valid))


class FocalLoss(_Focal):
    r"""Focal loss of the softmax: :math:`-α_t (1 - p_t)^γ \log p_t` (Lin et al. 2017, Eq. 5).

    The paper's own loss is the sigmoid one, `SigmoidFocalLoss`; the two differ for more than
    two classes.

    Args:
        gamma: γ >= 0; 0 is cross entropy.
        alpha: one factor >= 0 for each class, or ``None`` for 1.
        normalizer: what ``"mean"`` divides the sum by: the number of labelled ``"pixels"``, the sum
            of their ``"weights"`` α_t, or the number of ``"positives"``, pixels of a class other
            than 0, at least 1 (RetinaNet's choice; Lin et al. 2017, §4).
        ignore_index: label of the pixels left out.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (the map of shape (N, *S), 0 where ignored).

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar, or (N, *S). Some packages divide
        by C as well, because they average over a one-hot class axis.
    """

    normalizers = ("pixels", "weights", "positives")

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: Tensor | list[float] | None = None,
        normalizer: str = "pixels",
        ignore_index: int = 255,
        reduction: str = "mean",
    ) -> None:
        super().__init__(gamma, normalizer, ignore_index, reduction)
        self.register_buffer("alpha", as_weight(alpha))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        log_p = log_prob(logits, target, self.ignore_index)
        check_class_weight(self.alpha, logits.shape[1])
        target = target.long()
        alpha = pixel_weight(target, self.alpha, self.ignore_index)
        loss = focal(log_p, self.gamma)  # 0 where ignored
        if self.alpha is not None:
            loss = weigh(loss, alpha)
        by_pixels = self.normalizer == "pixels"
        return self.reduce(loss, target, lambda valid: (valid if by_pixels else alpha).sum())


class AdaptiveFocalLoss(FocalLoss):
    r"""Softmax focal loss whose γ follows the progress of the training.

    γ cannot be a parameter that the optimiser learns: ∂L/∂γ = Σ L · log(1 − p_t) < 0 always, so
    descent only ever raises it, the loss tends to 0 and the model stops learning. Here γ is a
    statistic instead, :math:`γ = -\log \hat p` with the running mean :math:`\hat p` of the
    probability of the true class (automated focal loss, Weber et al. 2019): early, when little is
    right, the loss looks at the hard pixels; later it tends to cross entropy. γ has no gradient.

    Args:
        max_gamma: upper bound of γ.
        momentum: share of the old value in each update of the running mean, in [0, 1).

    The other arguments are those of `FocalLoss`. The mean is updated in ``train()`` only, is
    a buffer (saved with the loss) and starts with the first batch.
    """

    def __init__(
        self,
        max_gamma: float = 5.0,
        momentum: float = 0.95,
        alpha: Tensor | list[float] | None = None,
        normalizer: str = "pixels",
        ignore_index: int = 255,
        reduction: str = "mean",
    ) -> None:
        super().__init__(0.0, alpha, normalizer, ignore_index, reduction)
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        self.max_gamma = check_non_negative("max_gamma", max_gamma)
        self.momentum = momentum
        self.register_buffer("mean_probability", torch.tensor(float("nan")))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        if self.training:
            self._observe(logits, target)
        gamma = -self.mean_probability.log()
        self.gamma = gamma.nan_to_num(0.0).clamp(0.0, self.max_gamma)
        return super().forward(logits, target)

    @torch.no_grad()
    def _observe(self, logits: Tensor, target: Tensor) -> None:
        valid = target != self.ignore_index
        p = log_prob(logits, target, self.ignore_index).exp() * valid
        old, new = self.mean_probability, p.sum() / valid.sum()  # NaN if all are ignored
        mixed = torch.where(old.isnan(), new, self.momentum * old + (1 - self.momentum) * new)
        self.mean_probability.copy_(torch.where(new.isnan(), old, mixed))


class BinaryFocalLoss(nn.Module):
    r"""Focal loss of one logit per pixel (Lin et al. 2017, Eq. 5).

    Foreground pixels have the weight α and background pixels 1 − α; ``alpha=None`` gives 1 to both.

    Args:
        gamma: γ >= 0.
        alpha: weight of the foreground in [0, 1], or ``None``.
        normalizer: ``"pixels"``, ``"weights"`` or ``"positives"`` as in `FocalLoss`.
        ignore_index: label of the pixels left out.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Shape:
        logits (N, 1, *S) or (N, *S) float, target (N, *S) of 0 and 1 -> scalar, or (N, *S).
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = 0.25,
        normalizer: str = "pixels",
        ignore_index: int = 255,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        alpha = _check_alpha(alpha)
        pair = None if alpha is None else [1 - alpha, alpha]
        self.softmax_loss = FocalLoss(gamma, pair, normalizer, ignore_index, reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, 1, *S)`` for ``target (N, *S)``."""
        logits, target = check_binary(logits, target, self.softmax_loss.ignore_index)
        # softmax(0, z) = (1 - sigmoid(z), sigmoid(z)): one logit is a two-class problem
        return self.softmax_loss(torch.stack([torch.zeros_like(logits), logits], 1), target)


class SigmoidFocalLoss(_Focal):
    r"""Focal loss of C independent sigmoids, one against the rest (Lin et al. 2017).

    Every pixel has a positive term for its class, :math:`-α (1 - q_t)^γ \log q_t`, and a negative
    one for each other class, :math:`-(1 - α) q_c^γ \log(1 - q_c)`, with q = sigmoid(logits).

    Args:
        gamma: γ >= 0.
        alpha: weight of the positive terms in [0, 1], or ``None`` for no weights at all.
        normalizer: what ``"mean"`` divides the sum by: ``"elements"`` (labelled pixels × C),
            ``"pixels"`` (labelled pixels) or ``"positives"`` (pixels of a class other than 0, at
            least 1).
        ignore_index: label of the pixels left out.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (the map of shape (N, *S), summed over
            classes, 0 where ignored).

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar, or (N, *S).
    """

    normalizers = ("elements", "pixels", "positives")

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = 0.25,
        normalizer: str = "elements",
        ignore_index: int = 255,
        reduction: str = "mean",
    ) -> None:
        super().__init__(gamma, normalizer, ignore_index, reduction)
        self.alpha = _check_alpha(alpha)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        weights = (1.0, 1.0) if self.alpha is None else (1 - self.alpha, self.alpha)
        loss = sigmoid_focal(logits, target, self.ignore_index, self.gamma, weights)
        per_pixel = logits.shape[1] if self.normalizer == "elements" else 1
        return self.reduce(loss, target, lambda valid: valid.sum() * per_pixel)


def _check_alpha(alpha: float | None) -> float | None:
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1] or None, got {alpha}")
    return alpha
