"""Panoptic FPN, Kirillov et al., CVPR 2019 (arXiv:1901.02446): two heads on one feature pyramid."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.blocks import resize
from segedu.models.fpn import SemanticBranch
from segedu.models.mask_rcnn import MaskRCNN, mask_rcnn_resnet50_fpn, mask_rcnn_tiny
from segedu.models.mask_rcnn.transform import Batch
from segedu.models.panoptic import PanopticCanvas
from segedu.models.targets import VOID, Target, check_images, check_segments, things_of
from segedu.ops import masks_to_boxes, resize_labels
from segedu.ops.precision import full_precision

THINGS = 0  # the semantic class that all things share
LEVELS = 4  # of the pyramid, strides 4 to 32, that the semantic head sees


class SemanticHead(nn.Module):
    """Semantic FPN (section 3, figure 3) with one class for all things, then those of stuff.

    Args:
        channels: of the pyramid.
        num_classes: 1 + the classes of stuff.
        width: channels of the sum, a multiple of 4; 128 is the paper's.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 128) -> None:
        super().__init__()
        self.branch = SemanticBranch(channels, width, LEVELS)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, levels: Sequence[Tensor], images: Tensor) -> Tensor:
        """Levels and images (N, 3, H, W) -> logits (N, num_classes, H, W)."""
        return full_precision(resize(self.classifier(self.branch(levels[:LEVELS])), images))


