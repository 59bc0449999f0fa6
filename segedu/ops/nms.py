"""Non-maximum suppression: of detections of the same object keep the best one.

Boxes are xyxy (N, 4), scores (N,). Equal scores keep the order of the input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segedu.ops._kernels import torchvision_ops
from segedu.ops.boxes import box_iou

METHODS = ("gaussian", "linear")


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float = 0.5) -> Tensor:
    """Greedy non-maximum suppression, by torchvision's compiled operator where it is present.

    Args:
        boxes: xyxy (N, 4).
        scores: (N,).
        iou_threshold: a box goes if its IoU with a better kept one is greater.

    Returns:
        Indices of the kept boxes, int64 (K,), best first.

    Raises:
        ValueError: shapes that do not fit, or a threshold outside [0, 1].
    """
    _check(boxes, scores)
    _check_fraction("iou_threshold", iou_threshold)
    kernels = torchvision_ops()
    if kernels is None:
        return nms_reference(boxes, scores, iou_threshold)
    dtype = torch.promote_types(torch.promote_types(boxes.dtype, scores.dtype), torch.float32)
    return kernels.nms(boxes.to(dtype), scores.to(dtype), iou_threshold)


def nms_reference(boxes: Tensor, scores: Tensor, iou_threshold: float = 0.5) -> Tensor:
    """`nms` to be read: best first, each kept box crosses out the later ones it covers."""
    _check(boxes, scores)
    _check_fraction("iou_threshold", iou_threshold)
    order = scores.argsort(descending=True, stable=True)
    covers = box_iou(boxes[order], boxes[order]) > iou_threshold  # (N, N)
    alive = torch.ones_like(order, dtype=torch.bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~covers[i, i + 1 :]
    return order[alive]


def batched_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float = 0.5
) -> Tensor:
    """`nms` within each label (class, image or pyramid level) alone.

    Label by label, not with boxes moved apart by a large offset: that would round coordinates.

    Args:
        boxes: xyxy (N, 4).
        scores: (N,).
        labels: int (N,); boxes of different labels do not see each other.
        iou_threshold: as in `nms`.

    Returns:
        Indices of the kept boxes of all labels, int64 (K,), best first.

    Raises:
        ValueError: as `nms`, or ``labels`` is not (N,).
    """
    _check(boxes, scores)
    _check_labels(labels, scores)
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        keep[members[nms(boxes[members], scores[members], iou_threshold)]] = True
    kept = keep.nonzero()[:, 0]
    return kept[scores[kept].argsort(descending=True, stable=True)]


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    method: str = "gaussian",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[Tensor, Tensor]:
    """Soft-NMS, Bodla et al. (2017), figure 2: lower the scores of overlapping boxes.

    Each round picks the best of the remaining boxes *by the scores as they are now*: sorting once
    and then decaying is a different, wrong algorithm.

    Args:
        boxes: xyxy (N, 4).
        scores: float (N,) in [0, 1], left as they are.
        method: "linear" multiplies by 1 - IoU where the IoU is greater than ``iou_threshold``
            (equation 3), "gaussian" by exp(-IoU² / sigma) everywhere.
        iou_threshold: of the linear method.
        sigma: of the Gaussian method.
        score_threshold: boxes whose score falls below are dropped.

    Returns:
        Indices of the kept boxes, int64 (K,), as picked, and their new scores (K,), decreasing.

    Raises:
        ValueError: shapes that do not fit, unknown method, sigma <= 0, threshold outside [0, 1].
    """
    _check(boxes, scores)
    _check_decay(method, sigma)
    _check_fraction("iou_threshold", iou_threshold)
    iou = box_iou(boxes, boxes).to(scores.dtype)
    if method == "linear":
        decay = torch.where(iou > iou_threshold, 1 - iou, 1)
    else:
        decay = torch.exp(-(iou**2) / sigma)
    left, picked, new = scores, [], []
    taken = torch.zeros_like(scores, dtype=torch.bool)
    for _ in range(len(scores)):
        best = left.argmax()
        if left[best] < score_threshold:
            break
        picked.append(best)
        new.append(left[best])
        taken[best] = True
        left = (left * decay[best]).masked_fill(taken, -torch.inf)
    if not picked:
        return scores.new_zeros(0, dtype=torch.int64), scores.new_zeros(0)
    return torch.stack(picked), torch.stack(new)


def fast_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    iou_threshold: float = 0.5,
    top_k: int = 200,
    max_detections: int = 100,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fast NMS of YOLACT, Bolya et al. (2019), section 5: all classes at once, without a loop.

    A box goes if *any* better box of its class overlaps it, even one that is itself suppressed, so
    a few more go than in `nms`.

    Args:
        boxes: xyxy (N, 4), shared by the classes.
        scores: (C, N), without the background.
        iou_threshold: largest IoU of a kept box with a better one.
        top_k: best boxes of each class that take part.
        max_detections: best boxes of all classes that are returned.

    Returns:
        Indices of the boxes, labels in 0..C-1 and scores, each (K,), best first.

    Raises:
        ValueError: shapes that do not fit, threshold outside [0, 1], or a count below 1.
    """
    if scores.ndim != 2 or boxes.shape != (scores.shape[1], 4):
        raise ValueError(
            "boxes must be (N, 4) and scores (C, N), "
            f"got {tuple(boxes.shape)} and {tuple(scores.shape)}"
        )
    _check_fraction("iou_threshold", iou_threshold)
    for name, count in (("top_k", top_k), ("max_detections", max_detections)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    scores, index = scores.sort(dim=1, descending=True, stable=True)
    scores, index = scores[:, :top_k], index[:, :top_k]  # (C, K)
    iou = box_iou(boxes[index], boxes[index]).triu(diagonal=1)  # (C, K, K), row better than column
    worst = torch.nn.functional.pad(iou, (0, 0, 1, 0)).amax(1)  # (C, K); the pad allows K = 0
    label, place = (worst <= iou_threshold).nonzero(as_tuple=True)
    kept = scores[label, place]
    best = kept.argsort(descending=True, stable=True)[:max_detections]
    return index[label, place][best], label[best], kept[best]


def matrix_nms(
    iou: Tensor,
    scores: Tensor,
    labels: Tensor | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
) -> Tensor:
    """Matrix NMS of SOLOv2, Wang et al. (2020), section 3.3: Soft-NMS in one step.

    A better detection i lowers the score of j by f(IoU_ij), less so the more i is itself covered
    by a better one: decay_j = min over i of f(IoU_ij) / f(max over k of IoU_ki).

    Args:
        iou: of every pair of masks or boxes, (N, N), symmetric.
        scores: (N,).
        labels: (N,); only detections of the same label count. One label for all if None.
        method: "linear", f = 1 - IoU, or "gaussian", f = exp(-IoU² / sigma).
        sigma: of the Gaussian method; SOLO's code multiplies by 2 instead of dividing by 0.5.

    Returns:
        The lowered scores (N,), in the order of the input.

    Raises:
        ValueError: shapes that do not fit, unknown method, sigma <= 0.
    """
    if scores.ndim != 1 or iou.shape != (len(scores), len(scores)):
        raise ValueError(
            f"iou must be (N, N) and scores (N,), got {tuple(iou.shape)} and {tuple(scores.shape)}"
        )
    _check_decay(method, sigma)
    order = scores.argsort(descending=True, stable=True)
    iou = iou[order][:, order].triu(diagonal=1)  # row better than column
    if labels is not None:
        _check_labels(labels, scores)
        iou = iou * (labels[order][:, None] == labels[order])
    if not len(scores):
        return scores.clone()
    covered = iou.amax(0)[:, None]  # (N, 1), how much a better detection covers each row
    if method == "linear":
        # A row that is covered whole decays nobody: what covers it does so already.
        decay = torch.where(covered < 1, (1 - iou) / (1 - covered).where(covered < 1, 1), 1)
    else:
        decay = torch.exp((covered**2 - iou**2) / sigma)
    return torch.empty_like(scores).index_put((order,), scores[order] * decay.amin(0))


def _check(boxes: Tensor, scores: Tensor) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"boxes must be (N, 4) and scores (N,), got {tuple(boxes.shape)} and "
            f"{tuple(scores.shape)}"
        )


def _check_labels(labels: Tensor, scores: Tensor) -> None:
    if labels.shape != scores.shape:
        raise ValueError(f"labels must be {tuple(scores.shape)}, got {tuple(labels.shape)}")


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")


def _check_decay(method: str, sigma: float) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not sigma > 0:
        raise ValueError(f"sigma must be > 0, got {sigma}")
