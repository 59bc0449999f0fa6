"""The knobs of Faster and Mask R-CNN, under torchvision's names and with its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_type_hints

from segedu.models.kinds import check_kind
from segedu.models.targets import IMAGE_MEAN, IMAGE_STD

FRACTIONS = (
    "rpn_nms_thresh",
    "rpn_fg_iou_thresh",
    "rpn_bg_iou_thresh",
    "rpn_positive_fraction",
    "rpn_score_thresh",
    "box_score_thresh",
    "box_nms_thresh",
    "box_fg_iou_thresh",
    "box_bg_iou_thresh",
    "box_positive_fraction",
)
COUNTS = (
    "max_size",
    "rpn_pre_nms_top_n_train",
    "rpn_pre_nms_top_n_test",
    "rpn_post_nms_top_n_train",
    "rpn_post_nms_top_n_test",
    "rpn_batch_size_per_image",
    "box_detections_per_img",
    "box_batch_size_per_image",
    "sampling_ratio",
)


@dataclass
class Settings:
    """Everything but the widths. Thresholds and counts may be changed on a trained network.

    Attributes:
        min_size: length that the shorter side of an image is scaled to, in pixels; of several, a
            training image draws one (multi-scale training), others take the last.
        max_size: the longer side is not made longer than this.
        image_mean: subtracted from each channel of images in [0, 1]; as many as there are channels.
        image_std: of each channel, what remains is divided by it.
        anchor_sizes: side of the anchors of each pyramid level, finest first, in pixels.
        aspect_ratios: height / width of the anchors, on every level.
        rpn_pre_nms_top_n_train: best anchors of each level that go into NMS, in training.
        rpn_pre_nms_top_n_test: likewise otherwise.
        rpn_post_nms_top_n_train: proposals of an image, of all levels together, in training.
        rpn_post_nms_top_n_test: likewise otherwise.
        rpn_nms_thresh: a proposal goes if its IoU with a better one of its level is greater.
        rpn_fg_iou_thresh: anchors of at least this IoU with an object shall be proposals.
        rpn_bg_iou_thresh: anchors of less with every object shall not be; the others do not care.
        rpn_batch_size_per_image: anchors drawn for the loss.
        rpn_positive_fraction: largest share of objects among them.
        rpn_score_thresh: least objectness of a proposal, in [0, 1].
        box_score_thresh: a detection's score is greater than this.
        box_nms_thresh: a detection goes if its IoU with a better one of its class is greater.
        box_detections_per_img: most detections in an image.
        box_fg_iou_thresh: proposals of at least this IoU with an object take its class.
        box_bg_iou_thresh: proposals of less with every object are background.
        box_batch_size_per_image: proposals drawn for the loss.
        box_positive_fraction: largest share of objects among them.
        bbox_reg_weights: of the offsets of the second stage, see `segedu.ops.BoxCoder`.
        sampling_ratio: samples of RoIAlign a side in each bin.
        canonical_scale: side of a box, in pixels, that is pooled from the level of stride 16; each
            halving goes one level finer (Lin et al. 2017, equation 1).

    Raises:
        ValueError: for a value of another kind, a share outside [0, 1], a count below 1, or lists
            that do not fit.
    """

    # transform
    min_size: int | Sequence[int] = 800
    max_size: int = 1333
    image_mean: Sequence[float] = IMAGE_MEAN
    image_std: Sequence[float] = IMAGE_STD
    # region proposal network
    anchor_sizes: Sequence[float] = (32, 64, 128, 256, 512)
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0)
    rpn_pre_nms_top_n_train: int = 2000
    rpn_pre_nms_top_n_test: int = 1000
    rpn_post_nms_top_n_train: int = 2000
    rpn_post_nms_top_n_test: int = 1000
    rpn_nms_thresh: float = 0.7
    rpn_fg_iou_thresh: float = 0.7
    rpn_bg_iou_thresh: float = 0.3
    rpn_batch_size_per_image: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_score_thresh: float = 0.0
    # heads on the regions of interest
    box_score_thresh: float = 0.05
    box_nms_thresh: float = 0.5
    box_detections_per_img: int = 100
    box_fg_iou_thresh: float = 0.5
    box_bg_iou_thresh: float = 0.5
    box_batch_size_per_image: int = 512
    box_positive_fraction: float = 0.25
    bbox_reg_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    sampling_ratio: int = 2
    canonical_scale: float = 224.0

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            check_kind(name, getattr(self, name), hint, getattr(type(self), name))
        for name in FRACTIONS:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.min_sizes or min(self.min_sizes) < 1:
            raise ValueError(f"min_size must be one or more sizes >= 1, got {self.min_size}")
        if len(self.image_mean) != len(self.image_std):
            raise ValueError(
                "image_mean and image_std must have one value for each channel, got "
                f"{len(self.image_mean)} and {len(self.image_std)}"
            )
        if len(self.anchor_sizes) != 5:
            raise ValueError(
                f"anchor_sizes must be 5, one for each level, got {tuple(self.anchor_sizes)}"
            )

    @property
    def min_sizes(self) -> tuple[int, ...]:
        """``min_size`` as a tuple."""
        return (self.min_size,) if isinstance(self.min_size, int) else tuple(self.min_size)
