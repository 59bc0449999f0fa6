"""YOLACT: Real-time Instance Segmentation. Bolya, Zhou, Xiao & Lee, ICCV 2019 (arXiv:1904.02689).

Masks without cutting regions out of a map: the network draws a few prototype masks of the whole
image, and each detection says with which coefficients to add them up.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures, Weights
from segedu.models.fpn import FeaturePyramid
from segedu.models.targets import Target, check_images, check_instances, normalize
from segedu.ops import (
    BoxCoder,
    box_area,
    box_convert,
    box_iou,
    clip_boxes,
    crop_masks,
    fast_nms,
    match_iou,
)

IMAGE_MEAN = (123.68 / 255, 116.78 / 255, 103.94 / 255)  # RGB; the authors' own
IMAGE_STD = (58.40 / 255, 57.12 / 255, 57.38 / 255)
ANCHOR_SIZES = (24 / 550, 48 / 550, 96 / 550, 192 / 550, 384 / 550)  # of P3 to P7
ASPECT_RATIOS = (1.0, 0.5, 2.0)
CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))  # SSD's variances 0.1 and 0.2
BACKGROUND, NEUTRAL = 0, -1  # labels of anchors without an object
POSITIVE_IOU, NEGATIVE_IOU, CROWD_IOU = 0.5, 0.4, 0.7
NEGATIVES = 3  # hard negatives for each positive
MASKS_TO_TRAIN = 100  # positives of an image whose masks are learnt
BOX_WEIGHT, MASK_WEIGHT = 1.5, 6.125  # those of the class and the semantic loss are 1


class Pyramid(nn.Module):
    """P3 to P7 (section 4): an FPN on C3 to C5 and two convolutions of stride 2 on top of it.

    Different from Lin et al., as in the authors' code: bilinear upsampling, and a ReLU after each
    3x3 convolution of the FPN (none after the two on top).
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.fpn = FeaturePyramid(in_channels, channels, upsample="bilinear")
        self.downsample = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(2)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps of stride 8, 16 and 32 -> maps (N, channels, h, w) of stride 8, ..., 128."""
        levels = [F.relu(level) for level in self.fpn(features)]
        for conv in self.downsample:
            levels.append(conv(levels[-1]))
        return levels


class ProtoNet(nn.Sequential):
    """Prototype masks (section 3.1, figure 3): P3 (N, C, h, w) -> (N, prototypes, 2h, 2w).

    The last ReLU keeps them at or above zero but unbounded: a prototype may be very sure.
    """

    def __init__(self, channels: int, prototypes: int) -> None:
        def conv() -> list[nn.Module]:
            return [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]

        upsample = nn.Upsample(scale_factor=2, mode="bilinear")
        last = nn.Conv2d(channels, prototypes, 1)
        super().__init__(*conv(), *conv(), *conv(), upsample, *conv(), last, nn.ReLU(inplace=True))


class Head(nn.Module):
    """Class scores, box offsets and mask coefficients of every anchor (section 3.2, figure 4).

    One head for all levels, three anchors at a place. tanh lets a detection take a prototype away.
    """

    def __init__(self, channels: int, num_classes: int, prototypes: int) -> None:
        super().__init__()
        self.widths = (4, num_classes, prototypes)
        self.shared = nn.Conv2d(channels, channels, 3, padding=1)
        self.box, self.score, self.coefficient = (
            nn.Conv2d(channels, len(ASPECT_RATIOS) * width, 3, padding=1) for width in self.widths
        )

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps (N, C, h_i, w_i) -> (N, A, 4), (N, A, num_classes), (N, A, prototypes)."""
        levels = [F.relu(self.shared(level)) for level in levels]
        boxes, scores, coefficients = (
            torch.cat([_per_anchor(conv(level), width) for level in levels], dim=1)
            for conv, width in zip(
                (self.box, self.score, self.coefficient), self.widths, strict=True
            )
        )
        return boxes, scores, coefficients.tanh()


