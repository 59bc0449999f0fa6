"""YOLACT: the network, its detections, and its published weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures, Weights
from segedu.models.targets import Target, check_images, check_instances, normalize
from segedu.models.yolact.loss import Objects, yolact_losses
from segedu.models.yolact.parts import (
    CODER,
    Head,
    Output,
    ProtoNet,
    Pyramid,
    assemble,
    edges,
    square_anchors,
)
from segedu.ops import clip_boxes, crop_masks, fast_nms
from segedu.ops.precision import full_precision

IMAGE_MEAN = (123.68 / 255, 116.78 / 255, 103.94 / 255)  # RGB; the authors' own
IMAGE_STD = (58.40 / 255, 57.12 / 255, 57.38 / 255)


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
        _check_num_classes(num_classes)
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
            _initialize(part)

    def encode(self, images: Sequence[Tensor]) -> tuple[Output, Tensor]:
        """What the network says of images as in `forward`, and the anchors (A, 4)."""
        return self.network(torch.stack([self._square(image) for image in images]))

    def network(self, batch: Tensor) -> tuple[Output, Tensor]:
        """Normalised squares (N, 3, S, S) -> what the network says, and the anchors (A, 4)."""
        levels = self.pyramid(self.backbone(batch)[1:])  # (N, 256, S/8, S/8), ..., stride 128
        boxes, scores, coefficients = self.head(levels)
        prototypes = self.protonet(levels[0])  # (N, K, S/4, S/4)
        output = Output(boxes, scores, coefficients, prototypes, self.semantic(levels[0]))
        output = Output(*(full_precision(part) for part in output))
        return output, square_anchors([level.shape[-2:] for level in levels], output.boxes)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, else detections; see the class.

        Raises:
            TypeError, ValueError: images or targets that are not as the class says.
        """
        check_images(images, targets, self.training)
        output, anchors = self.encode(images)
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
        masks = crop_masks(masks, boxes * edges(boxes, masks.shape[1:]), padding=1)
        masks = F.interpolate(masks[:, None], size, mode="bilinear")  # (D, 1, H, W)
        boxes = clip_boxes(boxes * edges(boxes, size), size)
        return {"boxes": boxes, "labels": labels + 1, "scores": scores, "masks": masks}

    def _square(self, image: Tensor) -> Tensor:
        """Normalised (3, S, S), the aspect ratio lost."""
        size = (self.image_size, self.image_size)
        image = F.interpolate(image[None], size, mode="bilinear")[0]
        return normalize(image, IMAGE_MEAN, IMAGE_STD)


def finetune(model: YOLACT, num_classes: int) -> YOLACT:
    """Give a trained network new last layers, for other classes; all else keeps what it knows.

    New are the layer of the class scores and the semantic branch. Boxes, coefficients and
    prototypes do not depend on the classes.

    Args:
        model: changed in place.
        num_classes: with the background, which is class 0.

    Returns:
        ``model``.

    Raises:
        ValueError: fewer than two classes.
    """
    _check_num_classes(num_classes)
    model.head.renew_scores(num_classes)
    width = model.semantic.in_channels
    model.semantic = nn.Conv2d(width, num_classes - 1, 1).to(model.semantic.weight)
    for part in (model.head.score, model.semantic):
        _initialize(part)
    model.num_classes = num_classes
    return model


def _check_num_classes(num_classes: int) -> None:
    if num_classes < 2:
        raise ValueError(f"num_classes includes the background: at least 2, got {num_classes}")


def _initialize(part: nn.Module) -> None:
    """As the authors do: weights by Glorot and Bengio (2010), no bias."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def _split(target: Target, image: Tensor) -> tuple[Objects, Tensor]:
    """The objects of a target, and the boxes of its crowds, all with the image = [0, 1]."""
    boxes = full_precision(target["boxes"]) / edges(full_precision(image), image.shape[-2:])
    crowd = target.get("iscrowd", torch.zeros_like(target["labels"])).bool()
    masks = target["masks"][~crowd].to(boxes.dtype)
    return Objects(boxes[~crowd], target["labels"][~crowd], masks), boxes[crowd]


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

    It looks at them enlarged to 256 x 256.

    Args:
        num_classes: classes, including the background.
        base_width: see `YOLACT`.
        image_size: see `YOLACT`.
        **settings: see `YOLACT`.
    """
    settings = {"layers": (1, 1, 1, 1), "prototypes": 16} | settings
    return YOLACT(num_classes, base_width=base_width, image_size=image_size, **settings)
