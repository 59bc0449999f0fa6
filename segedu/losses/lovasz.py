"""Lovász losses: a convex surrogate of 1 − IoU that is exact on hard labels (Berman et al. 2018).

The set function "1 − IoU after making these pixels wrong" is submodular; its Lovász extension at
the vector of pixel errors e >= 0 is a sum over the pixels in order of falling error, Σ e_i s_i,
where s_i says how much the Jaccard loss grows when pixel i becomes wrong too. With G foreground
pixels, and F foreground and B background pixels among the i largest errors, the differences of
1 − (G − F) / (G + B) have the closed form

    s_i = 1 / (G + B)                            for a foreground pixel,
    s_i = (G − F) / ((G + B) (G + B − 1))        for a background pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from segedu.losses._inputs import check_binary, check_multiclass, check_reduction, mean_of
from segedu.losses._softmax import _blocks, _flatten, _softmax_into, _sum_by_label


class LovaszSoftmaxLoss(nn.Module):
    """Lovász extension of the Jaccard loss of each class, at the errors |[t = c] − p_c|.

    Args:
        classes: ``"present"`` averages over the classes that occur in the target, ``"all"`` over
            every class; a class that does not occur then costs its largest probability.
        per_image: ``True`` treats each image by itself and averages.
        ignore_index: label of the pixels left out.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: (C,), or (N, C) per image, with 0 for what
            is left out.

    Shape:
        logits (N, C, *S) float, target (N, *S) integer -> scalar. 0 with a gradient of 0 if all
        pixels are ignored. Source: Berman et al. 2018, Eq. 11 and Algorithm 1.
    """

    def __init__(
        self,
        classes: str = "present",
        per_image: bool = False,
        ignore_index: int = 255,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if classes not in ("present", "all"):
            raise ValueError(f"classes must be 'present' or 'all', got {classes!r}")
        self.classes = classes
        self.per_image = per_image
        self.ignore_index = ignore_index
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, C, *S)`` for ``target (N, *S)``."""
        logits, target = check_multiclass(logits, target, self.ignore_index)
        flat, label, valid = _flatten(logits, target, self.ignore_index)
        loss, pixels = _LovaszSoftmax.apply(flat, label, valid, self.per_image)  # (N or 1, C)
        counted = pixels > 0
        if self.classes == "all":
            counted = counted.any(1, keepdim=True).expand_as(counted)
        loss = torch.where(counted, loss, 0)
        if self.reduction == "none":
            return loss if self.per_image else loss[0]
        if self.reduction == "sum":
            return loss.sum()
        if not self.per_image:
            return mean_of(loss.sum(), counted.sum())
        # Images differ in their number of classes: first the mean in each, then over images.
        each = mean_of(loss.sum(1), counted.sum(1))
        return mean_of(each.sum(), counted.any(1).sum())


class LovaszHingeLoss(nn.Module):
    """Lovász extension of the foreground's Jaccard loss at the hinge errors [1 − z (2t − 1)]₊.

    Args:
        per_image: ``True`` treats each image by itself and averages over the images (the authors'
            default), ``False`` the batch as one image.
        ignore_index: label of the pixels left out.

    Shape:
        logits (N, 1, *S) or (N, *S) float, target (N, *S) of 0 and 1 -> scalar.
        Source: Berman et al. 2018, §3.1.
    """

    def __init__(self, per_image: bool = True, ignore_index: int = 255) -> None:
        super().__init__()
        self.per_image = per_image
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``logits (N, 1, *S)`` for ``target (N, *S)``."""
        logits, target = check_binary(logits, target, self.ignore_index)
        foreground, valid = target == 1, target != self.ignore_index
        errors = torch.relu(1 - logits * torch.where(foreground, 1, -1)) * valid
        rows = [x.reshape(len(x) if self.per_image else 1, -1) for x in (errors, foreground, valid)]
        losses = [
            (e * lovasz_slopes(e.detach(), f, v)).sum() for e, f, v in zip(*rows, strict=True)
        ]
        return mean_of(torch.stack(losses).sum(), rows[2].any(1).sum())


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
    """``lovasz_slopes`` by sorting all pixels."""
    order = torch.sort(_falling_keys(errors, valid)).indices
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


def _falling_keys(errors: Tensor, valid: Tensor) -> Tensor:
    """Integers that rise as the error falls, with invalid pixels last.

    The bits of a float >= 0 read as an integer are in the order of the floats, and a rising integer
    sort is a radix sort, six times as fast as the sort of the floats themselves.
    """
    integer = torch.int64 if errors.dtype == torch.float64 else torch.int32
    infinity = torch.tensor(torch.inf, dtype=errors.dtype).view(integer).item()
    return torch.where(valid, infinity - errors.contiguous().view(integer), infinity + 1)


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