class PanopticFPN(nn.Module):
    """Mask R-CNN for the things, semantic FPN for the stuff, and a rule for who gets a pixel.

    Args:
        mask_rcnn: with one class for each thing and the background.
        channels: of its pyramid.
        num_classes: classes, stuff and things, 0 to ``num_classes`` - 1.
        things: classes that are things; all if not given.
        width: of the semantic head.
        semantic_weight: of its loss beside Mask R-CNN's (lambda_s of section 3).
        score_threshold: least score of an object.
        overlap: an object goes if more than this share of it is already taken by better ones.
        stuff_area: least free pixels of a stuff class.

    Raises:
        ValueError: things that are no classes, or none.
    """

    def __init__(
        self,
        mask_rcnn: MaskRCNN,
        channels: int,
        num_classes: int,
        things: Collection[int] | None = None,
        *,
        width: int = 128,
        semantic_weight: float = 0.5,
        score_threshold: float = 0.5,
        overlap: float = 0.5,
        stuff_area: int = 4096,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.things = thing_classes(num_classes, things)
        self.stuff = tuple(c for c in range(num_classes) if c not in self.things)
        self.semantic_weight = semantic_weight
        self.rules = {
            "score_threshold": score_threshold,
            "overlap": overlap,
            "stuff_area": stuff_area,
        }
        self.mask_rcnn = mask_rcnn
        self.semantic_head = SemanticHead(channels, 1 + len(self.stuff), width)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, else a panoptic result for each image.

        Args:
            images: a list of float (3, H_i, W_i) in [0, 1], of any sizes.
            targets: in training panoptic samples: ``panoptic_seg`` integer (H_i, W_i), and
                ``segments_info``, a list of ``id`` >= 1, ``category_id`` and, optionally,
                ``iscrowd``. All other pixels are void. Otherwise unused.

        Returns:
            In training Mask R-CNN's losses and ``loss_semantic``, weighted, to be added. Else for
            each image ``panoptic_seg`` int32 (H_i, W_i), 0 is void, and ``segments_info``, a list
            of ``id``, ``category_id``, ``isthing``, ``area`` and, of things, ``score``.

        Raises:
            TypeError, ValueError: images or targets that cannot be what was meant.
        """
        detector = self.mask_rcnn
        check_images(images, targets, self.training, len(detector.settings.image_mean))
        if not self.training:
            batch, levels, _ = detector.encode(images)
            pairs = zip(
                detector.detect(batch, levels), self.semantic_maps(levels, batch), strict=True
            )
            return [self.fuse(*pair) for pair in pairs]
        for i, (target, image) in enumerate(zip(targets, images, strict=True)):
            check_segments(target, tuple(image.shape[-2:]), self.num_classes, f"targets[{i}]")
        objects = [thing_targets(target, self.things) for target in targets]
        maps = [stuff_target(target, self.stuff) for target in targets]
        batch, levels, objects = detector.encode(images, objects)
        loss = self.semantic_weight * self.semantic_loss(levels, batch, maps)
        return detector.losses(batch, levels, objects) | {"loss_semantic": loss}

    def semantic_loss(
        self, levels: Sequence[Tensor], batch: Batch, maps: Sequence[Tensor]
    ) -> Tensor:
        """Cross entropy, the mean over the pixels that are neither void nor padding."""
        logits = self.semantic_head(levels, batch.images)
        wanted = torch.full_like(logits[:, 0], VOID, dtype=torch.int64)  # (N, H, W)
        for canvas, map_, (height, width) in zip(wanted, maps, batch.sizes, strict=True):
            canvas[:height, :width] = resize_labels(map_, (height, width))
        loss = F.cross_entropy(logits, wanted, ignore_index=VOID, reduction="sum")
        return loss / (wanted != VOID).sum().clamp(min=1)

    def semantic_maps(self, levels: Sequence[Tensor], batch: Batch) -> list[Tensor]:
        """The best semantic class of each pixel of the caller's images, int64 (H_i, W_i)."""
        logits = self.semantic_head(levels, batch.images)
        maps = []
        for logit, (height, width), original in zip(logits, *batch[1:], strict=True):
            logit = logit[None, :, :height, :width]
            maps.append(F.interpolate(logit, original, mode="bilinear")[0].argmax(0))
        return maps

    def fuse(self, detection: Mapping[str, Tensor], semantic: Tensor) -> dict[str, Any]:
        """`fuse` with the classes and the rules of this network."""
        return fuse(detection, semantic, self.things, self.stuff, **self.rules)


def fuse(
    detection: Mapping[str, Tensor],
    semantic: Tensor,
    things: Sequence[int],
    stuff: Sequence[int],
    *,
    score_threshold: float = 0.5,
    overlap: float = 0.5,
    stuff_area: int = 4096,
) -> dict[str, Any]:
    """Give every pixel to at most one segment (section 3, "Panoptic inference").

    Objects first, the surest of them first: each takes what is still free of its mask, unless too
    much of it is gone. Then stuff takes what is left, if that is not too little.

    Args:
        detection: of one image: ``labels`` (D,), 1 for the first thing; ``scores`` (D,), best
            first; ``masks``, probabilities (D, 1, H, W).
        semantic: int64 (H, W), 0 for things, 1 for the first class of stuff.
        things: class of each thing.
        stuff: class of each kind of stuff.
        score_threshold: least score of an object.
        overlap: largest share of an object that may be gone already.
        stuff_area: least number of pixels of a stuff segment.

    Returns:
        ``panoptic_seg`` int32 (H, W), 0 is void, and ``segments_info``.
    """
    canvas = PanopticCanvas(semantic.shape, semantic.device)
    masks = detection["masks"][:, 0] >= 0.5  # (D, H, W)
    labels, scores = detection["labels"].tolist(), detection["scores"].tolist()
    for mask, label, score in zip(masks, labels, scores, strict=True):
        free = mask & (canvas.panoptic_seg == 0)
        area, left = int(mask.sum()), int(free.sum())
        if score >= score_threshold and left and area - left <= overlap * area:
            canvas.add(free, things[label - 1], isthing=True, score=score)
    for label, category in enumerate(stuff, start=1):
        mask = (semantic == label) & (canvas.panoptic_seg == 0)
        if (area := int(mask.sum())) and area >= stuff_area:
            canvas.add(mask, category, isthing=False)
    return canvas.result()


def thing_classes(num_classes: int, things: Collection[int] | None) -> tuple[int, ...]:
    """`things_of`, at least one.

    Raises:
        ValueError: there is none, or one is no class.
    """
    chosen = things_of(num_classes, things)
    if not chosen:
        raise ValueError(f"things must be one or more of the classes 0 to {num_classes - 1}")
    return chosen


def thing_targets(target: Target, things: Sequence[int]) -> dict[str, Tensor]:
    """What Mask R-CNN learns from a panoptic sample: ``boxes``, ``labels`` from 1 on, ``masks``.

    Crowds and segments without a pixel are left out.
    """
    ids = target["panoptic_seg"].as_subclass(Tensor)
    segments = [
        s for s in target["segments_info"] if s["category_id"] in things and not s.get("iscrowd")
    ]
    labels = ids.new_tensor([1 + things.index(s["category_id"]) for s in segments]).long()
    masks = ids == ids.new_tensor([s["id"] for s in segments])[:, None, None]  # (M, H, W)
    seen = masks.flatten(1).any(1)
    masks = masks[seen]
    return {"boxes": masks_to_boxes(masks), "labels": labels[seen], "masks": masks}


def stuff_target(target: Target, stuff: Sequence[int]) -> Tensor:
    """What the semantic head learns from it: int64 (H, W), 0 for things, 1 for the first stuff."""
    ids = target["panoptic_seg"].as_subclass(Tensor)
    semantic = torch.full_like(ids, VOID, dtype=torch.int64)
    for segment in target["segments_info"]:
        category = segment["category_id"]
        semantic[ids == segment["id"]] = 1 + stuff.index(category) if category in stuff else THINGS
    return semantic


def panoptic_fpn_resnet50(
    num_classes: int,
    *,
    things: Collection[int] | None = None,
    semantic_weight: float = 0.5,
    score_threshold: float = 0.5,
    overlap: float = 0.5,
    stuff_area: int = 4096,
    **settings: Any,
) -> PanopticFPN:
    """Panoptic FPN on ResNet-50.

    Faithful: Mask R-CNN and a semantic head on one pyramid; 3, 2, 1 and no upsampling steps, each a
    3x3 convolution of 128, group normalisation, ReLU and bilinear upsampling by 2; one semantic
    class for all things; losses added, the semantic one times 0.5 (table 3c); fusion by score,
    overlap and area of the stuff. The Mask R-CNN is ours and torchvision's, see
    `segedu.models.mask_rcnn.mask_rcnn_resnet50_fpn` for how that differs.

    Parameters: 45,707,092 with 21 classes, all of them things; 46,031,467 for COCO's 80 things and
    53 kinds of stuff. Those are detectron2's 45,973,990, the weights of the normalisations that it
    freezes (53,120), and the box and mask of the background that it does not have (4,357).

    Args:
        num_classes: classes, stuff and things, 0 to ``num_classes`` - 1.
        things: classes that are things; all if not given.
        semantic_weight: of the semantic loss.
        score_threshold: least score of an object.
        overlap: largest share of an object that better ones may have taken.
        stuff_area: least number of pixels of a stuff segment.
        **settings: as of ``mask_rcnn_resnet50_fpn``, without ``weights`` and ``masks``.

    Example:
        >>> model = panoptic_fpn_resnet50(5, things=(3, 4), min_size=64).eval()
        >>> with torch.no_grad():
        ...     (result,) = model([torch.rand(3, 60, 80)])
        >>> result["panoptic_seg"].shape
        torch.Size([60, 80])
    """
    things = thing_classes(num_classes, things)
    mask_rcnn = mask_rcnn_resnet50_fpn(1 + len(things), **settings)
    model = PanopticFPN(
        mask_rcnn,
        256,
        num_classes,
        things,
        semantic_weight=semantic_weight,
        score_threshold=score_threshold,
        overlap=overlap,
        stuff_area=stuff_area,
    )
    model.instead_of_weights = mask_rcnn.instead_of_weights
    return model


def panoptic_fpn_tiny(
    num_classes: int,
    *,
    things: Collection[int] | None = None,
    channels: int = 48,
    width: int = 48,
    semantic_weight: float = 0.5,
    stuff_area: int = 64,
    **settings: Any,
) -> PanopticFPN:
    """Panoptic FPN on `segedu.models.mask_rcnn.mask_rcnn_tiny`, for images of 128 x 128.

    Parameters: 955,492 with 21 classes, all of them things.

    Args:
        num_classes: classes, stuff and things, 0 to ``num_classes`` - 1.
        things: classes that are things; all if not given.
        channels: of the pyramid.
        width: of the semantic head, a multiple of 4.
        semantic_weight: of the semantic loss.
        stuff_area: least number of pixels of a stuff segment.
        **settings: as of ``mask_rcnn_tiny``.

    Example:
        >>> model = panoptic_fpn_tiny(12, things=range(7, 12)).eval()
        >>> with torch.no_grad():
        ...     sorted(model([torch.rand(3, 128, 128)])[0])
        ['panoptic_seg', 'segments_info']
    """
    things = thing_classes(num_classes, things)
    return PanopticFPN(
        mask_rcnn_tiny(1 + len(things), channels=channels, **settings),
        channels,
        num_classes,
        things,
        width=width,
        semantic_weight=semantic_weight,
        stuff_area=stuff_area,
    )
