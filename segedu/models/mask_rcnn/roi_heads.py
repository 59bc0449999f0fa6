"""Class, box and mask of each region of interest: Fast and Mask R-CNN's heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.mask_rcnn.rpn import BETA
from segedu.models.mask_rcnn.settings import Settings
from segedu.models.mask_rcnn.transform import Size, Target, sides
from segedu.ops import (
    BoxCoder,
    balanced_sample,
    batched_nms,
    box_area,
    box_iou,
    clip_boxes,
    match_iou,
    roi_align,
)
from segedu.ops.precision import full_precision

STRIDES = (4, 8, 16, 32)  # of the levels that regions are pooled from
BOX_BINS, MASK_BINS = 7, 14
MIN_SIDE = 1e-2  # pixels of a detection


class BoxHead(nn.Module):
    """Two linear layers with ReLU on the pooled features."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(channels * BOX_BINS**2, width)
        self.fc7 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(K, channels, 7, 7) -> (K, width)."""
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


class BoxPredictor(nn.Module):
    """Scores of the classes and, for each class apart, offsets of the box."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, num_classes)
        self.bbox_pred = nn.Linear(width, 4 * num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(K, width) -> logits (K, C) and offsets (K, C, 4)."""
        offsets = self.bbox_pred(x).unflatten(1, (-1, 4))
        return full_precision(self.cls_score(x)), full_precision(offsets)


class MaskHead(nn.Sequential):
    """3x3 convolutions with ReLU; four of 256 in the paper."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        convs = [nn.Conv2d(width if i else channels, width, 3, padding=1) for i in range(layers)]
        super().__init__(*(nn.Sequential(conv, nn.ReLU(inplace=True)) for conv in convs))
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)


