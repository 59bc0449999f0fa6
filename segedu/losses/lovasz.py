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

from segedu.losses._inputs import check_binary, check_reduction, mean_of
from segedu.losses.fused import lovasz, lovasz_slopes


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
        loss, pixels = lovasz(logits, target, self.ignore_index, self.per_image)  # (N or 1, C)
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
