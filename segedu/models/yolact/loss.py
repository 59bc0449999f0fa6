"""What YOLACT learns from: anchors matched with objects, and four losses.

The criterion stands here and not in `segedu.losses`: those losses take logits and label maps and
know no anchors, and models and losses do not import each other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.models.yolact.parts import CODER, Output, assemble, edges
from segedu.ops import box_area, box_iou, crop_masks, match_iou

BACKGROUND, NEUTRAL = 0, -1  # labels of anchors without an object
POSITIVE_IOU, NEGATIVE_IOU, CROWD_IOU = 0.5, 0.4, 0.7
NEGATIVES = 3  # hard negatives for each positive
MASKS_TO_TRAIN = 100  # positives of an image whose masks are learnt
BOX_WEIGHT, MASK_WEIGHT = 1.5, 6.125  # those of the class and the semantic loss are 1


class Objects(NamedTuple):
    """The M objects of an image, crowds left out."""

    boxes: Tensor  #: xyxy (M, 4), image = [0, 1]
    labels: Tensor  #: (M,), 1, ..., num_classes - 1
    masks: Tensor  #: float (M, H, W), 0 and 1


def match(iou: Tensor) -> Tensor:
    """Give each anchor an object by IoU, and each object at least one anchor of its own.

    The second rule is greedy: the pair of highest IoU first, then the best of the objects and
    anchors that are left.

    Args:
        iou: (M, A) of M objects with A anchors.

    Returns:
        int64 (A,): index of the object, `segedu.ops.matching.BELOW` or ``BETWEEN``.
    """
    matches, left = match_iou(iou, POSITIVE_IOU, NEGATIVE_IOU), iou.clone()
    for _ in range(min(iou.shape)):
        best = left.argmax()
        row, column = best // iou.shape[1], best % iou.shape[1]
        matches[column] = row
        left[row], left[:, column] = -1, -1
    return matches


def label_anchors(anchors: Tensor, objects: Objects, crowds: Tensor) -> tuple[Tensor, Tensor]:
    """Label (A,) of each anchor (class, BACKGROUND or NEUTRAL) and the index of its object (A,).

    An anchor that lies in a crowd, ``crowds`` (Q, 4), by more than 0.7 of its area is neutral
    unless it has an object.
    """
    index = match(box_iou(objects.boxes, anchors))  # (A,)
    labels = torch.where(index == -1, BACKGROUND, NEUTRAL)
    labels[index >= 0] = objects.labels[index[index >= 0]]
    top_left = torch.maximum(anchors[:, None, :2], crowds[:, :2])  # (A, Q, 2)
    bottom_right = torch.minimum(anchors[:, None, 2:], crowds[:, 2:])
    covered = (bottom_right - top_left).clamp(min=0).prod(-1) / box_area(anchors)[:, None]
    labels[(labels <= 0) & (covered > CROWD_IOU).any(1)] = NEUTRAL
    return labels, index


def hard_negatives(logits: Tensor, labels: Tensor) -> Tensor:
    """Online hard example mining: the background anchors that look least like background.

    Args:
        logits: (A, num_classes).
        labels: (A,); three negatives are taken for each positive.

    Returns:
        bool (A,).
    """
    surprise = -logits.detach().log_softmax(1)[:, BACKGROUND]
    surprise = surprise.masked_fill(labels != BACKGROUND, -torch.inf)
    count = min(NEGATIVES * int((labels > 0).sum()), int((labels == BACKGROUND).sum()))
    chosen = torch.zeros_like(labels, dtype=torch.bool)
    chosen[surprise.topk(count).indices] = True
    return chosen


def yolact_losses(
    output: Output, anchors: Tensor, objects: Sequence[Objects], crowds: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Scalars ``loss_classifier``, ``loss_box_reg``, ``loss_mask`` and ``loss_semantic``.

    The first three are summed and divided by the number of positive anchors of the batch, the last
    by the number of images. An image without objects has no positives, hence no hard negatives: it
    teaches the semantic branch alone (the authors leave such images out).
    """
    sums, positives = anchors.new_zeros(4), 0
    for i, (truth, crowd) in enumerate(zip(objects, crowds, strict=True)):
        labels, index = label_anchors(anchors, truth, crowd)
        positive = labels > 0
        index, positives = index[positive], positives + int(positive.sum())  # (P,)
        chosen = positive | hard_negatives(output.scores[i], labels)
        wanted = CODER.encode(truth.boxes[index], anchors[positive])  # (P, 4)
        coefficients = output.coefficients[i][positive]  # (P, K)
        terms = (
            F.cross_entropy(output.scores[i][chosen], labels[chosen], reduction="sum"),
            F.smooth_l1_loss(output.boxes[i][positive], wanted, reduction="sum"),
            mask_loss(output.prototypes[i], coefficients, truth, index),
            semantic_loss(output.semantic[i], truth),
        )
        sums = sums + torch.stack(terms)
    classifier, box, mask = sums[:3] / max(positives, 1)
    return {
        "loss_classifier": classifier,
        "loss_box_reg": BOX_WEIGHT * box,
        "loss_mask": MASK_WEIGHT * mask,
        "loss_semantic": sums[3] / len(objects),
    }


def mask_loss(prototypes: Tensor, coefficients: Tensor, truth: Objects, index: Tensor) -> Tensor:
    """Binary cross-entropy inside the box of the object, divided by the box's area (section 3.3).

    Args:
        prototypes: (K, h, w).
        coefficients: (P, K) of the positive anchors.
        truth: the objects.
        index: (P,), the object of each positive anchor.

    Returns:
        Sum over the positives; if they are more than 100, that of 100 drawn by chance, scaled.
    """
    positives = len(index)
    if positives > MASKS_TO_TRAIN:
        drawn = torch.randperm(positives, device=index.device)[:MASKS_TO_TRAIN]
        coefficients, index = coefficients[drawn], index[drawn]
    wanted = shrink(truth.masks, prototypes.shape[1:])[index]  # (P, h, w)
    logits = assemble(prototypes, coefficients)  # (P, h, w)
    loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    boxes = truth.boxes[index] * edges(logits, logits.shape[1:])
    loss = crop_masks(loss, boxes, padding=1).sum((1, 2)) / box_area(boxes)  # (P,)
    return loss.sum() * (positives / max(len(index), 1))


def semantic_loss(logits: Tensor, truth: Objects) -> Tensor:
    """Binary cross-entropy of which classes are where, logits (C - 1, h, w) (section 5).

    Summed over the classes, averaged over the pixels. The branch exists in training only.
    """
    wanted = torch.zeros_like(logits)
    masks = shrink(truth.masks, logits.shape[1:])
    for mask, label in zip(masks, truth.labels, strict=True):
        wanted[label - 1] = torch.maximum(wanted[label - 1], mask)
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean((1, 2)).sum()


def shrink(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (M, H, W) at ``size`` (h, w), 0 or 1 again; a very small object may vanish."""
    return (F.interpolate(masks[:, None], size, mode="bilinear")[:, 0] > 0.5).to(masks.dtype)
