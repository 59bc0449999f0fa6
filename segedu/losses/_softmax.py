"""The two quantities of a softmax from which nearly every loss here is a short formula.

Per pixel, :func:`log_prob` gives log p_t, t being the target: cross entropy, focal and OHEM losses.

Per image and class, :func:`class_sums` gives tables over the pixels that are not ignored::

    prob[n, c]   = sum of p_c                           (soft size of the prediction)
    hit[n, c]    = sum of p_c where the target is c     (soft true positives)
    square[n, c] = sum of p_c ** 2
    nll[n, c]    = sum of -log p_c where the target is c
    count[n, c]  = number of pixels whose target is c

from which Dice, Jaccard, Tversky, generalised Dice and, again, cross entropy follow.

Why not write them with a one-hot target and let autograd work? Because that keeps three to six
tensors of the size of the logits. Both functions here keep one: the forward pass writes the softmax
into what will be the gradient, and the backward pass finishes it in place. (A second backward pass
through the same graph, which is rare, computes the softmax again.) With the incoming gradients A
(of ``prob``), E (of ``hit``), Q (of ``square``) and W (of ``nll``) a loss depends on p_c of one
pixel with target t through g_c = A_c + 2 Q_c p_c + [c = t] E_t, and the chain rule through the
softmax gives

    dz_c = p_c (g_c - sum_k g_k p_k) + W_t (p_c - [c = t]).

On the CPU the work goes image by image, so that temporaries stay small; on a GPU the whole batch
goes at once, which costs fewer launches. A second derivative is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from segedu.losses._inputs import check_multiclass


class ClassSums(NamedTuple):
    """The (N, C) tables described at the top of this module, ``None`` unless asked for."""

    count: Tensor
    pixels: Tensor  # (N, 1): number of pixels that are not ignored
    prob: Tensor | None = None
    hit: Tensor | None = None
    square: Tensor | None = None
    nll: Tensor | None = None


class ClassSumLoss(nn.Module):
    """A loss that is a formula of :class:`ClassSums`; several can share one computation of them.

    A subclass names the ``tables`` that it reads and defines ``from_sums``. Where its settings need
    more than the sums, it sets ``sums_suffice`` to False and overrides ``forward``.
    """

    tables: tuple[str, ...] = ("prob", "hit")
    ignore_index: int
    sums_suffice: bool = True

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        return self.from_sums(class_sums(logits, target, self.ignore_index, self.tables))

    def from_sums(self, sums: ClassSums) -> Tensor:
        """Return the loss from sums that are already known."""
        raise NotImplementedError


def log_prob(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Log-probability of the target class at each pixel, 0 where the target is ignored.

    Args:
        logits: (N, C, *S) with any number of spatial dimensions.
        target: (N, *S) integers in [0, C), or ``ignore_index`` for pixels left out.
        ignore_index: label of the pixels that count for nothing.

    Returns:
        log p of shape (N, *S), values <= 0, float32 (float64 for float64 logits).

    Raises:
        TypeError, ValueError: for arguments that do not fit, see ``check_multiclass``.
    """
    logits, target = check_multiclass(logits, target, ignore_index)
    flat, label, valid = _flatten(logits, target, ignore_index)
    return _LogProb.apply(flat, label, valid).view(target.shape)


def class_sums(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    tables: Iterable[str] = ("prob", "hit"),
) -> ClassSums:
    """Sum the softmax probabilities of each image over its pixels, differentiably.

    Args:
        logits: (N, C, *S) with any number of spatial dimensions.
        target: (N, *S) integers in [0, C), or ``ignore_index`` for pixels left out.
        ignore_index: label of the pixels that count for nothing.
        tables: which of ``prob``, ``hit``, ``square``, ``nll`` to compute besides ``count``.

    Returns:
        The sums, each (N, C), float32 (float64 for float64 logits).

    Raises:
        TypeError, ValueError: for arguments that do not fit, see ``check_multiclass``.
    """
    logits, target = check_multiclass(logits, target, ignore_index)
    flat, label, valid = _flatten(logits, target, ignore_index)
    count = _sum_by_label(valid.to(flat.dtype), label, flat.shape[1])
    wanted = set(tables)
    with torch.autocast(flat.device.type, enabled=False):
        sums = _ClassSums.apply(flat, label, valid, wanted)
    names = ("prob", "hit", "square", "nll")
    return ClassSums(
        count,
        valid.sum(1, keepdim=True),
        **{name: s for name, s in zip(names, sums, strict=True) if name in wanted},
    )


