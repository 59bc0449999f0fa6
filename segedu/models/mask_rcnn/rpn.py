"""The region proposal network, Ren et al. (2015), section 3.1, on a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.mask_rcnn.settings import Settings
from segedu.models.mask_rcnn.transform import Batch, Size, Target, sides
from segedu.ops import (
    BoxCoder,
    balanced_sample,
    batched_nms,
    box_iou,
    clip_boxes,
    match_iou,
    pyramid_anchors,
)
from segedu.ops.precision import full_precision

MIN_SIDE = 1e-3  # pixels; what is thinner lies outside the image
BETA = 1 / 9  # where the box losses turn from a square into an absolute value


class RPNHead(nn.Module):
    """A 3x3 convolution, then, side by side, objectness and box offsets of each anchor.

    Args:
        channels: of every level; the levels share the weights.
        anchors: at each place, A.
    """

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv = nn.Sequential(nn.Sequential(conv, nn.ReLU(inplace=True)))
        self.cls_logits = nn.Conv2d(channels, anchors, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * anchors, 1)
        for layer in (conv, self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Levels (N, channels, h, w) -> logits (N, h·w·A) and offsets (N, h·w·A, 4) of each."""
        logits, offsets = [], []
        for level in levels:
            x = self.conv(level)
            logit = self.cls_logits(x)  # (N, A, h, w)
            offset = self.bbox_pred(x).unflatten(1, (-1, 4))  # (N, A, 4, h, w)
            logits.append(full_precision(logit.permute(0, 2, 3, 1).flatten(1)))
            offsets.append(full_precision(offset.permute(0, 3, 4, 1, 2).flatten(1, 3)))
        return logits, offsets


class RegionProposalNetwork(nn.Module):
    """Where might there be an object, of whatever class?

    Args:
        channels: of every level.
        settings: those that begin with ``rpn_``, and the anchors.
    """

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.coder = BoxCoder()
        self.head = RPNHead(channels, len(settings.aspect_ratios))

    def forward(
        self, batch: Batch, levels: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each image, xyxy (K_n, 4), best first, and with targets the losses."""
        logits, offsets = self.head(levels)
        anchors = self.anchors(batch, levels)
        proposals = self.propose(logits, offsets, anchors, batch.sizes)
        if targets is None:
            return proposals, {}
        return proposals, self.losses(
            torch.cat(logits, 1), torch.cat(offsets, 1), torch.cat(anchors), targets
        )

    def anchors(self, batch: Batch, levels: Sequence[Tensor]) -> list[Tensor]:
        """Anchors of each level, xyxy (h·w·A, 4) in pixels of the batch."""
        return pyramid_anchors(
            tuple(batch.images.shape[-2:]),
            [tuple(level.shape[-2:]) for level in levels],
            [(size,) for size in self.settings.anchor_sizes],
            [self.settings.aspect_ratios] * len(levels),
            device=batch.images.device,
        )

    @torch.no_grad()
    def propose(
        self,
        logits: Sequence[Tensor],
        offsets: Sequence[Tensor],
        anchors: Sequence[Tensor],
        sizes: Sequence[Size],
    ) -> list[Tensor]:
        """The best anchors of each level, moved by their offsets: xyxy (K_n, 4) of each image."""
        s = self.settings
        most = s.rpn_pre_nms_top_n_train if self.training else s.rpn_pre_nms_top_n_test
        boxes, scores, level = [], [], []
        for i, (logit, offset, anchor) in enumerate(zip(logits, offsets, anchors, strict=True)):
            best, index = logit.topk(min(most, logit.shape[1]), dim=1)  # (N, k)
            offset = offset.gather(1, index[..., None].expand(-1, -1, 4))  # (N, k, 4)
            boxes.append(self.coder.decode(offset, anchor[index]))
            scores.append(best.sigmoid())
            level.append(torch.full_like(index[0], i))
        every = zip(torch.cat(boxes, 1), torch.cat(scores, 1), sizes, strict=True)
        return [self._select(*image, torch.cat(level)) for image in every]

    def _select(self, boxes: Tensor, scores: Tensor, size: Size, level: Tensor) -> Tensor:
        """Of the candidates of an image, (k, 4), those that are left after NMS on each level."""
        s = self.settings
        most = s.rpn_post_nms_top_n_train if self.training else s.rpn_post_nms_top_n_test
        boxes = clip_boxes(boxes, size)
        good = (sides(boxes) >= MIN_SIDE).all(1) & (scores >= s.rpn_score_thresh)
        boxes, scores, level = boxes[good], scores[good], level[good]
        return boxes[batched_nms(boxes, scores, level, s.rpn_nms_thresh)[:most]]

    def losses(
        self, logits: Tensor, offsets: Tensor, anchors: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Binary cross entropy of drawn anchors, smooth L1 of those on objects (equation 1).

        Args:
            logits: (N, A), all levels together.
            offsets: (N, A, 4).
            anchors: (A, 4).
            targets: of each image.
        """
        logit, label, offset, wanted = [], [], [], []
        for n, target in enumerate(targets):
            objects, positive, negative = self.sample(anchors, target)
            logit.append(logits[n, torch.cat([positive, negative])])
            label.append(torch.cat([torch.ones_like(positive), torch.zeros_like(negative)]))
            offset.append(offsets[n, positive])
            wanted.append(self.coder.encode(target["boxes"][objects], anchors[positive]))
        logit = torch.cat(logit)
        label = torch.cat(label).to(logit.dtype)
        box_loss = F.smooth_l1_loss(
            torch.cat(offset), torch.cat(wanted), beta=BETA, reduction="sum"
        )
        return {
            "loss_objectness": F.binary_cross_entropy_with_logits(logit, label),
            "loss_rpn_box_reg": box_loss / len(label),
        }

    def sample(self, anchors: Tensor, target: Target) -> tuple[Tensor, Tensor, Tensor]:
        """Draw anchors: objects of the positives, positives and negatives, int64 each."""
        s = self.settings
        match = match_iou(
            box_iou(target["boxes"], anchors),
            s.rpn_fg_iou_thresh,
            s.rpn_bg_iou_thresh,
            low_quality=True,
        )  # (A,): an object, -1 for background or -2 for neither
        positive, negative = balanced_sample(
            match.clamp(max=0) + 1, s.rpn_batch_size_per_image, s.rpn_positive_fraction
        )
        return match[positive], positive, negative
