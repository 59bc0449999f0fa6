"""Class sums: the few numbers of a batch from which cross entropy and every region loss follow.

For image n and class c, with p = softmax(logits) and sums over the pixels that are not ignored::

    prob[n, c]   = sum of p_c                           (soft size of the prediction)
    hit[n, c]    = sum of p_c where the target is c     (soft true positives)
    square[n, c] = sum of p_c ** 2
    nll[n, c]    = sum of -log p_c where the target is c
    count[n, c]  = number of pixels whose target is c

Dice, Jaccard, Tversky, generalised Dice and cross entropy are short formulas of these (N, C)
tables, and so is the gradient: with the incoming gradients A (of ``prob``), E (of ``hit``), Q (of
``square``) and W (of ``nll``), the loss depends on p_c of one pixel with target t through
g_c = A_c + 2 Q_c p_c + [c = t] E_t, and the softmax turns that into

    dz_c = p_c (g_c - sum_k g_k p_k) + W_t (p_c - [c = t]).

So neither a one-hot target nor a stored softmax is needed: the backward pass computes the softmax
again, straight into the gradient, and finishes there in place. On the CPU it goes image by image
(the temporaries stay small), on a GPU the whole batch at once (fewer launches).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from segedu.losses._inputs import check_multiclass


class ClassSums(NamedTuple):
    """The (N, C) tables described at the top of this module; ``nll`` and ``square`` on request."""

    prob: Tensor
    hit: Tensor
    count: Tensor
    square: Tensor | None = None
    nll: Tensor | None = None


def class_sums(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    square: bool = False,
    nll: bool = False,
) -> ClassSums:
    """Sum the softmax probabilities of each image over its pixels, differentiably.

    Args:
        logits: (N, C, *S) with any number of spatial dimensions.
        target: (N, *S) integers in [0, C), or ``ignore_index`` for pixels left out.
        ignore_index: label of the pixels that count for nothing.
        square: also sum p².
        nll: also sum −log p of the true class.

    Returns:
        The sums, each (N, C), float32 (float64 for float64 logits). A second derivative is refused.

    Raises:
        TypeError, ValueError: for arguments that do not fit, see ``check_multiclass``.
    """
    logits, target = check_multiclass(logits, target, ignore_index)
    n, c = logits.shape[:2]
    z = logits.reshape(n, c, -1)  # (N, C, P)
    t = target.reshape(n, -1)  # (N, P)
    prob, hit, count, squares, nlls = _ClassSums.apply(z, t, ignore_index, square, nll)
    return ClassSums(prob, hit, count, squares if square else None, nlls if nll else None)


def _blocks(logits: Tensor) -> list[slice]:
    """Parts of the batch that are worked on together: all on a GPU, one image on the CPU."""
    n = logits.shape[0]
    return [slice(0, n)] if logits.is_cuda else [slice(i, i + 1) for i in range(n)]


def _sum_by_label(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Sum ``values (B, P)`` over the pixels of each label ``(B, P)``: (B, num_classes)."""
    table = values.new_zeros(len(values), num_classes, dtype=torch.float64)
    return table.scatter_add_(1, labels, values.double()).to(values.dtype)


class _ClassSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, z: Tensor, t: Tensor, ignore_index: int, square: bool, nll: bool
    ) -> tuple[Tensor, ...]:
        n, c = z.shape[:2]
        prob, hit, count, squares, nlls = (z.new_zeros(n, c) for _ in range(5))
        for block in _blocks(z):
            valid = t[block] != ignore_index  # (B, P)
            label = torch.where(valid, t[block], 0)
            weight = valid.to(z.dtype)
            p = torch.log_softmax(z[block], 1) if nll else torch.softmax(z[block], 1)  # (B, C, P)
            at_target = p.gather(1, label[:, None]).squeeze(1)  # (B, P)
            if nll:
                nlls[block] = _sum_by_label(-at_target * weight, label, c)
                p.exp_()
                at_target = at_target.exp()
            p *= weight[:, None]
            prob[block] = p.sum(-1)
            hit[block] = _sum_by_label(at_target * weight, label, c)
            count[block] = _sum_by_label(weight, label, c)
            if square:
                squares[block] = p.square_().sum(-1)
        ctx.save_for_backward(z, t)
        ctx.ignore_index, ctx.square, ctx.nll = ignore_index, square, nll
        ctx.mark_non_differentiable(count)
        return prob, hit, count, squares, nlls

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_prob: Tensor, d_hit: Tensor, _: Tensor, d_square: Tensor, d_nll: Tensor
    ) -> tuple[Tensor | None, ...]:
        z, t = ctx.saved_tensors
        grad = torch.empty_like(z)
        for block in _blocks(z):
            valid = t[block] != ctx.ignore_index  # (B, P)
            label = torch.where(valid, t[block], 0)
            p = torch.softmax(z[block], 1)  # (B, C, P)
            g = d_prob[block, :, None].expand_as(p).clone()
            if ctx.square:
                g += 2 * d_square[block, :, None] * p
            g.scatter_add_(1, label[:, None], d_hit[block].gather(1, label)[:, None])
            through_softmax = (g * p).sum(1)  # (B, P)
            if ctx.nll:
                pull = d_nll[block].gather(1, label)
                through_softmax -= pull
            p *= g.sub_(through_softmax[:, None])
            if ctx.nll:
                p.scatter_add_(1, label[:, None], -pull[:, None])
            grad[block] = p.mul_(valid[:, None])
        return grad, None, None, None, None
