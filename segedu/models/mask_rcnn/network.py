"""Faster and Mask R-CNN as a whole, their builders, and new heads for other classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from segedu.models.backbones import Weights, load_weights, read_weights, rename
from segedu.models.mask_rcnn.backbone import ResNetFPN, freeze_batch_norms
from segedu.models.mask_rcnn.roi_heads import BoxPredictor, MaskPredictor, RoIHeads
from segedu.models.mask_rcnn.rpn import RegionProposalNetwork
from segedu.models.mask_rcnn.settings import Settings
from segedu.models.mask_rcnn.transform import Batch, Target, Transform
from segedu.models.targets import check_images, check_instances

# The published files are older than some of the names in torchvision's code.
OLD_NAMES = (
    (r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
    (r"(mask_head)\.mask_fcn(\d)\.", lambda m: f"{m[1]}.{int(m[2]) - 1}.0."),
)


class MaskRCNN(nn.Module):
    """Propose regions, then classify, refine and segment each of them.

    Args:
        backbone: images (N, C, H, W) -> five levels (N, channels, h, w), strides 4 to 64.
        channels: of the levels.
        num_classes: with the background, which is class 0.
        settings: see `Settings`.
        box_width: of the box head's two layers.
        mask_width: of the mask branch; 0 leaves Faster R-CNN.
        mask_layers: convolutions of the mask branch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: int,
        num_classes: int,
        settings: Settings,
        *,
        box_width: int = 1024,
        mask_width: int = 256,
        mask_layers: int = 4,
    ) -> None:
        _check_num_classes(num_classes)
        super().__init__()
        self.settings = settings
        self.transform = Transform(settings)
        self.backbone = backbone
        self.rpn = RegionProposalNetwork(channels, settings)
        self.roi_heads = RoIHeads(
            channels, num_classes, settings, box_width, mask_width, mask_layers
        )
        self.register_load_state_dict_pre_hook(_rename)

    @property
    def num_classes(self) -> int:
        """Classes with the background."""
        return self.roi_heads.box_predictor.cls_score.out_features

    @property
    def has_masks(self) -> bool:
        """Whether there is a mask branch."""
        return self.roi_heads.mask_head is not None

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        """Losses in training, else detections.

        Args:
            images: a list of float (C, H_i, W_i) in [0, 1], of any sizes.
            targets: in training one dict for each image: ``boxes`` float (N, 4), xyxy in pixels;
                ``labels`` int64 (N,), 1 to num_classes - 1; ``masks`` bool or 0/1 (N, H_i, W_i).
                N may be 0. Objects with a true ``iscrowd`` (N,) or wholly outside the image are
                left out. Otherwise unused.

        Returns:
            In training ``loss_objectness``, ``loss_rpn_box_reg``, ``loss_classifier``,
            ``loss_box_reg`` and ``loss_mask``, to be added. Else for each image ``boxes`` (D, 4),
            ``labels`` (D,), ``scores`` (D,) in [0, 1], best first, and ``masks``, probabilities
            (D, 1, H_i, W_i).

        Raises:
            TypeError, ValueError: images or targets that cannot be what was meant.
        """
        check_images(images, targets, self.training, len(self.settings.image_mean))
        if not self.training:
            batch, levels, _ = self.encode(images)
            return self.detect(batch, levels)
        keys = ("boxes", "labels", "masks") if self.has_masks else ("boxes", "labels")
        for i, (target, image) in enumerate(zip(targets, images, strict=True)):
            size = tuple(image.shape[-2:])
            check_instances(target, size, self.num_classes, f"targets[{i}]", keys)
        return self.losses(*self.encode(images, targets))

    def encode(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> tuple[Batch, list[Tensor], list[Target] | None]:
        """What all heads start from.

        Args:
            images: as in `forward`.
            targets: as in `forward`.

        Returns:
            The images, normalised and scaled, as one batch; the levels (N, channels, h, w) of its
            pyramid, strides 4 to 64; the targets in its coordinates.
        """
        batch, targets = self.transform(images, targets)
        return batch, self.backbone(batch.images), targets

    def losses(
        self, batch: Batch, levels: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """The losses of both stages, of what `encode` returns."""
        proposals, losses = self.rpn(batch, levels, targets)
        return losses | self.roi_heads.losses(levels, proposals, targets)

    def detect(self, batch: Batch, levels: Sequence[Tensor]) -> list[Target]:
        """Detections in the coordinates of the caller's images, of what `encode` returns."""
        proposals, _ = self.rpn(batch, levels)
        found = self.roi_heads.detect(levels, proposals, batch.sizes)
        return self.transform.back(found, batch)


def _check_num_classes(num_classes: int) -> None:
    if num_classes < 2:
        raise ValueError(
            f"num_classes must be at least 2 (class 0 is the background), got {num_classes}"
        )


def _rename(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own = {key: state.pop(key) for key in list(state) if key.startswith(prefix)}
    state.update(rename(own, OLD_NAMES))


def mask_rcnn_resnet50_fpn(
    num_classes: int,
    *,
    weights: Weights = None,
    weights_backbone: Weights = None,
    trainable_backbone_layers: int | None = None,
    frozen_norm_eps: float | None = None,
    masks: bool = True,
    **settings: Any,
) -> MaskRCNN:
    """Mask R-CNN (He et al., ICCV 2017, arXiv:1703.06870) on ResNet-50 and a feature pyramid.

    The same network as torchvision's ``maskrcnn_resnet50_fpn``, with its names: its weights load,
    and on the same weights all that lies between image and masks is the same. Faithful to the
    paper's FPN variant (figure 4, right): RoIAlign, a class-wise mask of 28 x 28 beside the boxes,
    binary cross entropy on the object's own class only. As in torchvision, but not in the paper:
    smooth L1 also in the proposals, with beta 1/9; RoIAlign samples lie half a feature off
    (``aligned=False``); the stride sits in the 3x3 convolution of a bottleneck; 512 proposals are
    drawn per image, of 2,000 in training and 1,000 otherwise.

    Parameters: 44,077,773 with 21 classes, 44,454,513 with 91; those of the normalisations
    (53,120) count only where they are not frozen.

    Args:
        num_classes: with the background, which is class 0.
        weights: of all, such as ``MaskRCNN_ResNet50_FPN_Weights.COCO_V1`` or its file, which
            have 91 classes: `finetune` exchanges them.
        weights_backbone: of the ResNet only, see `segedu.models.backbones.read_weights`.
        trainable_backbone_layers: how many of the ResNet's five parts learn, from the last on.
            Default: 3 with weights, all without.
        frozen_norm_eps: freeze the normalisations, since batches of detectors are small, and add
            this to their variances. Default: 0 with ``weights``, which were trained with it, 1e-5
            with ``weights_backbone``; without either they learn.
        masks: without them it is Faster R-CNN.
        **settings: those of `Settings`.

    Raises:
        ValueError: weights of another number of classes, or a bad setting.
        TypeError: an unknown setting.

    Example:
        >>> import torch
        >>> model = mask_rcnn_resnet50_fpn(3, min_size=64, box_detections_per_img=5).eval()
        >>> with torch.no_grad():
        ...     (found,) = model([torch.rand(3, 60, 80)])
        >>> found["masks"].shape[1:]
        torch.Size([1, 60, 80])
    """
    trained = weights is not None or weights_backbone is not None
    if trainable_backbone_layers is None:
        trainable_backbone_layers = 3 if trained else 5
    if frozen_norm_eps is None and trained:
        frozen_norm_eps = 0.0 if weights is not None else 1e-5
    settings = Settings(**settings)
    backbone = ResNetFPN(
        depth=50,
        in_channels=len(settings.image_mean),
        weights=None if weights is not None else weights_backbone,
    )
    backbone.train_stages(trainable_backbone_layers)
    if frozen_norm_eps is not None:
        freeze_batch_norms(backbone, eps=frozen_norm_eps)
    model = MaskRCNN(backbone, 256, num_classes, settings, mask_width=256 if masks else 0)
    if weights is not None:
        _check_classes(weights, num_classes)
        load_weights(model, weights)
    model.instead_of_weights = {
        "trainable_backbone_layers": trainable_backbone_layers,
        "frozen_norm_eps": frozen_norm_eps,
    }
    return model


def _check_classes(weights: Weights, num_classes: int) -> None:
    state = read_weights(weights)
    key = "roi_heads.box_predictor.cls_score.weight"
    if key in state and len(state[key]) != num_classes:
        raise ValueError(
            f"weights have {len(state[key])} classes, num_classes is {num_classes}: build the "
            f"network with num_classes={len(state[key])}, then finetune(model, {num_classes})"
        )


def faster_rcnn_resnet50_fpn(num_classes: int, **settings: Any) -> MaskRCNN:
    """Faster R-CNN (Ren et al., NeurIPS 2015, arXiv:1506.01497) with FPN (Lin et al., CVPR 2017).

    The same network as torchvision's ``fasterrcnn_resnet50_fpn``: Mask R-CNN without masks.
    Faithful to section 4.2 of FPN: one anchor size for each level, two linear layers of 1,024.

    Parameters: 41,449,656 with 21 classes, 41,808,406 with 91.

    Args:
        num_classes: with the background, which is class 0.
        **settings: as of `mask_rcnn_resnet50_fpn`.

    Example:
        >>> import torch
        >>> model = faster_rcnn_resnet50_fpn(3, min_size=64, box_detections_per_img=5).eval()
        >>> with torch.no_grad():
        ...     (found,) = model([torch.rand(3, 60, 80)])
        >>> sorted(found)
        ['boxes', 'labels', 'scores']
    """
    return mask_rcnn_resnet50_fpn(num_classes, masks=False, **settings)


# Objects of 8 to 128 pixels, few of them, and little to compute for each.
TINY = {
    "min_size": 128,
    "max_size": 256,
    "anchor_sizes": (8, 16, 32, 64, 128),
    "canonical_scale": 112,
    "rpn_pre_nms_top_n_train": 300,
    "rpn_pre_nms_top_n_test": 300,
    "rpn_post_nms_top_n_train": 100,
    "rpn_post_nms_top_n_test": 100,
    "rpn_batch_size_per_image": 128,
    "box_batch_size_per_image": 32,
    "box_positive_fraction": 0.5,
    "box_detections_per_img": 50,
}


def mask_rcnn_tiny(
    num_classes: int,
    *,
    base_width: int = 16,
    layers: Sequence[int] = (1, 1, 1, 1),
    channels: int = 48,
    attention: bool = False,
    box_width: int = 128,
    mask_width: int = 48,
    mask_layers: int = 2,
    **settings: Any,
) -> MaskRCNN:
    """Mask R-CNN for images of 128 x 128, small enough to learn on a CPU while one reads on.

    The same code as `mask_rcnn_resnet50_fpn`. Different: a ResNet of four basic blocks, a quarter
    as wide; a narrower pyramid and heads; anchors and levels for objects of 8 to 128 pixels; fewer
    proposals, half of those drawn on objects.

    Parameters: 808,925 with 21 classes.

    Args:
        num_classes: with the background, which is class 0.
        base_width: of the first ResNet stage.
        layers: blocks of each ResNet stage.
        channels: of the pyramid.
        attention: gate the channels of each level of the pyramid (see `ResNetFPN`).
        box_width: of the box head's two layers.
        mask_width: of the mask branch; 0 leaves it out.
        mask_layers: convolutions of the mask branch.
        **settings: those of `Settings`.

    Example:
        >>> import torch
        >>> model = mask_rcnn_tiny(6).train()
        >>> box, mask = torch.tensor([[20.0, 30.0, 60.0, 90.0]]), torch.zeros(1, 128, 128).bool()
        >>> mask[0, 30:90, 20:60] = True
        >>> target = {"boxes": box, "labels": torch.tensor([3]), "masks": mask}
        >>> sorted(model([torch.rand(3, 128, 128)], [target]))
        ['loss_box_reg', 'loss_classifier', 'loss_mask', 'loss_objectness', 'loss_rpn_box_reg']
    """
    settings = Settings(**TINY | settings)
    backbone = ResNetFPN(
        channels,
        attention,
        depth=18,
        layers=layers,
        base_width=base_width,
        in_channels=len(settings.image_mean),
    )
    return MaskRCNN(
        backbone,
        channels,
        num_classes,
        settings,
        box_width=box_width,
        mask_width=mask_width,
        mask_layers=mask_layers,
    )


def finetune(model: MaskRCNN, num_classes: int) -> MaskRCNN:
    """Give a trained network new last layers, for other classes; all else keeps what it knows.

    Args:
        model: changed in place.
        num_classes: with the background, which is class 0.

    Returns:
        ``model``.

    Raises:
        ValueError: fewer than two classes.
    """
    _check_num_classes(num_classes)
    heads = model.roi_heads
    old = heads.box_predictor.cls_score
    heads.box_predictor = BoxPredictor(old.in_features, num_classes).to(old.weight)
    if model.has_masks:
        width = heads.mask_predictor.conv5_mask.in_channels
        heads.mask_predictor = MaskPredictor(width, num_classes).to(old.weight)
    return model
