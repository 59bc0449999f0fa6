"""Faster and Mask R-CNN as ONNX files, by way of torchvision.

The exporter freezes Python numbers that it meets on its way, and in the package's own code the
number of proposals is one. torchvision's classes are written for the exporter; their heads take the
weights of ours by name, and the backbone stays ours.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segedu.engine.export import INPUT, ExportError, convert, runner, write_onnx
from segedu.models.mask_rcnn import MaskRCNN

#: A detection of the file is that of the network if label and box (to half a pixel) and mask (to
#: a hundredth) are the same. Some may not be, since rounding decides between equals.
AGREE = 0.95
LEVELS = ("0", "1", "2", "3", "pool")


class _NamedLevels(nn.Module):
    """A backbone that names its levels, as torchvision's heads want them."""

    def __init__(self, backbone: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.backbone, self.out_channels = backbone, out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return OrderedDict(zip(LEVELS, self.backbone(images), strict=True))


def as_torchvision(model: MaskRCNN) -> nn.Module:
    """torchvision's network of the same weights and settings, in eval mode; they are shared."""
    from torchvision.models.detection import FasterRCNN, faster_rcnn, mask_rcnn
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    s, heads, classes = model.settings, model.roi_heads, model.num_classes
    channels, width = model.rpn.head.cls_logits.in_channels, heads.box_head.fc7.out_features

    def pool(bins: int) -> nn.Module:
        return MultiScaleRoIAlign(
            LEVELS[:4], bins, s.sampling_ratio, canonical_scale=s.canonical_scale
        )

    same = ("rpn_pre_nms_top_n_test", "rpn_post_nms_top_n_test", "rpn_nms_thresh")
    same += ("rpn_score_thresh", "box_score_thresh", "box_nms_thresh", "box_detections_per_img")
    settings: dict[str, Any] = {name: getattr(s, name) for name in (*same, "bbox_reg_weights")}
    settings |= {"image_mean": list(s.image_mean), "image_std": list(s.image_std)}
    settings |= {"min_size": s.min_sizes[-1], "max_size": s.max_size, "box_roi_pool": pool(7)}
    anchors = AnchorGenerator(
        tuple((size,) for size in s.anchor_sizes), (tuple(s.aspect_ratios),) * len(LEVELS)
    )
    settings |= {
        "rpn_anchor_generator": anchors,
        "box_head": faster_rcnn.TwoMLPHead(channels * 7**2, width),
        "box_predictor": faster_rcnn.FastRCNNPredictor(width, classes),
    }
    build = FasterRCNN
    if model.has_masks:
        build, wide = mask_rcnn.MaskRCNN, heads.mask_predictor.conv5_mask.in_channels
        settings |= {
            "mask_roi_pool": pool(14),
            "mask_head": mask_rcnn.MaskRCNNHeads(channels, (wide,) * len(heads.mask_head), 1),
            "mask_predictor": mask_rcnn.MaskRCNNPredictor(wide, wide, classes),
        }
    twin = build(_NamedLevels(model.backbone, channels), **settings)
    for name in ("rpn", "roi_heads"):
        getattr(twin, name).load_state_dict(getattr(model, name).state_dict())
    return twin.eval()


def export_detector(
    model: MaskRCNN, path: str | Path, metadata: Mapping[str, Any], sizes: Sequence[tuple[int, int]]
) -> float:
    """Write a detector as an ONNX file, if it then finds what it found before.

    The file takes one ``image`` float32 (C,H,W) in [0, 1], of any size, and gives ``boxes`` (D,4),
    ``labels`` (D,), ``scores`` (D,) and, of Mask R-CNN, ``masks`` (D,1,H,W), as the network does.

    Args:
        model: left in eval mode.
        path: file to create or to replace.
        metadata: kept in the file, see `export_onnx`.
        sizes: heights and widths of the random images on which the two are compared, once as the
            network is, and once with all that it finds, however low the score.

    Returns:
        The share of the detections on which they agree.

    Raises:
        ExportError: if PyTorch cannot export it, or the file finds something else.
        ImportError: if a package of the extra ``deploy`` is missing.
    """
    settings, shares = model.eval().settings, []
    threshold = settings.box_score_thresh
    try:
        for settings.box_score_thresh in (0.0, threshold):  # the file that is kept is the last
            data = _converted(model, sizes[0])
            shares.append(agreement(model, data, sizes))
            if math.isnan(shares[0]):
                raise ExportError(
                    "the network finds nothing, however low the score: its weights are broken"
                )
    finally:
        settings.box_score_thresh = threshold
    shares = [share for share in shares if not math.isnan(share)]
    if min(shares) < AGREE:
        raise ExportError(
            f"the file finds something else: it agrees with the network on {min(shares):.0%} of "
            "the objects"
        )
    write_onnx(path, data, {**metadata, "size": "any", "images": "1"})
    return min(shares)


def _converted(model: MaskRCNN, size: tuple[int, int]) -> bytes:
    image = torch.zeros(len(model.settings.image_mean), *size)
    found = {"boxes": {0: "D"}, "labels": {0: "D"}, "scores": {0: "D"}}
    if model.has_masks:
        found["masks"] = {0: "D", 2: "H", 3: "W"}
    return convert(as_torchvision(model), ([image],), {INPUT: {1: "H", 2: "W"}}, found)


@torch.no_grad()
def agreement(model: MaskRCNN, data: bytes, sizes: Sequence[tuple[int, int]]) -> float:
    """The share of the detections of a network and of its file that the other has, too; or NaN.

    Args:
        model: the network, on the CPU.
        data: the file.
        sizes: heights and widths of random images.
    """
    run, generator = runner(data), torch.Generator().manual_seed(0)
    agreed, count = 0, 0
    for size in sizes:
        image = torch.rand(len(model.settings.image_mean), *size, generator=generator)
        (wanted,) = model([image])
        boxes, labels, _, *masks = run(image)
        same = wanted["labels"][:, None] == labels  # (D, F)
        same &= (wanted["boxes"][:, None] - boxes).abs().amax(2) < 0.5
        for row, mask in zip(same, wanted.get("masks", ()), strict=bool(masks)):
            row[row.clone()] = (masks[0][row] - mask).abs().flatten(1).mean(1) < 0.01
        agreed += int(same.any(1).sum() + same.any(0).sum())
        count += sum(same.shape)
    return agreed / count if count else math.nan
