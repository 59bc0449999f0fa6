"""Joint transforms of images and their labels: thin recipes on torchvision.transforms.v2.

A sample is a dict whose ``image``, ``mask``, ``masks``, ``boxes`` and ``panoptic_seg`` are
tv_tensors, so that one call with one random draw moves all of them together: images are
interpolated (bilinear, antialiased), masks never are (nearest). Pixels that come in from outside
the picture are "ignore" (255) in a semantic mask, void (0) in a panoptic map, absent from every
instance mask, and have the mean colour in the image.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

IGNORE_INDEX = 255
# Mean and standard deviation of the ImageNet training images (red, green, blue in 0..1), which
# every torchvision backbone expects.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size must be a positive int or (height, width), got {size}")
    return int(height), int(width)


def _outside(part: Any) -> Any:
    """What pixels from outside the picture are filled with, for one part of a sample."""
    if isinstance(part, tv_tensors.Image):
        return [round(255 * mean) for mean in MEAN]  # uint8, 0 after normalisation
    is_semantic = isinstance(part, tv_tensors.Mask) and part.ndim == 2 and part.dtype == torch.uint8
    return IGNORE_INDEX if is_semantic else 0


class ScaleAndCrop(v2.Transform):
    """Scales by a random factor, crops a random window of ``size``, pads right and below.

    Args:
        size: height and width of the result in pixels, or one int for both.
        scale: range of the random factor; 1 keeps the picture's own resolution.
    """

    def __init__(self, size: int | Sequence[int], scale: tuple[float, float]):
        super().__init__()
        self.size = _pair(size)
        self.scale = scale
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be a range 0 < low <= high, got {scale}")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor and the window."""
        factor = float(torch.empty(()).uniform_(*self.scale))
        # Cutting the window out first and scaling it then is the same and several times faster.
        extents = list(zip(v2.query_size(flat_inputs), self.size, strict=True))
        window = [min(old, max(1, round(new / factor))) for old, new in extents]
        height, width = (
            min(new, max(1, round(part * factor)))
            for part, (_, new) in zip(window, extents, strict=True)
        )
        top, left = (
            int(torch.randint(0, old - part + 1, ()))
            for part, (old, _) in zip(window, extents, strict=True)
        )
        return {
            "crop": (top, left, *window),
            "size": [height, width],
            "padding": [0, 0, self.size[1] - width, self.size[0] - height],
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Crop, scale and pad one part of the sample."""
        inpt = self._call_kernel(v2.functional.crop, inpt, *params["crop"])
        inpt = self._call_kernel(v2.functional.resize, inpt, params["size"], antialias=True)
        return self._call_kernel(
            v2.functional.pad, inpt, padding=params["padding"], fill=_outside(inpt)
        )


class FitInto(ScaleAndCrop):
    """Scales the whole picture, undistorted, into ``size`` and pads right and below."""

    def __init__(self, size: int | Sequence[int]):
        super().__init__(size, scale=(1.0, 1.0))

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Compute the factor by which the picture just fits."""
        old = v2.query_size(flat_inputs)
        factor = min(new / extent for new, extent in zip(self.size, old, strict=True))
        height, width = (max(1, round(extent * factor)) for extent in old)
        return {
            "crop": (0, 0, *old),
            "size": [height, width],
            "padding": [0, 0, self.size[1] - width, self.size[0] - height],
        }


class DropInvisible(nn.Module):
    """Removes what a crop has moved out of sight: instances and panoptic segments without pixels.

    Goes over ``masks``, ``boxes``, ``labels`` and, where there are any, ``iscrowd`` and ``area``
    together, and over ``segments_info``. Areas are counted anew. A semantic sample passes
    unchanged.
    """

    def forward(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Return the sample without its invisible parts."""
        sample = dict(sample)
        if "masks" in sample:
            sides = sample["boxes"][:, 2:] - sample["boxes"][:, :2]  # (N, 2)
            visible = sample["masks"].flatten(1).any(1) & (sides > 0).all(1)  # (N,)
            for key in ("masks", "boxes", "labels", "iscrowd", "area"):
                if key in sample:
                    kept = sample[key][visible]
                    sample[key] = tv_tensors.wrap(kept, like=sample[key])
            if "area" in sample:
                sample["area"] = sample["masks"].flatten(1).sum(1).to(sample["area"].dtype)
        if "segments_info" in sample:
            ids, areas = sample["panoptic_seg"].unique(return_counts=True)
            area = dict(zip(ids.tolist(), areas.tolist(), strict=True))
            sample["segments_info"] = [
                {**segment, "area": area[segment["id"]]}
                for segment in sample["segments_info"]
                if segment["id"] in area
            ]
        return sample


class ToModelInput(v2.Transform):
    """Image uint8 to normalised float32, semantic mask to int64; the other parts stay."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Convert one part of the sample."""
        if isinstance(inpt, tv_tensors.Image):
            image = v2.functional.to_dtype(inpt, torch.float32, scale=True)
            return v2.functional.normalize(image, list(MEAN), list(STD))
        if isinstance(inpt, tv_tensors.Mask) and inpt.dtype == torch.uint8:
            return tv_tensors.Mask(inpt.long())
        return inpt


def training(
    size: int | Sequence[int],
    *,
    scale: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    color: bool = True,
) -> v2.Compose:
    """Return the usual augmentation: random scale, crop, flip and colour, then normalisation.

    Args:
        size: height and width of the crop in pixels, or one int for both.
        scale: range of the random scale; ``(1, 1)`` switches it off.
        flip: whether half of the samples are mirrored left to right.
        color: whether brightness, contrast and saturation vary by up to 30 %.

    Returns:
        A transform of sample dicts: ``image`` becomes float32 (3, size), normalised by ``MEAN``
        and ``STD``; ``mask`` int64 with 255 where the picture did not reach.
    """
    steps: list[nn.Module] = [ScaleAndCrop(size, scale)]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color:
        steps.append(v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3))
    return v2.Compose([*steps, DropInvisible(), ToModelInput()])


def evaluation(size: int | Sequence[int] | None = None) -> v2.Compose:
    """Return the transform for evaluation: normalisation, and with ``size`` fitting into it.

    Args:
        size: height and width that every picture is scaled into, undistorted, and padded to;
            without it pictures keep their sizes.
    """
    steps = [] if size is None else [FitInto(size), DropInvisible()]
    return v2.Compose([*steps, ToModelInput()])


def instances(
    min_sizes: Sequence[int] | None = None,
    max_size: int | None = None,
    *,
    flip: bool = False,
    color: bool = False,
) -> v2.Compose:
    """Return the transform for networks that take images in 0..1 and normalise them themselves.

    Without arguments it is that of evaluation. Multi-scale training draws one of several sizes for
    each sample, scales image, boxes, masks and panoptic map together into a new sample, and leaves
    the one it was given as it is.

    Args:
        min_sizes: lengths of the shorter side, in pixels, one of which is drawn.
        max_size: longest side that is allowed; the whole picture is made smaller to fit.
        flip: whether half of the samples are mirrored left to right.
        color: whether brightness, contrast and saturation vary by up to 30 %.

    Returns:
        A transform of instance and panoptic samples: ``image`` becomes float32 (3, H, W) in 0..1;
        objects that become too small for a pixel are dropped.

    Raises:
        ValueError: ``min_sizes`` is empty or not positive.
    """
    steps: list[nn.Module] = []
    if min_sizes is not None:
        if not min_sizes or min(min_sizes) < 1:
            raise ValueError(f"min_sizes must be one or more sizes >= 1, got {min_sizes}")
        steps += [v2.RandomShortestSize(list(min_sizes), max_size), DropInvisible()]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color:
        steps.append(v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3))
    return v2.Compose(
        [*steps, v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)]
    )