def _per_anchor(x: Tensor, width: int) -> Tensor:
    """(N, 3 * width, h, w) -> (N, h * w * 3, width), row by row, the three of a place together."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, width)


def square_anchors(grids: Sequence[tuple[int, int]]) -> Tensor:
    """Anchors at the centres of the cells of each level's grid (h, w): xyxy (A, 4), image = [0, 1].

    Faithful to the authors' code, not to the paper: widths are ``size * sqrt(ratio)``, but heights
    are the same (a slip that the published weights are used to), so the "aspect ratios" 1, 1/2 and
    2 are three sizes.
    """
    levels = []
    for grid, size in zip(grids, ANCHOR_SIZES, strict=True):
        y, x = ((torch.arange(n) + 0.5) / n for n in grid)
        side = size * torch.tensor(ASPECT_RATIOS).sqrt()  # (3,)
        y, x, side = torch.broadcast_tensors(y[:, None, None], x[:, None], side)  # (h, w, 3)
        levels.append(torch.stack((x, y, side, side), dim=-1).reshape(-1, 4))
    return box_convert(torch.cat(levels), "cxcywh", "xyxy")


class Output(NamedTuple):
    """What the network says of N images with A anchors."""

    boxes: Tensor  #: (N, A, 4), offsets from the anchors
    scores: Tensor  #: (N, A, num_classes), logits, background first
    coefficients: Tensor  #: (N, A, K) in (-1, 1)
    prototypes: Tensor  #: (N, K, h, w), >= 0
    semantic: Tensor  #: (N, num_classes - 1, h / 2, w / 2), logits


def assemble(prototypes: Tensor, coefficients: Tensor) -> Tensor:
    """Equation 1 before its sigmoid: prototypes (K, h, w), coefficients (P, K) -> (P, h, w)."""
    return torch.einsum("pk,khw->phw", coefficients, prototypes)


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


# The criterion stands here and not in `segedu.losses`: those losses take logits and label maps and
# know no anchors, and models and losses do not import each other.
def yolact_losses(
    output: Output, anchors: Tensor, objects: Sequence[Objects], crowds: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Scalars ``loss_classifier``, ``loss_box_reg``, ``loss_mask`` and ``loss_semantic``.

    The first three are summed and divided by the number of positive anchors of the batch, the last
    by the number of images. An image without objects has no positives, hence no hard negatives: it
    teaches the semantic branch alone (the authors leave such images out).
    """
    sums, positives = torch.zeros(4, device=anchors.device), 0
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
    boxes = truth.boxes[index] * _edges(logits, logits.shape[1:])
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


