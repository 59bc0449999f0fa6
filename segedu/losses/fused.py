"""The hand-written backward passes, each beside the plain form that autograd would work on.

Two quantities of a softmax are what nearly every loss here is a short formula of. Per pixel,
`log_prob` gives log p_t, t being the target: cross entropy, focal and OHEM losses.

Per image and class, `class_sums` gives tables over the pixels that are not ignored::

    prob[n, c]   = sum of p_c                           (soft size of the prediction)
    hit[n, c]    = sum of p_c where the target is c     (soft true positives)
    square[n, c] = sum of p_c ** 2
    nll[n, c]    = sum of -log p_c where the target is c
    count[n, c]  = number of pixels whose target is c

from which Dice, Jaccard, Tversky, generalised Dice and, again, cross entropy follow. Beside them
stand the focal losses and the Lovász extension.

Why not write them with a one-hot target and let autograd work, as the functions ``plain_...`` do?
Because that keeps three to six tensors of the size of the logits. The others keep one
(Lovász two): the forward pass of the two writes the softmax into what will be the gradient, and the
backward pass finishes it in place. (A second backward pass through the same graph, which is rare,
computes the softmax again.) With the incoming gradients A (of ``prob``), E (of ``hit``), Q (of
``square``) and W (of ``nll``) a loss depends on p_c of one pixel with target t through
g_c = A_c + 2 Q_c p_c + [c = t] E_t, and the chain rule through the softmax gives

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
from torch.nn import functional as F

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
    """A loss that is a formula of `ClassSums`; several can share one computation of them.

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
        TypeError, ValueError: for arguments that do not fit, see `check_multiclass`.
    """
    logits, target = check_multiclass(logits, target, ignore_index)
    flat, label, valid = _flatten(logits, target, ignore_index)
    return _LogProb.apply(flat, label, valid).view(target.shape)


def plain_log_prob(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """`log_prob` as autograd would have it."""
    valid = target != ignore_index
    log_p = logits.masked_fill(~valid[:, None], 0).log_softmax(1)  # (N, C, *S)
    log_t = log_p.gather(1, torch.where(valid, target, 0)[:, None])[:, 0]
    return torch.where(valid, log_t, 0)


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, z: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        log_t = z.new_empty(label.shape)
        ctx.log_p = torch.empty_like(z)
        for b in _blocks(z):
            log_p = torch.log_softmax(z[b], 1, out=ctx.log_p[b])
            log_t[b] = log_p.gather(1, label[b, None])[:, 0]
        ctx.save_for_backward(z, label, valid)
        return log_t.masked_fill_(~valid, 0)

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
            _forget_ignored(grad[b], valid[b])
        return grad, None, None


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
        TypeError, ValueError: for arguments that do not fit, see `check_multiclass`.
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


def plain_class_sums(logits: Tensor, target: Tensor, ignore_index: int = 255) -> ClassSums:
    """`class_sums` of all tables as autograd would have it."""
    valid = target != ignore_index
    t = one_hot(target, logits.shape[1], ignore_index)  # (N, C, *S)
    logits = logits.masked_fill(~valid[:, None], 0)
    p = logits.softmax(1) * valid[:, None]
    nll = torch.where(t > 0, -logits.log_softmax(1), 0)
    prob, hit, square, nll, count = (x.flatten(2).sum(2) for x in (p, p * t, p * p, nll, t))
    return ClassSums(count, valid.flatten(1).sum(1, keepdim=True), prob, hit, square, nll)


def one_hot(target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Labels (N, *S) as 0 and 1 (N, C, *S), all 0 where ignored."""
    valid = target != ignore_index
    hot = F.one_hot(torch.where(valid, target, 0), num_classes).movedim(-1, 1)
    return hot * valid[:, None]


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


def focal(log_p: Tensor, gamma: float | Tensor) -> Tensor:
    """`plain_focal` of a map of log p (N, *S)."""
    return _Focal.apply(log_p, gamma)


