"""Mask classification: what MaskFormer and Mask2Former have in common besides the network.

Cheng et al., NeurIPS 2021 (arXiv:2107.06278): an image is a set of pairs (class, binary mask),
which serves all three tasks. Here: targets of any task as such a set, the matching, the loss, and
the class that both are made of. The way back, from the predicted set to a result, is in
`segedu.models.mask_inference`.

The loss stands beside the network, not in `segedu.losses`: it needs the matching, takes a set of
objects where losses there take a label map, and, as with every detector, the network returns it.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

from segedu.models.mask_inference import (
    instance_inference,
    is_sure,
    panoptic_inference,
    semantic_inference,
)
from segedu.models.mask_losses import dice_loss, pairwise_dice_loss
from segedu.models.targets import VOID, Target, batch_images, check_images, things_of
from segedu.ops import binary_masks, hungarian
from segedu.ops.precision import full_dtype, full_precision

TASKS = ("semantic", "instance", "panoptic")


class Segments(NamedTuple):
    """The set that an image is to be explained by."""

    labels: Tensor  #: int64 (M,)
    masks: Tensor  #: float 0 or 1 (M, H, W)


class Prediction(NamedTuple):
    """The set that a network proposes, for a batch."""

    class_logits: Tensor  #: (N, Q, C + 1), the last one is "no object"
    mask_logits: Tensor  #: (N, Q, h, w)


def segments_of(target: Target, num_classes: int, image: Tensor) -> Segments:
    """Read a target of any task as a set of segments.

    Args:
        target: ``masks`` (M, H, W), bool or 0 and 1, and ``labels`` (M,) of an instance sample;
            ``panoptic_seg`` (H, W) and ``segments_info`` of a panoptic one (crowds are left out);
            or ``mask`` (H, W) of a semantic one, 255 is void: one segment for each class.
        num_classes: classes are 0 ... ``num_classes`` - 1.
        image: (3, H, W), for its size and device.

    Raises:
        ValueError: other keys, a size unlike the image's, a label out of range, other values than 0
            and 1 in masks, or not as many labels as masks.
    """
    if "masks" in target and "labels" in target:
        masks, labels = target["masks"], target["labels"]
    elif "panoptic_seg" in target and "segments_info" in target:
        info = [s for s in target["segments_info"] if not s.get("iscrowd", 0)]
        seg = torch.as_tensor(target["panoptic_seg"])
        masks = seg == torch.tensor([s["id"] for s in info], device=seg.device)[:, None, None]
        labels = torch.tensor([s["category_id"] for s in info], dtype=torch.int64)
    elif "mask" in target:
        seg = torch.as_tensor(target["mask"])
        labels = seg.unique()
        labels = labels[labels != VOID]
        masks = seg == labels[:, None, None]
    else:
        raise ValueError(
            "targets must have masks and labels, panoptic_seg and segments_info, or mask, "
            f"got {sorted(target)}"
        )
    masks = binary_masks(torch.as_tensor(masks)).to(image.device, full_dtype(image))
    labels = torch.as_tensor(labels).to(image.device, torch.int64)
    if masks.shape != (len(labels), *image.shape[1:]):
        raise ValueError(
            f"targets: {len(labels)} labels and an image of {tuple(image.shape[1:])} (H, W) need "
            f"masks of shape {(len(labels), *image.shape[1:])}, got {tuple(masks.shape)}"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"targets: labels must be 0 to {num_classes - 1}, got {labels.unique().tolist()}"
        )
    return Segments(labels, masks)


def prepare_targets(
    targets: Sequence[Target], num_classes: int, images: Sequence[Tensor], size: Sequence[int]
) -> list[Segments]:
    """The segments of each image, on a canvas of ``size`` (H', W') that is empty beyond the image.

    Raises:
        ValueError: see `segments_of`.
    """
    prepared = []
    for target, image in zip(targets, images, strict=True):
        labels, masks = segments_of(target, num_classes, image)
        padding = (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1])
        prepared.append(Segments(labels, F.pad(masks, padding)))
    return prepared


class Criterion(NamedTuple):
    """What the loss is made of; the three weights also weigh the costs of the matching."""

    mask_loss: Callable[[Tensor, Tensor], Tensor]  #: (K, P) logits, (K, P) masks -> (K,)
    pairwise_mask_loss: Callable[[Tensor, Tensor], Tensor]  #: (Q, P), (M, P) -> (Q, M)
    to_match: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  #: (Q, h, w), (M, H, W) -> (., P)
    to_compare: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  #: (K, h, w), (K, H, W) -> (K, P)
    class_weight: float
    mask_weight: float
    dice_weight: float
    no_object_weight: float = 0.1  #: of the class "no object" in the cross-entropy


@torch.no_grad()
def match(
    criterion: Criterion, class_logits: Tensor, mask_logits: Tensor, segments: Segments
) -> tuple[Tensor, Tensor]:
    """One query for each segment, at least total cost (section 3.2; DETR, equation 1).

    Args:
        criterion: its pairwise loss, weights and ``to_match``.
        class_logits: (Q, C + 1) of one image.
        mask_logits: (Q, h, w).
        segments: M of them.

    Returns:
        Indices of queries (ascending) and of their segments, min(Q, M) each.
    """
    class_logits, mask_logits = full_precision(class_logits), full_precision(mask_logits)
    logits, masks = criterion.to_match(mask_logits, segments.masks)  # (Q, P), (M, P)
    probability = class_logits.softmax(1)[:, segments.labels]  # (Q, M)
    return hungarian(
        criterion.mask_weight * criterion.pairwise_mask_loss(logits, masks)
        + criterion.dice_weight * pairwise_dice_loss(logits, masks)
        - criterion.class_weight * probability
    )


def set_losses(
    criterion: Criterion, prediction: Prediction, segments: Sequence[Segments], count: float
) -> dict[str, Tensor]:
    """Loss of the classes of all queries and of the masks of the matched ones (equation 2).

    Args:
        criterion: the losses.
        prediction: of N images.
        segments: of each image.
        count: what sums over segments are divided by, see `count_segments`.

    Returns:
        ``loss_class``, ``loss_mask`` and ``loss_dice``, weighted. The class loss is the weighted
        mean over queries, the other two are sums over segments, divided by ``count``: without a
        segment they are 0 and everything is "no object".
    """
    num_classes = prediction.class_logits.shape[2] - 1
    wanted = prediction.class_logits.new_full(
        prediction.class_logits.shape[:2], num_classes, dtype=torch.int64
    )  # (N, Q)
    logits, masks = [], []
    for i, target in enumerate(segments):
        own = prediction.mask_logits[i]
        queries, places = match(criterion, prediction.class_logits[i], own, target)
        wanted[i, queries] = target.labels[places]
        logits.append(own[queries])
        masks.append(target.masks[places])
    class_logits = full_precision(prediction.class_logits).flatten(0, 1)  # (NQ, C + 1)
    weight = class_logits.new_ones(num_classes + 1)
    weight[-1] = criterion.no_object_weight
    class_loss = F.cross_entropy(class_logits, wanted.flatten(), weight)
    mask_logits = full_precision(torch.cat(logits))  # (K, h, w)
    points = criterion.to_compare(mask_logits, torch.cat(masks))  # (K, P), (K, P)
    return {
        "loss_class": criterion.class_weight * class_loss,
        "loss_mask": criterion.mask_weight * criterion.mask_loss(*points).sum() / count,
        "loss_dice": criterion.dice_weight * dice_loss(*points).sum() / count,
    }


def deep_losses(
    criterion: Criterion, predictions: Sequence[Prediction], segments: Sequence[Segments]
) -> dict[str, Tensor]:
    """`set_losses` of the last prediction and, with ``_0``, ``_1`` ... added, of those before."""
    count = count_segments(segments, predictions[-1].mask_logits.device)
    losses = set_losses(criterion, predictions[-1], segments, count)
    for i, prediction in enumerate(predictions[:-1]):
        for name, value in set_losses(criterion, prediction, segments, count).items():
            losses[f"{name}_{i}"] = value
    return losses


def count_segments(segments: Sequence[Segments], device: torch.device) -> float:
    """Number of segments in the batch, at least 1; of several processes that train, the mean.

    With it the mean of the processes' losses, whose gradient they follow, is the loss of the whole
    batch, however the segments fall on them (facebookresearch/detr, ``SetCriterion``).
    """
    count, processes = sum(len(target.labels) for target in segments), 1
    if distributed.is_available() and distributed.is_initialized():
        total, processes = torch.tensor(count, device=device), distributed.get_world_size()
        distributed.all_reduce(total)
        count = int(total)
    return max(count, 1) / processes


class MaskClassifier(nn.Module):
    """A network that proposes a set of segments; a subclass says how, in ``predict``.

    One network and one loss for all three tasks; ``task`` only says how the set is read. In
    training ``model(images, targets)`` returns a dict of losses, whose sum is minimised; in
    evaluation ``model(images)`` returns a dict for each image:

    - ``"panoptic"``: ``panoptic_seg`` int32 (H, W), 0 is void, and ``segments_info``, a list of
      ``{id, category_id, isthing, score, area}``;
    - ``"instance"``: ``boxes`` (D, 4), ``labels``, ``scores``, ``masks`` bool (D, H, W);
    - ``"semantic"``: ``scores`` (C, H, W).

    Images are float (3, H, W) in [0, 1] of any sizes, normalised inside. Targets are samples of any
    of the three tasks, see `segments_of`. Classes are 0 to C - 1, stuff and things alike, without
    the background class of a detector; "no object" is added inside. Void pixels count as outside of
    all masks.

    The tasks to train with are `segedu.tasks.Panoptic` and `segedu.tasks.Instance`.

    Args:
        num_classes: number of classes C.
        task: ``"panoptic"``, ``"instance"`` or ``"semantic"``.
        things: classes that are things: those alone are instances, and the segments of each of the
            other classes are merged in a panoptic result. All if not given.
        criterion: the losses.

    Raises:
        ValueError: an unknown task, or things that are no classes.
    """

    def __init__(
        self, num_classes: int, task: str, things: Collection[int] | None, criterion: Criterion
    ) -> None:
        super().__init__()
        if task not in TASKS:
            raise ValueError(f"task must be one of {TASKS}, got {task!r}")
        self.num_classes, self.task = num_classes, task
        self.things = things_of(num_classes, things)
        self.criterion = criterion

    def predict(self, batch: Tensor, *, only_last: bool = False) -> list[Prediction]:
        """Normalised images (N, 3, H, W) -> predictions after each layer, the last one counts."""
        raise NotImplementedError

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Images (3, H, W) -> losses in training (with targets), else one result for each."""
        check_images(images, targets, wanted=self.training)
        batch = batch_images(images)  # (N, 3, H', W'), whole strides of 32
        size = batch.shape[-2:]
        if self.training:
            segments = prepare_targets(targets, self.num_classes, images, size)
            return deep_losses(self.criterion, self.predict(batch), segments)
        [(classes, masks)] = self.predict(batch, only_last=True)
        return [
            self.infer(own_classes, own_masks, size, image.shape[-2:])
            for image, own_classes, own_masks in zip(images, classes, masks, strict=True)
        ]

    def infer(
        self, class_logits: Tensor, mask_logits: Tensor, padded: Sequence[int], size: Sequence[int]
    ) -> dict[str, Any]:
        """The result of the task for one image: (Q, C + 1) and (Q, h, w).

        Args:
            class_logits: (Q, C + 1).
            mask_logits: (Q, h, w), of the padded image.
            padded: its height and width.
            size: height and width of the image.
        """
        if self.task == "panoptic":  # only these take part, so only their masks are enlarged
            sure = is_sure(class_logits)
            class_logits, mask_logits = class_logits[sure], mask_logits[sure]
        masks = F.interpolate(mask_logits[:, None], padded, mode="bilinear")  # (Q, 1, H', W')
        masks = masks[:, 0, : size[0], : size[1]]
        if self.task == "semantic":
            return {"scores": semantic_inference(class_logits, masks)}
        read = instance_inference if self.task == "instance" else panoptic_inference
        return read(class_logits, masks, self.things)
