"""Pure tensor functions; they import nothing of the rest of segedu."""

from segedu.ops import rle
from segedu.ops.anchors import cell_anchors, grid_anchors, pyramid_anchors
from segedu.ops.boxes import (
    BoxCoder,
    box_area,
    box_convert,
    box_iou,
    clip_boxes,
    masks_to_boxes,
)
from segedu.ops.clicks import center_clicks, error_clicks
from segedu.ops.distance import distance_transform
from segedu.ops.dry_run import dry_run
from segedu.ops.masks import (
    binary_masks,
    crop_masks,
    mask_iou,
    paste_masks,
    polygon_to_mask,
    resize_labels,
    segmentation_to_mask,
)
from segedu.ops.matching import balanced_sample, hungarian, match_iou
from segedu.ops.nms import batched_nms, fast_nms, matrix_nms, nms, nms_reference, soft_nms
from segedu.ops.receptive_field import effective_field, receptive_fields
from segedu.ops.roi_align import roi_align, roi_align_reference, roi_pool

__all__ = [
    "BoxCoder",
    "balanced_sample",
    "batched_nms",
    "binary_masks",
    "box_area",
    "box_convert",
    "box_iou",
    "cell_anchors",
    "center_clicks",
    "clip_boxes",
    "crop_masks",
    "distance_transform",
    "dry_run",
    "effective_field",
    "error_clicks",
    "fast_nms",
    "grid_anchors",
    "hungarian",
    "mask_iou",
    "masks_to_boxes",
    "match_iou",
    "matrix_nms",
    "nms",
    "nms_reference",
    "paste_masks",
    "polygon_to_mask",
    "resize_labels",
    "pyramid_anchors",
    "receptive_fields",
    "rle",
    "roi_align",
    "roi_align_reference",
    "roi_pool",
    "segmentation_to_mask",
    "soft_nms",
]