def plain_focal(log_p: Tensor, gamma: float | Tensor) -> Tensor:
    """``(1 - p) ** gamma * -log p`` from log p, exact near p = 1."""
    # The bound keeps the derivative of the power finite at p = 1 for a gamma below 1.
    wrong = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return wrong**gamma * -log_p


class _Focal(torch.autograd.Function):
    """`plain_focal` of a map (N, *S), of which only the slope is kept and not every step."""

    @staticmethod
    def forward(ctx: FunctionCtx, log_p: Tensor, gamma: float | Tensor) -> Tensor:
        wrong = torch.expm1(log_p).neg_().clamp_(min=torch.finfo(log_p.dtype).tiny)  # 1 - p
        power = wrong**gamma
        # d/dlog p of (1 - p) ** γ (-log p) = (1 - p) ** γ (γ p log p / (1 - p) - 1)
        slope = (1 - wrong).mul_(log_p).div_(wrong).mul_(gamma).sub_(1).mul_(power)
        ctx.save_for_backward(slope)
        return power.mul_(log_p).neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d: Tensor) -> tuple[Tensor, None]:
        return d * ctx.saved_tensors[0], None


def sigmoid_focal(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    gamma: float = 2.0,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Focal terms of C independent sigmoids, summed over the classes.

    Args:
        logits: (N, C, *S).
        target: (N, *S) integers in [0, C), or ``ignore_index`` for pixels left out.
        ignore_index: label of the pixels that count for nothing.
        gamma: γ >= 0.
        weights: of the negative terms and of the positive one.

    Returns:
        (N, *S), 0 where ignored.

    Raises:
        TypeError, ValueError: for arguments that do not fit, see `check_multiclass`.
    """
    logits, target = check_multiclass(logits, target, ignore_index)
    flat, label, valid = _flatten(logits, target, ignore_index)
    return _SigmoidFocal.apply(flat, label, valid, gamma, weights).view(target.shape)


def plain_sigmoid_focal(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    gamma: float = 2.0,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """`sigmoid_focal` as autograd would have it."""
    valid = target != ignore_index
    t = one_hot(target, logits.shape[1], ignore_index)  # (N, C, *S)
    logits = logits.masked_fill(~valid[:, None], 0)
    negative = weights[0] * plain_focal(F.logsigmoid(-logits), gamma)
    positive = weights[1] * plain_focal(F.logsigmoid(logits), gamma)
    return torch.where(t > 0, positive, negative).sum(1) * valid


class _SigmoidFocal(torch.autograd.Function):
    """Per-pixel sum over the classes, (N, P); keeps nothing but the gradient."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        z: Tensor,
        label: Tensor,
        valid: Tensor,
        gamma: float,
        weights: tuple[float, float],
    ) -> Tensor:
        z_t = z.gather(1, label[:, None])[:, 0]  # (N, P)
        negative = z_t.new_empty(z_t.shape)
        for b in _blocks(z):
            terms = plain_focal(F.logsigmoid(-z[b]), gamma)
            negative[b] = terms.scatter_(1, label[b, None], 0).sum(1)  # the target is no negative
        positive = plain_focal(F.logsigmoid(z_t), gamma)
        ctx.save_for_backward(z, label, valid)
        ctx.gamma, ctx.weights = gamma, weights
        # Of an infinite term a product with 0 would leave NaN.
        terms = [w * t for w, t in zip(weights, (negative, positive), strict=True) if w]
        return sum(terms, torch.zeros_like(positive)).masked_fill_(~valid, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d: Tensor) -> tuple[Tensor | None, ...]:
        z, label, valid = ctx.saved_tensors
        d = d * valid
        grad = torch.empty_like(z)
        for b in _blocks(z):
            torch.mul(_focal_slope(z[b], ctx.gamma), ctx.weights[0] * d[b, None], out=grad[b])
        z_t = z.gather(1, label[:, None])
        at_target = -ctx.weights[1] * d[:, None] * _focal_slope(-z_t, ctx.gamma)
        grad.scatter_(1, label[:, None], at_target)
        _forget_ignored(grad, valid)
        return grad, None, None, None, None