class MaskPredictor(nn.Sequential):
    """Twice the resolution, then a mask for each class: (K, width, 14, 14) -> (K, C, 28, 28)."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.mask_fcn_logits = nn.Conv2d(width, num_classes, 1)
        for layer in (self.conv5_mask, self.mask_fcn_logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class Samples(NamedTuple):
    """Proposals of one image that were drawn for the loss."""

    boxes: Tensor  #: xyxy (K, 4)
    objects: Tensor  #: int64 (K,), which object of the target; means nothing for background
    labels: Tensor  #: int64 (K,), its class, 0 for background


class RoIHeads(nn.Module):
    """The second stage.

    Args:
        channels: of every level.
        num_classes: with the background, which is class 0.
        settings: those that begin with ``box_``.
        box_width: of the two linear layers.
        mask_width: of the mask branch; 0 leaves it out (Faster R-CNN).
        mask_layers: convolutions of the mask branch.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        settings: Settings,
        box_width: int = 1024,
        mask_width: int = 256,
        mask_layers: int = 4,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.coder = BoxCoder(tuple(settings.bbox_reg_weights))
        self.box_head = BoxHead(channels, box_width)
        self.box_predictor = BoxPredictor(box_width, num_classes)
        self.mask_head = MaskHead(channels, mask_width, mask_layers) if mask_width else None
        self.mask_predictor = MaskPredictor(mask_width, num_classes) if mask_width else None

    def predict_boxes(
        self, levels: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Class logits (K, C) and offsets (K, C, 4) of all boxes of all images."""
        pooled = pool(levels, boxes, BOX_BINS, self.settings)
        return self.box_predictor(self.box_head(pooled))

    def predict_masks(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Mask logits (K, C, 28, 28) of all boxes of all images."""
        pooled = pool(levels, boxes, MASK_BINS, self.settings)
        return full_precision(self.mask_predictor(self.mask_head(pooled)))

    def losses(
        self, levels: Sequence[Tensor], proposals: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Cross entropy, smooth L1 and, per pixel of an object's own class, binary cross entropy.

        The sum of the three is L = L_cls + L_box + L_mask of He et al. (2017), section 3.
        """
        samples = [self.sample(p, t) for p, t in zip(proposals, targets, strict=True)]
        logits, offsets = self.predict_boxes(levels, [s.boxes for s in samples])
        labels = torch.cat([s.labels for s in samples])  # (K,)
        drawn = max(len(labels), 1)
        positive = (labels > 0).nonzero()[:, 0]
        # From here on only what lies on objects: background has neither box nor mask.
        samples = [Samples(*(part[s.labels > 0] for part in s)) for s in samples]
        wanted = [
            self.coder.encode(target["boxes"][s.objects], s.boxes)
            for s, target in zip(samples, targets, strict=True)
        ]
        box_loss = F.smooth_l1_loss(
            offsets[positive, labels[positive]], torch.cat(wanted), beta=BETA, reduction="sum"
        )
        losses = {
            "loss_classifier": F.cross_entropy(logits, labels, reduction="sum") / drawn,
            "loss_box_reg": box_loss / drawn,
        }
        if self.mask_head is not None:
            losses["loss_mask"] = self.mask_loss(levels, samples, targets)
        return losses

    def sample(self, proposals: Tensor, target: Target) -> Samples:
        """Draw proposals of an image; its objects are proposals too, so that training can begin."""
        s = self.settings
        boxes = torch.cat([proposals, target["boxes"]])
        match = match_iou(box_iou(target["boxes"], boxes), s.box_fg_iou_thresh, s.box_bg_iou_thresh)
        labels = target["labels"]
        labels = torch.cat([labels.new_tensor([-1, 0]), labels])[match + 2]  # -2: neither, -1: 0
        drawn = torch.cat(
            balanced_sample(labels, s.box_batch_size_per_image, s.box_positive_fraction)
        )
        return Samples(boxes[drawn], match[drawn], labels[drawn])

    def mask_loss(
        self, levels: Sequence[Tensor], samples: Sequence[Samples], targets: Sequence[Target]
    ) -> Tensor:
        """Of the class of the object only: classes do not compete for a pixel (section 3)."""
        logits = self.predict_masks(levels, [s.boxes for s in samples])  # (P, C, 28, 28)
        labels = torch.cat([s.labels for s in samples])
        if not len(labels):
            return logits.sum() * 0  # the parameters keep a gradient, as other processes expect
        wanted = [
            roi_align(
                target["masks"][:, None],
                torch.cat([s.objects[:, None].to(s.boxes), s.boxes], dim=1),
                logits.shape[-1],
            )[:, 0]
            for s, target in zip(samples, targets, strict=True)
        ]  # (P_n, 28, 28): the object's mask as far as the box shows it
        logits = logits[torch.arange(len(labels), device=labels.device), labels]
        return F.binary_cross_entropy_with_logits(logits, torch.cat(wanted))

    def detect(
        self, levels: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Sequence[Size]
    ) -> list[Target]:
        """Boxes (D, 4), labels (D,), scores (D,) and mask probabilities (D, 28, 28) of images."""
        logits, offsets = self.predict_boxes(levels, proposals)
        boxes = self.coder.decode(offsets, torch.cat(list(proposals))[:, None])  # (K, C, 4)
        counts = [len(p) for p in proposals]
        every = zip(boxes.split(counts), logits.softmax(1).split(counts), sizes, strict=True)
        detections = [self._select(*image) for image in every]
        if self.mask_head is None:
            return detections
        # Masks of the few boxes that are left, not of all proposals (section 3.1).
        masks = self.predict_masks(levels, [d["boxes"] for d in detections])  # (D, C, 28, 28)
        labels = torch.cat([d["labels"] for d in detections])
        masks = masks[torch.arange(len(labels), device=labels.device), labels].sigmoid()
        parts = masks.split([len(d["labels"]) for d in detections])
        return [d | {"masks": part} for d, part in zip(detections, parts, strict=True)]

    def _select(self, boxes: Tensor, scores: Tensor, size: Size) -> Target:
        """Of boxes (K, C, 4) and scores (K, C) of an image, what is good and not said twice."""
        s = self.settings
        boxes = clip_boxes(boxes, size)[:, 1:].flatten(0, 1)  # (K · (C - 1), 4), no background
        labels = torch.arange(1, scores.shape[1], device=scores.device).repeat(len(scores))
        scores = scores[:, 1:].flatten()
        good = (scores > s.box_score_thresh) & (sides(boxes) >= MIN_SIDE).all(1)
        boxes, labels, scores = boxes[good], labels[good], scores[good]
        kept = batched_nms(boxes, scores, labels, s.box_nms_thresh)[: s.box_detections_per_img]
        return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}


def pool(
    levels: Sequence[Tensor], boxes: Sequence[Tensor], bins: int, settings: Settings
) -> Tensor:
    """RoIAlign of each box on the level that fits its size, Lin et al. (2017), equation 1.

    As in torchvision, samples are not aligned to the centres of the features.

    Args:
        levels: (N, C, h, w) of strides 4, 8, 16, 32; coarser ones are not used.
        boxes: of each image, xyxy (K_n, 4).
        bins: a side.
        settings: ``canonical_scale`` and ``sampling_ratio``.

    Returns:
        (K, C, bins, bins), K the boxes of all images.
    """
    image = [torch.full_like(b[:, :1], n) for n, b in enumerate(boxes)]
    rois = torch.cat([torch.cat(image), torch.cat(list(boxes))], dim=1)  # (K, 5)
    scale = box_area(rois[:, 1:]).sqrt() / settings.canonical_scale
    level = (4 + scale.log2() + 1e-6).floor().clamp(2, 5) - 2  # (K,), 4 is the level of stride 16
    dtype = torch.promote_types(levels[0].dtype, rois.dtype)  # half precision is too coarse here
    pooled = levels[0].new_zeros(len(rois), levels[0].shape[1], bins, bins, dtype=dtype)
    for i, stride in enumerate(STRIDES):
        mine = (level == i).nonzero()[:, 0]
        features = levels[i].to(dtype)
        pooled[mine] = roi_align(features, rois[mine], bins, 1 / stride, settings.sampling_ratio)
    return pooled
