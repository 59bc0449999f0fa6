"""Faster R-CNN and Mask R-CNN, from the image to the masks.

Read ``network`` first, then in the order of the data: ``transform``, ``backbone``, ``rpn``,
``roi_heads``. ``settings`` lists the knobs.

Images are in [0, 1] and of any size, as `segedu.data.transforms.instances` gives them. To train
with `segedu.engine.fit`, let ``collate_fn=list`` keep the samples apart and add the losses:

def compute_loss(model, samples):
    return sum(model([sample["image"] for sample in samples], samples).values())
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