def _focal_slope(z: Tensor, gamma: float) -> Tensor:
    """Derivative of q**gamma * softplus(z) with q = sigmoid(z): the term of a negative class."""
    q = torch.sigmoid(z)
    slope = F.softplus(z).mul_(1 - q).mul_(gamma).add_(q)
    return slope.mul_(q.pow_(gamma))


def lovasz(
    logits: Tensor, target: Tensor, ignore_index: int = 255, per_image: bool = False
) -> tuple[Tensor, Tensor]:
    """Lovász extension of the Jaccard loss of each class at the errors |[t = c] − p_c|.

    Args:
        logits: (N, C, *S).
        target: (N, *S) integers in [0, C), or ``ignore_index`` for pixels left out.
        ignore_index: label of the pixels that count for nothing.
        per_image: each image by itself, or the batch as one image.

    Returns:
        Losses and number of target pixels, both (N, C), or (1, C) of the whole batch.

    Raises:
        TypeError, ValueError: for arguments that do not fit, see `check_multiclass`.
    """
    logits, target = check_multiclass(logits, target, ignore_index)
    flat, label, valid = _flatten(logits, target, ignore_index)
    return _LovaszSoftmax.apply(flat, label, valid, per_image)


def plain_lovasz(
    logits: Tensor, target: Tensor, ignore_index: int = 255, per_image: bool = False
) -> tuple[Tensor, Tensor]:
    """`lovasz` as autograd would have it: Berman et al. 2018, Algorithm 1."""
    t = one_hot(target, logits.shape[1], ignore_index)  # (N, C, *S)
    size = 1 if per_image else len(t)
    logits = logits.masked_fill((target == ignore_index)[:, None], 0)
    groups = zip(
        *(x.split(size) for x in (logits.softmax(1), t, target != ignore_index)), strict=True
    )
    rows = [(_extensions(*group), group[1].flatten(2).sum((0, 2))) for group in groups]
    losses, pixels = zip(*rows, strict=True)
    return torch.stack(losses), torch.stack(pixels)


def _extensions(p: Tensor, t: Tensor, valid: Tensor) -> Tensor:
    """Lovász extension of each class (C,) for p and t (N, C, *S) as one image."""
    losses = []
    for p_c, t_c in zip(p.unbind(1), t.unbind(1), strict=True):
        errors, order = (t_c - p_c)[valid].abs().sort(descending=True)
        found = t_c[valid][order].to(p.dtype)
        jaccard = 1 - (found.sum() - found.cumsum(0)) / (found.sum() + (1 - found).cumsum(0))
        losses.append((errors * jaccard.diff(prepend=jaccard.new_zeros(1))).sum())
    return torch.stack(losses)


