"""Panoptic-DeepLab. Cheng, Collins, Zhu, Liu, Huang, Adam & Chen, CVPR 2020 (arXiv:1911.10194).

Panoptic segmentation from the bottom up: every pixel gets a class, every pixel of a thing points at
the centre of its object, and pixels that point at the same centre are an object. No boxes, no
proposals, no overlaps to resolve. All of it is in section 3 of the paper.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures, Weights, rename
from segedu.models.blocks import conv_bn_relu, resize
from segedu.models.bottom_up import Maps, Weighting, make_targets, merge, on_things, pad_target
from segedu.models.deeplab import ASPP
from segedu.models.targets import (
    VOID,
    Target,
    batch_images,
    check_images,
    check_segments,
    things_of,
)
from segedu.ops.precision import full_precision

CENTER_WEIGHT, OFFSET_WEIGHT = 200.0, 0.01  # of the losses; the semantic one has 1
HARDEST = 0.2  # share of the pixels in the semantic loss


def separable_5x5(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 5x5 convolution per channel and a 1x1 across them, both normalised, with ReLU."""
    return nn.Sequential(
        *conv_bn_relu(in_channels, in_channels, 5, groups=in_channels),
        *conv_bn_relu(in_channels, out_channels, 1),
    )


class Decoder(nn.Module):
    """ASPP, then up from stride 32 to 4, at each step joined with the encoder's map (figure 2).

    Args:
        in_channels: channels of the encoder's maps, finest first.
        projections: channels that the three finer maps are reduced to, finest first.
        aspp_channels: of the ASPP.
        channels: of the output.
        rates: dilations of the ASPP.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        projections: Sequence[int],
        aspp_channels: int,
        channels: int,
        rates: Sequence[int],
    ) -> None:
        super().__init__()
        self.aspp = ASPP(in_channels[-1], rates, aspp_channels)
        self.aspp.convs[-1][2] = nn.Identity()  # the authors do not normalise the pooled image
        self.project, self.fuse = nn.ModuleList(), nn.ModuleList()
        width = aspp_channels
        for low, reduced in zip(in_channels[-2::-1], projections[::-1], strict=True):
            self.project.append(conv_bn_relu(low, reduced, 1))
            self.fuse.append(separable_5x5(width + reduced, channels))
            width = channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of stride 4, 8, 16, 32 -> (N, channels, H/4, W/4)."""
        x = self.aspp(features[-1])
        for low, project, fuse in zip(features[-2::-1], self.project, self.fuse, strict=True):
            low = project(low)
            x = fuse(torch.cat([resize(x, low, align_corners=True), low], dim=1))
        return x