class YOLACT(nn.Module):
    """YOLACT on a ResNet, with the contract of torchvision's detection models.

    ``model(images)`` takes images (3, H, W) in [0, 1] of any sizes in a list and, in training,
    targets: dicts of ``boxes`` xyxy (M, 4) in pixels, ``labels`` int64 (M,) from 1 on (0 is the
    background), ``masks`` (M, H, W), optionally ``iscrowd`` (M,). It returns a dict of four losses
    in training; else for each image ``boxes`` (D, 4), ``labels`` (D,), ``scores`` (D,) and
    ``masks`` (D, 1, H, W), probabilities.

    Faithful (paper and authors' code, dbolya/yolact): every image is resized to a square,
    whatever its shape; a pyramid from C3 to C5, two levels more; 32 prototypes from P3; one shared
    head with tanh coefficients; square anchors; OHEM 3 : 1; losses and their weights; crop to the
    box; Fast NMS; masks cut before they are enlarged. The weights of the authors load, see
    `from_reference`. Different: the mask loss is taken of logits, which is the same but where a
    probability is 0 or 1; an image without objects is allowed; boxes stay fractions of a pixel.

    Parameters with 81 classes (COCO): 31,164,943 (50), 50,157,071 (101).

    Args:
        num_classes: classes, including the background.
        depth: of the ResNet, 50 or 101.
        base_width: width of the first ResNet stage; 64 is the paper's, with 256 in the rest.
        layers: blocks per ResNet stage, overrides ``depth``.
        prototypes: number K of prototype masks.
        image_size: side of the square that the network sees, in pixels.
        score_thresh: an anchor takes part if its best class reaches more.
        nms_thresh: largest IoU with a better detection of the class.
        topk_candidates: best anchors of each class that take part in Fast NMS.
        detections_per_img: best detections that are returned.
        weights: of the ResNet, see `segedu.models.backbones.read_weights`.

    Example:
        >>> model = YOLACT(3, base_width=4, layers=(1, 1, 1, 1), image_size=64).eval()
        >>> (detections,) = model([torch.rand(3, 40, 60)])
        >>> sorted(detections), detections["masks"].shape[1:]
        (['boxes', 'labels', 'masks', 'scores'], torch.Size([1, 40, 60]))
    """

    def __init__(
        self,
        num_classes: int,
        *,
        depth: int = 50,
        base_width: int = 64,
        layers: tuple[int, ...] | None = None,
        prototypes: int = 32,
        image_size: int = 550,
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        topk_candidates: int = 200,
        detections_per_img: int = 100,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes includes the background: at least 2, got {num_classes}")
        self.num_classes, self.image_size = num_classes, image_size
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.topk_candidates, self.detections_per_img = topk_candidates, detections_per_img
        self.backbone = ResNetFeatures(depth, base_width=base_width, layers=layers, weights=weights)
        channels = 4 * base_width
        self.pyramid = Pyramid(self.backbone.channels[1:], channels)
        self.protonet = ProtoNet(channels, prototypes)
        self.head = Head(channels, num_classes, prototypes)
        self.semantic = nn.Conv2d(channels, num_classes - 1, 1)
        for part in (self.pyramid, self.protonet, self.head, self.semantic):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.xavier_uniform_(module.weight)
                    nn.init.zeros_(module.bias)

    def network(self, batch: Tensor) -> tuple[Output, Tensor]:
        """Normalised squares (N, 3, S, S) -> what the network says, and the anchors (A, 4)."""
        levels = self.pyramid(self.backbone(batch)[1:])  # (N, 256, S/8, S/8), ..., stride 128
        boxes, scores, coefficients = self.head(levels)
        prototypes = self.protonet(levels[0])  # (N, K, S/4, S/4)
        output = Output(boxes, scores, coefficients, prototypes, self.semantic(levels[0]))
        anchors = square_anchors([level.shape[-2:] for level in levels])
        return Output(*(part.float() for part in output)), anchors.to(batch.device)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, else detections; see the class.

        Raises:
            TypeError, ValueError: images or targets that are not as the class says.
        """
        check_images(images, targets, self.training)
        output, anchors = self.network(torch.stack([self._square(image) for image in images]))
        if not self.training:
            return [
                self.detect(Output(*(part[i] for part in output)), anchors, image.shape[-2:])
                for i, image in enumerate(images)
            ]
        objects, crowds = [], []
        for i, (image, target) in enumerate(zip(images, targets, strict=True)):
            check_instances(target, tuple(image.shape[-2:]), self.num_classes, f"targets[{i}]")
            truth, crowd = _split(target, image)
            objects.append(truth)
            crowds.append(crowd)
        return yolact_losses(output, anchors, objects, crowds)

    def detect(self, output: Output, anchors: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """Detections of one image of ``size`` (H, W) from its part of the output."""
        scores = output.scores.softmax(1)[:, 1:].T  # (C - 1, A)
        kept = scores.amax(0) > self.score_thresh
        boxes = CODER.decode(output.boxes[kept], anchors[kept])  # (B, 4)
        index, labels, scores = fast_nms(
            boxes,
            scores[:, kept],
            iou_threshold=self.nms_thresh,
            top_k=self.topk_candidates,
            max_detections=self.detections_per_img,
        )
        boxes = boxes[index]  # (D, 4)
        masks = assemble(output.prototypes, output.coefficients[kept][index]).sigmoid()
        masks = crop_masks(masks, boxes * _edges(boxes, masks.shape[1:]), padding=1)
        masks = F.interpolate(masks[:, None], size, mode="bilinear")  # (D, 1, H, W)
        boxes = clip_boxes(boxes * _edges(boxes, size), size)
        return {"boxes": boxes, "labels": labels + 1, "scores": scores, "masks": masks}

    def _square(self, image: Tensor) -> Tensor:
        """Normalised (3, S, S), the aspect ratio lost."""
        size = (self.image_size, self.image_size)
        image = F.interpolate(image[None], size, mode="bilinear")[0]
        return normalize(image, IMAGE_MEAN, IMAGE_STD)


def _split(target: Target, image: Tensor) -> tuple[Objects, Tensor]:
    """The objects of a target, and the boxes of its crowds, all with the image = [0, 1]."""
    boxes = target["boxes"].float() / _edges(image.float(), image.shape[-2:])
    crowd = target.get("iscrowd", torch.zeros_like(target["labels"])).bool()
    masks = target["masks"][~crowd].float()
    return Objects(boxes[~crowd], target["labels"][~crowd], masks), boxes[crowd]


def _edges(like: Tensor, size: tuple[int, int]) -> Tensor:
    """(W, H, W, H), what a box in fractions of an image of ``size`` (H, W) is multiplied by."""
    height, width = size
    return like.new_tensor([width, height, width, height])


# Beginnings of names in the authors' checkpoints, and ours. Their FPN counts from the top.
NAMES = {
    **{f"backbone.layers.{i}.": f"backbone.layer{i + 1}." for i in range(4)},
    **{f"fpn.lat_layers.{i}.": f"pyramid.fpn.inner_blocks.{2 - i}.0." for i in range(3)},
    **{f"fpn.pred_layers.{i}.": f"pyramid.fpn.layer_blocks.{2 - i}.0." for i in range(3)},
    "fpn.downsample_layers.": "pyramid.downsample.",
    # their protonet has one more ReLU, after the upsampling, where nothing is negative
    "proto_net.8.": "protonet.7.",
    "proto_net.10.": "protonet.9.",
    "proto_net.": "protonet.",
    "prediction_layers.0.upfeature.0.": "head.shared.",
    "prediction_layers.0.bbox_layer.": "head.box.",
    "prediction_layers.0.conf_layer.": "head.score.",
    "prediction_layers.0.mask_layer.": "head.coefficient.",
    "semantic_seg_conv.": "semantic.",
}


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of dbolya/yolact, renamed for `YOLACT` with 81 classes.

    ``model.load_state_dict(from_reference(read_weights("yolact_resnet50_54_800000.pth")))``
    """
    renamed = {}
    for name, tensor in state.items():
        old = next((prefix for prefix in NAMES if name.startswith(prefix)), None)
        renamed[name if old is None else NAMES[old] + name.removeprefix(old)] = tensor
    return renamed


def yolact_tiny(
    num_classes: int, *, base_width: int = 16, image_size: int = 256, **settings: Any
) -> YOLACT:
    """A narrow YOLACT that learns scenes of 128 x 128 pixels on a CPU, 16 prototypes.

    It looks at them enlarged to 256 x 256, as the paper does with small images.

    Args:
        num_classes: classes, including the background.
        base_width: see `YOLACT`.
        image_size: see `YOLACT`.
        **settings: see `YOLACT`.
    """
    settings = {"layers": (1, 1, 1, 1), "prototypes": 16} | settings
    return YOLACT(num_classes, base_width=base_width, image_size=image_size, **settings)
