"""What moving the threshold of one class does: precision, recall and IoU of every offset."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segedu.metrics.labels import check_logits


class OffsetCurve(NamedTuple):
    """Scores of one class for every offset that changes them, from none of its pixels to all.

    Attributes:
        offset: added to the logit of the class, (K,), ascending.
        precision, recall, iou: of the class with this offset, (K,), in 0..1.
    """

    offset: Tensor
    precision: Tensor
    recall: Tensor
    iou: Tensor

    @property
    def best_offset(self) -> float:
        """The offset of the largest IoU."""
        return self.offset[self.iou.argmax()].item()

    @property
    def average_precision(self) -> float:
        """Area under the steps of the precision-recall curve: it does not depend on an offset."""
        gained = self.recall.diff(prepend=self.recall.new_zeros(1))
        return (gained * self.precision).sum().item()


def offset_curve(
    logits: Tensor, target: Tensor, label: int, ignore_index: int = 255
) -> OffsetCurve:
    """Precision, recall and IoU of one class as a function of an offset on its logit.

    With the offset b a pixel is given the class c if z_c + b is larger than every other logit, so
    if b exceeds minus its margin z_c − max of the others. Each offset of the curve lies half-way
    between two margins that occur.

    Args:
        logits: (N, C, *S) with C >= 2.
        target: labels (N, *S) in [0, C) or ``ignore_index``.
        label: c.
        ignore_index: label of the pixels left out.

    Returns:
        Tensors in float64, on the device of the logits.

    Raises:
        TypeError, ValueError: as `SemanticMetrics.update`, and if ``label`` is no class or no pixel
            of the target has it.

    Example:
        >>> logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [3.0, 1.0, -1.0, -2.0]]])
        >>> curve = offset_curve(logits, torch.tensor([[1, 0, 1, 0]]), label=1)
        >>> curve.recall.tolist()
        [0.5, 0.5, 1.0, 1.0]
        >>> curve.offset.tolist()[2], curve.best_offset
        (1.5, 1.5)
    """
    num_classes = logits.shape[1] if logits.ndim > 1 else 0
    if not 0 <= label < num_classes or num_classes < 2:
        raise ValueError(
            f"label must be one of the classes of logits (N, C, ...) with C >= 2, got {label} for "
            f"{tuple(logits.shape)}"
        )
    check_logits(logits, target, num_classes)
    kept = target != ignore_index  # (N, *S)
    others = logits.index_fill(1, torch.tensor(label, device=logits.device), -torch.inf)
    margin = (logits[:, label] - others.amax(1))[kept].double()  # (P,)
    margin, order = margin.sort(descending=True)
    hits = (target[kept] == label)[order].cumsum(0)
    if not len(hits) or hits[-1] == 0:
        raise ValueError(f"no pixel of the target has the label {label}: it has no recall")
    called = torch.arange(1, len(hits) + 1, device=hits.device)
    after = torch.cat([margin[1:], margin[-1:] - 2])  # below the last one: all pixels are called
    step = margin > after  # pixels of one margin are called together
    hits, called, total = hits[step], called[step], hits[-1]
    return OffsetCurve(
        -(margin + after)[step] / 2,
        hits / called.double(),
        hits / total.double(),
        hits / (called + total - hits).double(),
    )