def head(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """One 5x5 separable convolution and the prediction."""
    return nn.Sequential(separable_5x5(in_channels, channels), nn.Conv2d(channels, out_channels, 1))


# The criterion stands here and not in `segedu.losses`: it weighs three kinds of map against each
# other, with weights that come from the objects, and models and losses do not import each other.
def panoptic_losses(
    output: Maps, target: Maps, weighting: Weighting, offset_weight: float = OFFSET_WEIGHT
) -> dict[str, Tensor]:
    """Scalars ``loss_semantic``, ``loss_center`` and ``loss_offset``, with the paper's weights.

    Bootstrapped cross-entropy: the mean over the hardest fifth of the pixels of the batch; squared
    error of the heat map; absolute error of the offsets in pixels, on objects only.
    """
    loss = F.cross_entropy(output.semantic, target.semantic, ignore_index=VOID, reduction="none")
    loss = (loss * weighting.semantic).flatten()
    semantic = loss.topk(max(int(HARDEST * len(loss)), 1)).values.mean()
    center = _mean((output.center - target.center) ** 2, weighting.center)
    offset = _mean((output.offset - target.offset).abs(), weighting.offset)
    return {
        "loss_semantic": semantic,
        "loss_center": CENTER_WEIGHT * center,
        "loss_offset": offset_weight * offset,
    }


def _mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Mean of (N, K, H, W) under weights (N, H, W); 0 if all of them are 0."""
    weight = weight[:, None].expand_as(loss)
    # Of an infinite loss a product with 0 would leave NaN.
    return torch.where(weight > 0, loss * weight, 0).sum() / weight.sum().clamp(min=1)


def find_centers(
    heatmap: Tensor, *, threshold: float = 0.1, nms_kernel: int = 7, top_k: int = 200
) -> Tensor:
    """Peaks of a heat map (H, W): rows and columns (K, 2), highest first.

    A peak is above ``threshold`` and the largest in a window of ``nms_kernel`` pixels a side.
    At most ``top_k`` are kept; the authors' code, and others after it, keeps one fewer if there are
    as many.
    """
    largest = F.max_pool2d(heatmap[None], nms_kernel, stride=1, padding=nms_kernel // 2)[0]
    place = ((heatmap == largest) & (heatmap > threshold)).nonzero()  # (K, 2)
    order = heatmap[place[:, 0], place[:, 1]].argsort(descending=True, stable=True)
    return place[order[:top_k]]


def group_pixels(centers: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """Give each pixel of ``mask`` (H, W) the centre nearest to where it points.

    Args:
        centers: (K, 2), K >= 1.
        offset: (2, H, W).
        mask: bool (H, W).

    Returns:
        Index of the centre for each pixel of the mask, (P,).
    """
    target = mask.nonzero() + offset[:, mask].T  # (P, 2)
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(target, centers.to(target.dtype), compute_mode=exact).argmin(1)


def group_objects(
    classes: Tensor, heatmap: Tensor, offset: Tensor, things: Collection[int], **peaks: Any
) -> tuple[Tensor, Tensor]:
    """The objects of one image: `find_centers` and `group_pixels`.

    Args:
        classes: (H, W).
        heatmap: (H, W).
        offset: (2, H, W).
        things: classes that are things; other pixels belong to no object.
        **peaks: of `find_centers`.

    Returns:
        Index of the object of each pixel, (H, W), -1 for none, and the heat of each centre, (K,).
    """
    centers = find_centers(heatmap, **peaks)
    group = torch.full_like(classes, -1)
    mask = on_things(classes, things)
    if len(centers):
        group[mask] = group_pixels(centers, offset, mask)
    return group, heatmap[centers[:, 0], centers[:, 1]]


class PanopticDeepLab(nn.Module):
    """Panoptic-DeepLab on a ResNet.

    ``model(images)`` takes images (3, H, W) in [0, 1] of any sizes in a list and, in training,
    targets: dicts of ``panoptic_seg`` (H, W) and ``segments_info`` (``id`` >= 1, ``category_id``,
    optionally ``iscrowd``), all other pixels void. It returns a dict of three losses in training;
    else a panoptic result for each image, see `segedu.models.bottom_up.merge`.

    Faithful (paper, and bowenc0221/panoptic-deeplab with ``R50_os32``): two decoders with an ASPP
    each, 256 and 128 channels, low-level maps reduced to 128, 64, 32 and 64, 32, 16; 5x5 separable
    convolutions; heat map and offsets at full size, offsets scaled as they are enlarged; targets,
    losses and their weights; grouping and majority vote. Different: images are padded to 32 k + 1
    pixels, with which ``align_corners`` puts every map exactly onto the pixels, as the paper's crop
    of 1025 x 2049 does; the backbone is a plain ResNet at stride 32, where the paper's best numbers
    are an Xception's at 16; a crowd has no centre (in that code it has one, of no weight).

    Parameters: 55,308,870 with 19 classes.

    Args:
        num_classes: classes, stuff and things, 0 to ``num_classes`` - 1.
        things: classes that are things; all if not given.
        depth: of the ResNet.
        base_width: width of the first ResNet stage; 64 is the paper's, the rest follows.
        layers: blocks per ResNet stage, overrides ``depth``.
        max_pool: see `segedu.models.backbones.ResNetFeatures`.
        rates: dilations of the ASPP; the paper's at stride 32.
        head_width: channels of the heads of centres and offsets.
        center_sigma: see `segedu.models.bottom_up.center_heatmap`.
        small_area: objects of fewer pixels weigh three times in the semantic loss.
        offset_weight: of the error in pixels, which grows with the images.
        center_threshold: heat of a centre.
        nms_kernel: window in which a centre is the largest.
        top_k: most objects in an image.
        stuff_area: fewest pixels of stuff.
        weights: of the ResNet, see `segedu.models.backbones.read_weights`.

    Example:
        >>> model = PanopticDeepLab(5, things=(3, 4), base_width=8, layers=(1, 1, 1, 1)).eval()
        >>> (result,) = model([torch.rand(3, 60, 90)])
        >>> result["panoptic_seg"].shape
        torch.Size([60, 90])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        things: Collection[int] | None = None,
        depth: int = 50,
        base_width: int = 64,
        layers: tuple[int, ...] | None = None,
        max_pool: bool = True,
        rates: Sequence[int] = (3, 6, 9),
        head_width: int = 32,
        center_sigma: float = 8.0,
        small_area: int = 4096,
        offset_weight: float = OFFSET_WEIGHT,
        center_threshold: float = 0.1,
        nms_kernel: int = 7,
        top_k: int = 200,
        stuff_area: int = 2048,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        self.things = things_of(num_classes, things)
        self.num_classes = num_classes
        self.target_settings = {"sigma": center_sigma, "small_area": small_area}
        self.peaks = {"threshold": center_threshold, "nms_kernel": nms_kernel, "top_k": top_k}
        self.stuff_area, self.offset_weight = stuff_area, offset_weight
        self.backbone = ResNetFeatures(
            depth, base_width=base_width, layers=layers, max_pool=max_pool, weights=weights
        )
        channels, width = self.backbone.channels, base_width
        wide, narrow = (width // 2, width, 2 * width), (width // 4, width // 2, width)
        self.semantic_decoder = Decoder(channels, wide, 4 * width, 4 * width, rates)
        self.semantic_head = head(4 * width, 4 * width, num_classes)
        self.instance_decoder = Decoder(channels, narrow, 4 * width, 2 * width, rates)
        self.center_head = head(2 * width, head_width, 1)
        self.offset_head = head(2 * width, head_width, 2)

    def network(self, batch: Tensor) -> Maps:
        """Normalised images (N, 3, H, W) -> maps at that size."""
        features = self.backbone(batch)  # strides 4, 8, 16, 32
        instance = self.instance_decoder(features)  # (N, 128, H/4, W/4)
        maps = (
            self.semantic_head(self.semantic_decoder(features)),
            self.center_head(instance),
            self.offset_head(instance),
        )
        semantic, center, offset = (
            resize(full_precision(x), batch, align_corners=True) for x in maps
        )
        scale = [(n - 1) / (m - 1) for n, m in zip(batch.shape[2:], maps[2].shape[2:], strict=True)]
        return Maps(semantic, center, offset * offset.new_tensor(scale)[:, None, None])

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, else panoptic results; see the class.

        Raises:
            TypeError, ValueError: images or targets that are not as the class says.
        """
        check_images(images, targets, self.training)
        batch = F.pad(batch_images(images), (0, 1, 0, 1))  # (N, 3, 32 k + 1, 32 l + 1)
        output = self.network(batch)
        if not self.training:
            return [self.assemble(output, i, image) for i, image in enumerate(images)]
        pairs, dtype = [], output.center.dtype
        for i, (image, target) in enumerate(zip(images, targets, strict=True)):
            check_segments(target, tuple(image.shape[-2:]), self.num_classes, f"targets[{i}]")
            padded = pad_target(target, batch)
            pairs.append(make_targets(padded, self.things, dtype=dtype, **self.target_settings))
        maps, weightings = zip(*pairs, strict=True)
        wanted = Maps(*(torch.stack(parts) for parts in zip(*maps, strict=True)))
        weighting = Weighting(*(torch.stack(parts) for parts in zip(*weightings, strict=True)))
        return panoptic_losses(output, wanted, weighting, self.offset_weight)

    def assemble(self, output: Maps, index: int, image: Tensor) -> dict[str, Any]:
        """The panoptic result of one image, without what it was padded with."""
        height, width = image.shape[-2:]
        logits, center, offset = (part[index, :, :height, :width] for part in output)
        classes = logits.argmax(0)
        group, heat = group_objects(classes, center[0], offset, self.things, **self.peaks)
        return merge(logits, group, heat, self.things, stuff_area=self.stuff_area)


_SEPARABLE = r"^(\w+_head\.0|\w+_decoder\.fuse\.\d)"
# Names in the authors' checkpoints and ours, applied in this order.
NAMES = (
    (r"^decoder\.", ""),
    (r"^\w+_head\.classifier\.(\w+)\.", r"\1_head."),
    (r"\.aspp_pooling\.", "."),
    (_SEPARABLE + r"\.0\.0\.", r"\1."),  # the 5x5 convolution per channel
    (_SEPARABLE + r"\.0\.1\.", r"\1.3."),  # the 1x1 convolution
    (_SEPARABLE + r"\.0\.2\.", r"\1.4."),  # its normalisation
)


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of bowenc0221/panoptic-deeplab on a ResNet at stride 32, renamed for ours."""
    return rename(state, NAMES)


def panoptic_deeplab_tiny(
    num_classes: int, *, base_width: int = 16, **settings: Any
) -> PanopticDeepLab:
    """A narrow Panoptic-DeepLab that learns scenes of 128 x 128 pixels on a CPU.

    Lengths are in proportion: Gaussians of 3 pixels, small objects below 256 pixels, stuff from 32
    pixels on, offsets ten times nearer and their error of ten times the weight.

    Args:
        num_classes: see `PanopticDeepLab`.
        base_width: see `PanopticDeepLab`.
        **settings: see `PanopticDeepLab`.
    """
    small = {
        "layers": (1, 1, 1, 1),
        "center_sigma": 3.0,
        "small_area": 256,
        "offset_weight": 0.1,
        "stuff_area": 32,
    }
    return PanopticDeepLab(num_classes, base_width=base_width, **small | settings)
