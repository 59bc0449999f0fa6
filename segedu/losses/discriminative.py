"""Discriminative loss: embeddings that pull together within an instance and apart between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segedu.losses._inputs import check_non_negative, check_tensor, mean_of
from segedu.ops.precision import full_precision


class DiscriminativeLoss(nn.Module):
    r"""α L_var + β L_dist + γ L_reg of pixel embeddings (De Brabandere et al. 2017, Eq. 1 to 3).

    For an image with C instances of mean embedding μ:

    - L_var: mean over instances of the mean over their pixels of :math:`[‖μ - x‖ - δ_v]_+^2`,
    - L_dist: mean over ordered pairs of different instances of :math:`[2 δ_d - ‖μ_a - μ_b‖]_+^2`,
    - L_reg: mean over instances of ‖μ‖.

    Every instance counts alike, however large it is. The result is the mean over the images that
    have an instance.

    Args:
        delta_var: δ_v.
        delta_dist: δ_d.
        alpha, beta, gamma: weights of the three terms.
        background: instance id of the pixels that belong to no instance.
        ignore_index: id of the pixels left out.

    Attributes:
        parts: after a call, ``var``, ``dist`` and ``reg`` (detached, unweighted).

    Shape:
        embeddings (N, E, *S) float, target (N, *S) integer instance ids, any values -> scalar.
    """

    def __init__(
        self,
        delta_var: float = 0.5,
        delta_dist: float = 1.5,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 0.001,
        background: int = 0,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.delta_var = check_non_negative("delta_var", delta_var)
        self.delta_dist = check_non_negative("delta_dist", delta_dist)
        self.alpha = check_non_negative("alpha", alpha)
        self.beta = check_non_negative("beta", beta)
        self.gamma = check_non_negative("gamma", gamma)
        self.background = background
        self.ignore_index = ignore_index
        self.parts: dict[str, Tensor] = {}

    def forward(self, embeddings: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``embeddings (N, E, *S)`` for instance ids ``target (N, *S)``."""
        check_tensor(embeddings, "embeddings")
        if not embeddings.is_floating_point() or target.is_floating_point():
            raise TypeError(
                "embeddings must be floating point and target integer, "
                f"got {embeddings.dtype} and {target.dtype}"
            )
        if embeddings.ndim < 2 or target.shape != embeddings.shape[:1] + embeddings.shape[2:]:
            raise ValueError(
                "embeddings must be (N, E, ...) and target (N, ...), "
                f"got {tuple(embeddings.shape)} and {tuple(target.shape)}"
            )
        x = full_precision(embeddings).flatten(2)  # (N, E, P)
        images = [self._image(e, t) for e, t in zip(x, target.flatten(1), strict=True)]
        terms = torch.stack([terms for terms, _ in images])  # (N, 3)
        count = sum(found for _, found in images)
        var, dist, reg = terms.sum(0) / max(count, 1)
        self.parts = {"var": var.detach(), "dist": dist.detach(), "reg": reg.detach()}
        return self.alpha * var + self.beta * dist + self.gamma * reg

    def _image(self, x: Tensor, ids: Tensor) -> tuple[Tensor, bool]:
        """The three terms of one image, x (E, P), and whether it has an instance."""
        inside = (ids != self.background) & (ids != self.ignore_index)
        _, index = ids[inside].unique(return_inverse=True)  # (Q,)
        if index.numel() == 0:
            return x[:, inside].sum() * x.new_zeros(3), False
        x = x[:, inside]  # (E, Q)
        size = index.bincount().to(x.dtype)  # (C,)
        count = len(size)
        means = x.new_zeros(len(x), count).index_add_(1, index, x) / size  # (E, C)

        away = torch.linalg.vector_norm(x - means[:, index], dim=0)  # (Q,)
        pull = torch.relu(away - self.delta_var) ** 2
        var = (x.new_zeros(count).index_add_(0, index, pull) / size).mean()

        apart = torch.linalg.vector_norm(means[:, :, None] - means[:, None], dim=0)  # (C, C)
        others = 1 - torch.eye(count, dtype=x.dtype, device=x.device)
        push = torch.relu(2 * self.delta_dist - apart) ** 2 * others
        dist = mean_of(push.sum(), others.sum())

        reg = torch.linalg.vector_norm(means, dim=0).mean()
        return torch.stack([var, dist, reg]), True