def denormalize(image: Tensor) -> Tensor:
    """Undo the normalisation, for display: (..., 3, H, W) to float 0..1."""
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(f"image must have shape (..., 3, H, W), got {tuple(image.shape)}")
    mean, std = (image.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (image * std + mean).clamp(0, 1)


class BatchAugment(nn.Module):
    """Augments a whole batch where it lies, each picture with a random draw of its own.

    Mirror, rotation, scale and shift make one affine map per picture, sampled once: bilinear in
    the image and nearest in the mask from the same grid. Contrast and brightness follow. On small
    pictures this is several times faster than one call per sample.

    Args:
        degrees: rotation by up to so many degrees either way.
        scale: range of the zoom, drawn evenly on a logarithmic scale.
        translate: shift by up to this share of the width and height.
        color: strength of contrast and brightness; 0 switches them off.
    """

    def __init__(
        self,
        *,
        degrees: float = 10.0,
        scale: tuple[float, float] = (0.75, 1.5),
        translate: float = 0.1,
        color: float = 0.3,
    ):
        super().__init__()
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be a range 0 < low <= high, got {scale}")
        self.degrees, self.scale, self.translate, self.color = degrees, scale, translate, color

    def _maps(self, images: Tensor) -> Tensor:
        """Draw one affine map per picture, from output to input coordinates, (N, 2, 3)."""
        count, _, height, width = images.shape

        def uniform(low: float, high: float) -> Tensor:
            return images.new_empty(count).uniform_(low, high)

        angle = torch.deg2rad(uniform(-self.degrees, self.degrees))
        low, high = (torch.tensor(bound).log().item() for bound in self.scale)
        zoom = uniform(low, high).exp()
        mirror = uniform(-1, 1).sign()
        shift = [uniform(-2 * self.translate, 2 * self.translate) for _ in range(2)]
        cosine, sine = angle.cos() / zoom, angle.sin() / zoom
        # Coordinates run from -1 to 1 along both sides: undo the aspect ratio in the rotation.
        rows = [
            torch.stack([cosine * mirror, -sine * height / width, shift[0]], dim=1),
            torch.stack([sine * mirror * width / height, cosine, shift[1]], dim=1),
        ]
        return torch.stack(rows, dim=1)

    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Augment normalised float ``images`` (N, 3, H, W) and ``masks`` (N, H, W) together."""
        if images.ndim != 4 or masks.shape != (len(images), *images.shape[2:]):
            raise ValueError(
                "images must have shape (N, C, H, W) and masks (N, H, W), "
                f"got {tuple(images.shape)} and {tuple(masks.shape)}"
            )
        grid = F.affine_grid(self._maps(images), list(images.shape), align_corners=False)
        # Outside the picture grid_sample gives 0: the mean of a normalised image; and in the
        # mask, lowered by 255 for the moment, "ignore".
        lowered = masks[:, None].to(images.dtype) - IGNORE_INDEX  # (N, 1, H, W)
        sampled = F.grid_sample(lowered, grid, mode="nearest", align_corners=False)
        images = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
        if self.color:
            factors = images.new_empty(2, len(images), 1, 1, 1).uniform_(-self.color, self.color)
            images = images * (1 + factors[0]) + factors[1]
        return images, (sampled[:, 0] + IGNORE_INDEX).to(masks.dtype)