class _LovaszSoftmax(torch.autograd.Function):
    """Losses and target pixels (N or 1, C) of each class; keeps the slopes and no softmax."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, z: Tensor, label: Tensor, valid: Tensor, per_image: bool
    ) -> tuple[Tensor, Tensor]:
        n, c = z.shape[:2]
        slopes = torch.empty_like(z)  # of the loss with respect to p; first p itself
        for b in _blocks(z):
            _softmax_into(slopes[b], z[b], label[b], valid[b])
        groups = [slice(i, i + 1) for i in range(n)] if per_image else [slice(0, n)]
        losses = z.new_zeros(len(groups), c)
        target = torch.where(valid, label, -1).int()
        for row, group in enumerate(groups):
            ok = valid[group].flatten()
            for k in range(c):
                foreground = (target[group] == k).flatten()
                sign = torch.where(foreground, -1, 1).to(z.dtype)  # of the change of the error in p
                errors = slopes[group, k].flatten().sub_(foreground.to(z.dtype)).abs_()
                slope = lovasz_slopes(errors, foreground, ok)
                losses[row, k] = torch.dot(errors, slope)
                slopes[group, k] = slope.mul_(sign).view_as(z[group, k])
        pixels = _sum_by_label(valid.to(z.dtype), label, c)
        pixels = pixels if per_image else pixels.sum(0, keepdim=True)
        ctx.save_for_backward(z, label, valid, slopes)
        ctx.mark_non_differentiable(pixels)
        return losses, pixels

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        z, label, valid, slopes = ctx.saved_tensors
        d = d.expand(len(z), -1)
        grad = torch.empty_like(z)
        for b in _blocks(z):
            _softmax_into(grad[b], z[b], label[b], valid[b])
            g = slopes[b] * d[b, :, None]
            inner = torch.linalg.vecdot(g, grad[b], dim=1)  # (B, P)
            grad[b].mul_(g.sub_(inner[:, None]))
        return grad, None, None, None


def lovasz_slopes(errors: Tensor, foreground: Tensor, valid: Tensor) -> Tensor:
    """Derivative of the Lovász extension of the Jaccard loss with respect to every error.

    Args:
        errors: (P,) >= 0.
        foreground: bool (P,).
        valid: bool (P,); the other pixels get 0 and change nothing.

    Returns:
        (P,) slopes >= 0; the extension itself is their inner product with the errors.
    """
    foreground = foreground & valid
    if errors.is_cuda:  # where a choice would wait for the host
        return _slopes(errors, foreground, valid)
    # Beyond the foreground pixel of the smallest error all slopes are 0: usually nearly all pixels
    # are there, and need not be sorted. Without any foreground only the largest error counts.
    smallest = torch.where(foreground, errors, torch.inf).min()
    if smallest.isinf():
        smallest = torch.where(valid, errors, -torch.inf).max()
    chosen = ((errors >= smallest) & valid).nonzero()[:, 0]
    slopes = torch.zeros_like(errors)
    if len(chosen):
        slopes[chosen] = _slopes(*(x.index_select(0, chosen) for x in (errors, foreground, valid)))
    return slopes


def _slopes(errors: Tensor, foreground: Tensor, valid: Tensor) -> Tensor:
    """`lovasz_slopes` by sorting all pixels."""
    order = torch.sort(falling_keys(errors, valid)).indices
    is_foreground = foreground.index_select(0, order)
    found = is_foreground.cumsum(0, dtype=torch.int32)  # F
    total = found[-1]  # G
    missing = torch.sub(total, found, out=torch.empty_like(errors))  # G - F
    place = torch.arange(len(order), dtype=errors.dtype, device=order.device)  # F + B - 1
    union = place.add_(missing)  # G + B - 1
    slopes = missing.div_(union).masked_fill_(is_foreground, 1).div_(union.add_(1))
    # Without any foreground the first mistake takes the Jaccard loss from 0 to 1 at once.
    alone = valid.index_select(0, order[:1]).to(slopes.dtype)
    slopes[:1] = torch.where(total > 0, slopes[:1], alone)
    return union.scatter_(0, order, slopes)


def falling_keys(errors: Tensor, valid: Tensor) -> Tensor:
    """Integers that rise as the error falls, with invalid pixels last.

    The bits of a float >= 0 read as an integer are in the order of the floats, and a rising integer
    sort is a radix sort, six times as fast as the sort of the floats themselves.
    """
    integer = torch.int64 if errors.dtype == torch.float64 else torch.int32
    infinity = torch.tensor(torch.inf, dtype=errors.dtype).view(integer).item()
    return torch.where(valid, infinity - errors.contiguous().view(integer), infinity + 1)


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
    _forget_ignored(p.exp_(), valid)
    return log_t.masked_fill_(~valid, 0)


def _forget_ignored(values: Tensor, valid: Tensor) -> None:
    """Set values (B, C, P) to 0 where ignored, in place; a product would keep NaN and infinity."""
    if not _surely_all(valid):
        values.masked_fill_(~valid[:, None], 0)
