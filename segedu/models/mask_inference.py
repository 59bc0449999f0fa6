"""From the set of segments that a network proposes to the result of a task.

Cheng et al., NeurIPS 2021 (arXiv:2107.06278), section 3.4. All of it is for one image, with class
logits (Q, C + 1), the last one is "no object", and mask logits (Q, H, W).
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from segedu.models.panoptic import PanopticCanvas
from segedu.ops import masks_to_boxes
from segedu.ops.precision import full_dtype

SURE = 0.8  # least probability of a class in a panoptic result


def semantic_inference(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """Scores (C, H, W): each query votes for its classes where its mask is."""
    votes = class_logits.softmax(1)[:, :-1]  # (Q, C): there is no pixel of "no object"
    return torch.einsum("qc,qhw->chw", votes, mask_logits.sigmoid())


def instance_inference(
    class_logits: Tensor,
    mask_logits: Tensor,
    things: Collection[int] | None = None,
    max_objects: int = 100,
) -> dict[str, Tensor]:
    """The best pairs of query and class, whose masks may overlap.

    The score is the class probability times the mean probability inside the mask (> 0.5).

    Returns:
        ``boxes`` xyxy (D, 4), ``labels`` (D,), ``scores`` (D,) falling, ``masks`` bool (D, H, W)
        without empty ones; labels in ``things`` only if given.
    """
    num_classes = class_logits.shape[1] - 1
    probability = class_logits.softmax(1)[:, :-1].flatten()  # (Q * C,)
    scores, pairs = probability.topk(min(max_objects, len(probability)))
    queries, labels = pairs // num_classes, pairs % num_classes
    masks = mask_logits[queries] > 0  # (D, H, W)
    area = masks.sum((1, 2))  # (D,)
    inside = (mask_logits.sigmoid()[queries] * masks).sum((1, 2))
    scores = scores * inside / area.clamp(min=1)
    keep = area > 0
    if things is not None:
        keep &= torch.isin(labels, torch.tensor(sorted(things), device=labels.device))
    order = scores.argsort(descending=True, stable=True)
    order = order[keep[order]]
    masks = masks[order]
    return {
        "boxes": masks_to_boxes(masks).to(full_dtype(scores)),
        "labels": labels[order],
        "scores": scores[order],
        "masks": masks,
    }


def is_sure(class_logits: Tensor, threshold: float = SURE) -> Tensor:
    """Which queries (Q,) say that they are an object of some class, and are sure of it."""
    scores, labels = class_logits.softmax(1).max(1)  # (Q,)
    return (labels < class_logits.shape[1] - 1) & (scores > threshold)


def panoptic_inference(
    class_logits: Tensor,
    mask_logits: Tensor,
    things: Collection[int] | None = None,
    threshold: float = SURE,
    overlap: float = 0.8,
) -> dict[str, Any]:
    """Each pixel goes to the query with the largest class times mask probability.

    A query takes part if it is sure of its class, more than ``threshold``; its segment stands if it
    won more than ``overlap`` of what its own mask (>= 0.5) claims. Pieces of a stuff class become
    one segment. Pixels of no segment are 0.

    Returns:
        ``panoptic_seg`` int32 (H, W) and ``segments_info``, a list of ``{id, category_id, isthing,
        score, area}``; the score of merged stuff is its best piece's. All classes are things if
        ``things`` is None.
    """
    sure = is_sure(class_logits, threshold)
    scores, labels = class_logits[sure].softmax(1).max(1)  # (K,)
    masks = mask_logits[sure].sigmoid()  # (K, H, W)
    canvas = PanopticCanvas(mask_logits.shape[1:], mask_logits.device)
    if not len(labels):
        return canvas.result()
    winner = (scores[:, None, None] * masks).argmax(0)  # (H, W)
    stuff: dict[int, dict[str, Any]] = {}
    for k, (label, score) in enumerate(zip(labels.tolist(), scores.tolist(), strict=True)):
        claimed = masks[k] >= 0.5
        own = (winner == k) & claimed
        area = int(own.sum())
        if not area or area <= overlap * int(claimed.sum()):
            continue
        if label in stuff:
            canvas.extend(stuff[label], own)
            stuff[label]["score"] = max(stuff[label]["score"], score)
            continue
        isthing = things is None or label in things
        segment = canvas.add(own, label, isthing, score=score)
        if not isthing:
            stuff[label] = segment
    return canvas.result()