def _flatten(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (N, C, P), labels (N, P) with 0 where ignored, and the mask (N, P) of the others."""
    target = target.flatten(1) if target.ndim > 1 else target[:, None]
    valid = target != ignore_index
    label = target if _surely_all(valid) else torch.where(valid, target, 0)
    return logits.reshape(*logits.shape[:2], -1), label, valid


def _surely_all(valid: Tensor) -> bool:
    """Whether no pixel is ignored, where asking costs nothing; False on a GPU."""
    return not valid.is_cuda and bool(valid.all())


def _blocks(z: Tensor) -> list[slice]:
    """Parts of the batch that are worked on together: all on a GPU, one image on the CPU."""
    n = z.shape[0]
    return [slice(0, n)] if z.is_cuda else [slice(i, i + 1) for i in range(n)]


def _sum_by_label(values: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Sum ``values (B, P)`` over the pixels of each label ``(B, P)``: (B, num_classes)."""
    # A running float32 sum over a million pixels would lose four digits.
    table = torch.zeros(len(values), num_classes, dtype=torch.float64, device=values.device)
    return table.scatter_add_(1, label, values.double()).to(values.dtype)


def _softmax_into(p: Tensor, z: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    """Write softmax(z) (B, C, P), 0 where ignored, into ``p``; return log p_t (B, P) beside it."""
    log_t = torch.log_softmax(z, 1, out=p).gather(1, label[:, None])[:, 0]
    p.exp_()
    if not _surely_all(valid):
        p.mul_(valid[:, None])
        log_t.mul_(valid)
    return log_t


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, z: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        log_t = z.new_empty(label.shape)
        ctx.log_p = torch.empty_like(z)
        for b in _blocks(z):
            log_p = torch.log_softmax(z[b], 1, out=ctx.log_p[b])
            log_t[b] = log_p.gather(1, label[b, None])[:, 0]
        ctx.save_for_backward(z, label, valid)
        return log_t.mul_(valid)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d: Tensor) -> tuple[Tensor, None, None]:
        z, label, valid = ctx.saved_tensors
        grad, ctx.log_p = ctx.log_p, None
        if grad is None:
            grad = torch.log_softmax(z, 1)
        d = (d * valid)[:, None]  # (N, 1, P)
        for b in _blocks(z):
            grad[b].exp_().mul_(-d[b]).scatter_add_(1, label[b, None], d[b])
        return grad, None, None


class _ClassSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, z: Tensor, label: Tensor, valid: Tensor, wanted: set[str]
    ) -> tuple[Tensor, ...]:
        n, c = z.shape[:2]
        prob, hit, square, nll = (z.new_zeros(n, c) for _ in range(4))
        ctx.p = torch.empty_like(z)
        for b in _blocks(z):
            p = ctx.p[b]  # (B, C, P)
            log_t = _softmax_into(p, z[b], label[b], valid[b])  # (B, P)
            if "nll" in wanted:
                nll[b] = _sum_by_label(-log_t, label[b], c)
            if wanted - {"nll"}:
                mask = valid[b].to(z.dtype)
                prob[b] = torch.bmm(p, mask[:, :, None])[:, :, 0]
                hit[b] = _sum_by_label(log_t.exp_().mul_(mask), label[b], c)
            if "square" in wanted:
                square[b] = torch.linalg.vecdot(p, p)
        ctx.save_for_backward(z, label, valid)
        ctx.wanted = wanted
        return prob, hit, square, nll

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_prob: Tensor, d_hit: Tensor, d_square: Tensor, d_nll: Tensor
    ) -> tuple[Tensor | None, ...]:
        z, label, valid = ctx.saved_tensors
        grad, ctx.p = ctx.p, None
        if grad is None:
            grad = torch.empty_like(z)
            _softmax_into(grad, z, label, valid)
        buffer = torch.empty_like(z if z.is_cuda else z[:1])  # used again for each block
        for b in _blocks(z):
            p = grad[b]  # (B, C, P)
            p_t = p.gather(1, label[b, None])[:, 0]  # (B, P)
            e_t = d_hit[b].gather(1, label[b])
            w_t = d_nll[b].gather(1, label[b]) * valid[b]
            inner = torch.bmm(d_prob[b, None], p)[:, 0] + e_t * p_t  # sum_k g_k p_k: (B, P)
            if "square" in ctx.wanted:
                twice = 2 * d_square[b]
                inner += torch.bmm(twice[:, None], torch.mul(p, p, out=buffer))[:, 0]
            g = torch.sub(d_prob[b, :, None], (inner - w_t)[:, None], out=buffer)  # (B, C, P)
            if "square" in ctx.wanted:
                g.addcmul_(twice[:, :, None], p)
            p.mul_(g).scatter_add_(1, label[b, None], (e_t * p_t - w_t)[:, None])
        return grad, None, None, None
