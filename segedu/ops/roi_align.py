"""Features of a box in a grid of fixed size: RoIAlign, and RoIPool to compare it with.

A region of interest (RoI) is given in the coordinates of the image; ``spatial_scale`` brings it to
those of the feature map (1/16 for a map of stride 16).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segedu.ops._kernels import torchvision_ops

Boxes = Tensor | Sequence[Tensor]


def roi_align(
    features: Tensor,
    boxes: Boxes,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = False,
) -> Tensor:
    """RoIAlign, He et al. (2017), section 3: average bilinear samples, round nothing.

    torchvision's compiled operator does the work where it is present, except on a GPU under
    ``torch.use_deterministic_algorithms``, as its gradient there depends on the order of threads.

    Args:
        features: float (N, C, H, W).
        boxes: (K, 5), each the index of its image and xyxy, or N tensors (K_n, 4), xyxy. What of a
            box lies more than a pixel outside the map counts as 0.
        output_size: bins, one number or (height, width).
        spatial_scale: features per pixel of the image.
        sampling_ratio: samples per bin along each axis; 0 takes as many as the bin is features
            wide, rounded up.
        aligned: shift by half a feature, so that feature (0, 0) has its centre at (0.5, 0.5).
            Without it (as in torchvision's Mask R-CNN) samples lie half a feature too far to the
            right and bottom, and an RoI is at least one feature wide.

    Returns:
        (K, C, height, width).

    Raises:
        ValueError: shapes that do not fit, or a size, scale or ratio that is not positive.
    """
    rois, size = _check(features, boxes, output_size, spatial_scale, sampling_ratio)
    kernels = torchvision_ops()
    deterministic = torch.are_deterministic_algorithms_enabled() and features.is_cuda
    if kernels is None or deterministic:
        return roi_align_reference(features, rois, size, spatial_scale, sampling_ratio, aligned)
    return kernels.roi_align(features, rois, size, spatial_scale, sampling_ratio, aligned)


def roi_align_reference(
    features: Tensor,
    boxes: Boxes,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = False,
) -> Tensor:
    """`roi_align` to be read.

    Bilinear interpolation and the mean over a grid of samples act on rows and columns apart, so
    the bins of one RoI are a product: rows (height, H) @ features (C, H, W) @ columns (W, width).
    """
    rois, size = _check(features, boxes, output_size, spatial_scale, sampling_ratio)
    pooled = [features.new_zeros(0, features.shape[1], *size)]
    for roi in rois:
        x0, y0, x1, y1 = roi[1:] * spatial_scale - (0.5 if aligned else 0.0)
        width, height = x1 - x0, y1 - y0
        if not aligned:
            width, height = width.clamp(min=1), height.clamp(min=1)
        rows = _bin_weights(y0, height, size[0], sampling_ratio, features.shape[2])
        columns = _bin_weights(x0, width, size[1], sampling_ratio, features.shape[3])
        pooled.append((rows @ features[int(roi[0])] @ columns.T)[None])
    return torch.cat(pooled)


def roi_pool(
    features: Tensor,
    boxes: Boxes,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """RoIPool, Girshick (2015), section 2.1: round the box and its bins, take the maximum.

    What RoIAlign replaced: the two roundings move the features by up to a stride of the image.

    Args:
        features: float (N, C, H, W).
        boxes: as in `roi_align`.
        output_size: bins, one number or (height, width).
        spatial_scale: features per pixel of the image.

    Returns:
        (K, C, height, width); 0 in bins outside the map.

    Raises:
        ValueError: shapes that do not fit, or a size or scale that is not positive.
    """
    rois, size = _check(features, boxes, output_size, spatial_scale)
    pooled = features.new_zeros(len(rois), features.shape[1], *size)
    for k, roi in enumerate(rois):
        x0, y0, x1, y1 = _round(roi[1:] * spatial_scale).tolist()
        image = features[int(roi[0])]
        for i, rows in enumerate(_whole_bins(y0, y1, size[0], features.shape[2])):
            for j, columns in enumerate(_whole_bins(x0, x1, size[1], features.shape[3])):
                patch = image[:, rows, columns]  # (C, h, w)
                if patch.numel():
                    pooled[k, :, i, j] = patch.amax((1, 2))
    return pooled


def _bin_weights(start: Tensor, length: Tensor, bins: int, ratio: int, size: int) -> Tensor:
    """How much each of ``size`` features counts in each bin along one axis, (bins, size)."""
    samples = ratio or max(int(torch.ceil(length / bins)), 0)
    if samples == 0:  # an RoI without extent has no samples
        return start.new_zeros(bins, size)
    step = length / bins
    bin_start = torch.arange(bins, device=start.device, dtype=start.dtype)[:, None] * step
    within = (torch.arange(samples, device=start.device, dtype=start.dtype) + 0.5) * step / samples
    place = start + bin_start + within  # (bins, samples)
    inside = (place >= -1) & (place <= size)
    feature = torch.arange(size, device=start.device, dtype=start.dtype)
    distance = (place.clamp(0, size - 1)[..., None] - feature).abs()  # (bins, samples, size)
    return ((1 - distance).clamp(min=0) * inside[..., None]).mean(1)


def _whole_bins(first: float, last: float, bins: int, size: int) -> list[slice]:
    """The features of each bin between two rounded edges, cut at the border of the map."""
    step = torch.tensor(max(last - first + 1, 1)) / bins  # float32, as the compiled operator
    edge = torch.arange(bins + 1) * step
    begin = (edge[:-1].floor() + first).clamp(0, size).int().tolist()
    end = (edge[1:].ceil() + first).clamp(0, size).int().tolist()
    return [slice(a, b) for a, b in zip(begin, end, strict=True)]


def _round(x: Tensor) -> Tensor:
    """Round half away from zero, as C does (``torch.round`` goes to the even number)."""
    return x.sign() * (x.abs() + 0.5).floor()


def _check(
    features: Tensor,
    boxes: Boxes,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
) -> tuple[Tensor, tuple[int, int]]:
    """RoIs (K, 5) in the dtype of the features, and the size as a pair."""
    if features.ndim != 4:
        raise ValueError(f"features must be (N, C, H, W), got {tuple(features.shape)}")
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"output_size must be one or two numbers >= 1, got {output_size}")
    if not spatial_scale > 0:
        raise ValueError(f"spatial_scale must be > 0, got {spatial_scale}")
    if sampling_ratio < 0:
        raise ValueError(f"sampling_ratio must be >= 0, got {sampling_ratio}")
    if not isinstance(boxes, Tensor):
        return _with_index(boxes, features), size
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ValueError(f"boxes must be (K, 5) or a list of (K, 4), got {tuple(boxes.shape)}")
    image = boxes[:, 0]
    if bool(((image < 0) | (image >= len(features))).any()):
        raise ValueError(f"boxes must name images 0 to {len(features) - 1}, got {image.tolist()}")
    return boxes.to(features.dtype), size


def _with_index(boxes: Sequence[Tensor], features: Tensor) -> Tensor:
    """Boxes of each image, (K_n, 4), as RoIs (K, 5) in the dtype of the features."""
    shapes = [tuple(b.shape) for b in boxes]
    if len(boxes) != len(features) or any(len(s) != 2 or s[1] != 4 for s in shapes):
        raise ValueError(f"boxes must be {len(features)} tensors (K, 4), got {shapes}")
    rois = [torch.cat((torch.full_like(b[:, :1], n), b), dim=1) for n, b in enumerate(boxes)]
    return torch.cat([features.new_zeros(0, 5), *(r.to(features.dtype) for r in rois)])
