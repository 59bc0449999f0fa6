"""Faster R-CNN and Mask R-CNN, from the image to the masks.

Read ``network`` first, then in the order of the data: ``transform``, ``backbone``, ``rpn``,
``roi_heads``. ``settings`` lists the knobs.

Images are in [0, 1] and of any size, as `segedu.data.transforms.instances` gives them. The task
to train with is `segedu.tasks.Instance`.
"""

from segedu.models.mask_rcnn.network import (
    MaskRCNN,
    faster_rcnn_resnet50_fpn,
    finetune,
    mask_rcnn_resnet50_fpn,
    mask_rcnn_tiny,
)
from segedu.models.mask_rcnn.settings import Settings

__all__ = [
    "MaskRCNN",
    "Settings",
    "faster_rcnn_resnet50_fpn",
    "finetune",
    "mask_rcnn_resnet50_fpn",
    "mask_rcnn_tiny",
]
