"""Joint transforms of images and their labels: thin recipes on torchvision.transforms.v2.

A sample is a dict whose ``image``, ``mask``, ``masks``, ``boxes`` and ``panoptic_seg`` are
tv_tensors, so that one call with one random draw moves all of them together: images are
interpolated (bilinear, antialiased), masks never are (each new pixel shows the label under its
centre, ``ops.resize_labels``). Pixels that come in from outside the picture are "ignore" (255) in a
semantic mask, void (0) in a panoptic map, absent from every instance mask, and have the mean colour
in the image.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from segedu.ops.masks import resize_labels

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


# Number of dimensions and type that each part of a sample has.
_MASKS = {"mask": (2, torch.uint8), "masks": (3, torch.bool), "panoptic_seg": (2, torch.int32)}


def as_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample whose parts are tv_tensors of the types that the transforms know by.

    A plain tensor would pass a flip or a crop unmoved, apart from its image.

    Args:
        sample: ``image`` (C, H, W), ``mask`` (H, W) of any integers 0..255, ``masks`` (N, H, W) of
            0 and 1, ``panoptic_seg`` (H, W) of any integers, ``boxes``; as tensors or tv_tensors.

    Raises:
        TypeError: if the sample is no dict, a part no tensor, a mask not of integers, or boxes are
            a plain tensor, of which nobody knows what the four numbers mean.
        ValueError: if a part has other dimensions, or a mask other numbers.
    """
    if not isinstance(sample, dict):
        raise TypeError(f"a sample must be a dict with 'image', got {type(sample).__name__}")
    sample = dict(sample)
    for key in sample.keys() & {"image", "boxes", *_MASKS}:
        if not isinstance(sample[key], Tensor):
            raise TypeError(f"{key} must be a tensor, got {type(sample[key]).__name__}")
    if "image" in sample:
        if sample["image"].ndim != 3:
            raise ValueError(f"image must be (C, H, W), got {tuple(sample['image'].shape)}")
        sample["image"] = tv_tensors.Image(sample["image"])
    if "boxes" in sample and not isinstance(sample["boxes"], tv_tensors.BoundingBoxes):
        raise TypeError(
            "boxes must be tv_tensors.BoundingBoxes, with their format and canvas_size, "
            "got a plain tensor"
        )
    for key, (ndim, dtype) in _MASKS.items():
        if key in sample:
            sample[key] = _as_mask(key, sample[key], ndim, dtype)
    return sample


def _as_mask(key: str, mask: Tensor, ndim: int, dtype: torch.dtype) -> tv_tensors.Mask:
    if mask.ndim != ndim:
        wanted = "(H, W)" if ndim == 2 else "(N, H, W)"
        raise ValueError(f"{key} must be {wanted}, got {tuple(mask.shape)}")
    if mask.is_floating_point() or mask.is_complex():
        raise TypeError(f"{key} must hold integers, got {mask.dtype}")
    if mask.dtype != dtype:
        kept = mask.to(dtype)
        if not torch.equal(kept.to(mask.dtype), mask):
            wrong = mask[kept.to(mask.dtype) != mask][0]
            allowed = {torch.uint8: "0..255", torch.bool: "0 and 1"}.get(dtype, str(dtype))
            raise ValueError(f"{key} must hold {allowed}, got {wrong}")
        mask = kept
    return tv_tensors.Mask(mask)


class AsSample(nn.Module):
    """`as_sample` as the first step of a recipe."""

    def forward(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Return the sample with tv_tensors as its parts."""
        return as_sample(sample)


class ScaleAndCrop(v2.Transform):
    """Scales by a random factor, crops a random window of ``size``, pads right and below.

    Args:
        size: height and width of the result in pixels, or one int for both.
        scale: range of the random factor; 1 keeps the picture's own resolution.
        mean: colour of the padding, one number in 0..1 per channel.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float],
        mean: Sequence[float] = MEAN,
    ):
        super().__init__()
        self.size = _pair(size)
        self.scale, self.mean = scale, mean
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be a range 0 < low <= high, got {scale}")

    def forward(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Move all parts of a sample with one draw."""
        return super().forward(as_sample(sample))

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
        if isinstance(inpt, tv_tensors.Mask):
            inpt = tv_tensors.Mask(resize_labels(inpt.as_subclass(Tensor), params["size"]))
        else:
            inpt = self._call_kernel(v2.functional.resize, inpt, params["size"], antialias=True)
        return self._call_kernel(
            v2.functional.pad, inpt, padding=params["padding"], fill=self._outside(inpt)
        )

    def _outside(self, part: Any) -> Any:
        """What pixels from outside the picture are filled with, for one part of a sample."""
        if isinstance(part, tv_tensors.Image):
            _check_channels(part, self.mean)
            return [round(255 * mean) for mean in self.mean]  # uint8, 0 after normalisation
        is_semantic = isinstance(part, tv_tensors.Mask) and part.dtype == torch.uint8
        return IGNORE_INDEX if is_semantic else 0


class FitInto(ScaleAndCrop):
    """Scales the whole picture, undistorted, into ``size`` and pads right and below."""

    def __init__(self, size: int | Sequence[int], mean: Sequence[float] = MEAN):
        super().__init__(size, scale=(1.0, 1.0), mean=mean)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Compute the factor by which the picture just fits."""
        old = v2.query_size(flat_inputs)
        height, width = _fit(old, min(n / o for n, o in zip(self.size, old, strict=True)))
        return {
            "crop": (0, 0, *old),
            "size": [height, width],
            "padding": [0, 0, self.size[1] - width, self.size[0] - height],
        }


class CenterCrop(ScaleAndCrop):
    """Cuts the middle out; of a side that is shorter than ``size`` all of it."""

    def __init__(self, size: int | Sequence[int]):
        super().__init__(size, scale=(1.0, 1.0))

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Compute the window."""
        extents = list(zip(v2.query_size(flat_inputs), self.size, strict=True))
        window = [min(old, new) for old, new in extents]
        top, left = (round((old - min(old, new)) / 2) for old, new in extents)
        return {"crop": (top, left, *window), "size": window, "padding": [0, 0, 0, 0]}


class RandomShorterSide(ScaleAndCrop):
    """Scales the whole picture, undistorted, to a shorter side that is drawn from several.

    Args:
        min_sizes: lengths of the shorter side, in pixels.
        max_size: longest side that is allowed; the picture is made smaller to fit.
    """

    def __init__(self, min_sizes: Sequence[int], max_size: int | None = None):
        if not min_sizes or min(min_sizes) < 1:
            raise ValueError(f"min_sizes must be one or more sizes >= 1, got {min_sizes}")
        super().__init__(min_sizes[0], scale=(1.0, 1.0))
        self.min_sizes, self.max_size = min_sizes, max_size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the length of the shorter side."""
        old = v2.query_size(flat_inputs)
        factor = self.min_sizes[int(torch.randint(len(self.min_sizes), ()))] / min(old)
        if self.max_size is not None:
            factor = min(factor, self.max_size / max(old))
        return {"crop": (0, 0, *old), "size": _fit(old, factor), "padding": [0, 0, 0, 0]}


def _fit(old: Sequence[int], factor: float) -> list[int]:
    return [max(1, round(extent * factor)) for extent in old]


def _check_channels(image: Tensor, mean: Sequence[float]) -> None:
    if image.shape[-3] != len(mean):
        raise ValueError(
            f"image has {image.shape[-3]} channels, but there are {len(mean)} means; pass mean and "
            "std of your images, as segedu.data.channel_statistics computes them"
        )


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
    """Image uint8 to normalised float32, semantic mask to int64; the other parts stay.

    Args:
        mean, std: of the channels of the images in 0..1.
    """

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD):
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(f"mean and std must have one number > 0 each, got {mean} and {std}")
        self.mean, self.std = list(mean), list(std)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Convert one part of the sample."""
        if isinstance(inpt, tv_tensors.Image):
            _check_channels(inpt, self.mean)
            image = v2.functional.to_dtype(inpt, torch.float32, scale=True)
            return v2.functional.normalize(image, self.mean, self.std)
        if isinstance(inpt, tv_tensors.Mask) and inpt.dtype == torch.uint8:
            return tv_tensors.Mask(inpt.long())
        return inpt


class Jitter(v2.Transform):
    """Brightness, contrast and, in colour images, saturation vary by up to ``strength``.

    Images of 1 and 3 channels go through torchvision's ``ColorJitter``; it knows no others, whose
    brightness and contrast vary here.
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, strength: float = 0.3):
        super().__init__()
        self.strength = strength
        self.color = v2.ColorJitter(strength, strength, strength)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the two factors, for images that are neither grey nor of colours."""
        (channels,) = v2.query_chw(flat_inputs)[:1]
        if channels in (1, 3):
            return {}
        low, high = 1 - self.strength, 1 + self.strength
        return {"factors": torch.empty(2).uniform_(low, high).tolist()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Vary one image, uint8."""
        if not params:
            return self.color(inpt)
        brightness, contrast = params["factors"]
        image = inpt.as_subclass(Tensor).float() * brightness
        image = (image - image.mean()) * contrast + image.mean()
        return tv_tensors.Image(image.round().clamp(0, 255).to(inpt.dtype))


def training(
    size: int | Sequence[int],
    *,
    scale: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    color: bool = True,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> v2.Compose:
    """Return the usual augmentation: random scale, crop, flip and colour, then normalisation.

    Args:
        size: height and width of the crop in pixels, or one int for both.
        scale: range of the random scale; ``(1, 1)`` switches it off.
        flip: whether half of the samples are mirrored left to right.
        color: whether brightness, contrast and saturation vary by up to 30 %.
        mean, std: of the C channels of the images in 0..1.

    Returns:
        A transform of sample dicts: ``image`` becomes float32 (C, size), normalised by ``mean``
        and ``std``; ``mask`` int64 with 255 where the picture did not reach.
    """
    steps: list[nn.Module] = [ScaleAndCrop(size, scale, mean)]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color:
        steps.append(Jitter())
    return v2.Compose([*steps, DropInvisible(), ToModelInput(mean, std)])


def evaluation(
    size: int | Sequence[int] | None = None,
    *,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> v2.Compose:
    """Return the transform for evaluation: normalisation, and with ``size`` fitting into it.

    Args:
        size: height and width that every picture is scaled into, undistorted, and padded to;
            without it pictures keep their sizes.
        mean, std: of the C channels of the images in 0..1.
    """
    steps = [AsSample()] if size is None else [FitInto(size, mean), DropInvisible()]
    return v2.Compose([*steps, ToModelInput(mean, std)])


def instances(
    min_sizes: Sequence[int] | None = None,
    max_size: int | None = None,
    *,
    crop: int | Sequence[int] | None = None,
    scale: tuple[float, float] = (0.5, 2.0),
    flip: bool = False,
    color: bool = False,
    mean: Sequence[float] = MEAN,
) -> v2.Compose:
    """Return the transform for networks that take images in 0..1 and normalise them themselves.

    Without arguments it is that of evaluation. Training looks at the whole picture in several
    sizes (``min_sizes``) or at crops of one size (``crop``), which can be stacked; image, boxes,
    masks and panoptic map move together into a new sample, and the one given stays as it is.

    Args:
        min_sizes: lengths of the shorter side, in pixels, one of which is drawn.
        max_size: longest side that is allowed; the whole picture is made smaller to fit.
        crop: height and width of a random crop in pixels, or one int for both.
        scale: range of the random scale of a crop.
        flip: whether half of the samples are mirrored left to right.
        color: whether brightness, contrast and saturation vary by up to 30 %.
        mean: of the C channels of the images in 0..1; a crop that reaches over the picture's end is
            filled with it.

    Returns:
        A transform of instance and panoptic samples: ``image`` becomes float32 (C, H, W) in 0..1;
        objects that become too small for a pixel, or leave the crop, are dropped.

    Raises:
        ValueError: ``min_sizes`` is empty or not positive, or given together with ``crop``.
    """
    steps: list[nn.Module] = [AsSample()]
    if min_sizes is not None and crop is not None:
        raise ValueError(f"give min_sizes or crop, not both; got {min_sizes} and {crop}")
    if min_sizes is not None:
        steps += [RandomShorterSide(min_sizes, max_size), DropInvisible()]
    if crop is not None:
        steps += [ScaleAndCrop(crop, scale, mean), DropInvisible()]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color:
        steps.append(Jitter())
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


class FinishBatch(nn.Module):
    """Mirror, colour and normalisation of `training` for a batch of crops, on its device.

    The loader is left with `ScaleAndCrop`, whose crops are bytes. Each picture draws its own
    numbers; brightness, contrast and saturation follow each other in this order.

    Args:
        flip: whether half of the samples are mirrored left to right.
        color: by how much brightness, contrast and saturation vary at most; 0 switches it off.
        mean, std: of the C channels of the images in 0..1.
    """

    def __init__(
        self,
        *,
        flip: bool = True,
        color: float = 0.3,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ):
        super().__init__()
        if not 0 <= color <= 1:
            raise ValueError(f"color must be in 0..1, got {color}")
        self.flip, self.color = flip, color
        self.normalize = ToModelInput(mean, std)

    def _vary(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in 0..1 with other brightness, contrast and saturation."""
        factors = images.new_empty(3, len(images), 1, 1, 1)
        brightness, contrast, saturation = factors.uniform_(1 - self.color, 1 + self.color)
        images = (images * brightness).clamp(0, 1)
        colors = images.shape[1] == 3
        grey = v2.functional.rgb_to_grayscale(images) if colors else images
        images = (grey.mean((1, 2, 3), keepdim=True)).lerp(images, contrast).clamp(0, 1)
        if colors:
            images = v2.functional.rgb_to_grayscale(images).lerp(images, saturation).clamp(0, 1)
        return images

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Finish ``image`` (N, C, H, W) and ``mask`` (N, H, W), both uint8.

        Returns:
            The batch with ``image`` float32, normalised, and ``mask`` int64.

        Raises:
            ValueError: if these are not such crops.
        """
        images, masks = (batch[key].as_subclass(Tensor) for key in ("image", "mask"))
        if images.ndim != 4 or masks.shape != (len(images), *images.shape[2:]):
            raise ValueError(
                "image must have shape (N, C, H, W) and mask (N, H, W), "
                f"got {tuple(images.shape)} and {tuple(masks.shape)}"
            )
        if images.dtype != torch.uint8:
            raise ValueError(f"image must be uint8, as ScaleAndCrop gives it, got {images.dtype}")
        if self.flip:
            mirror = torch.rand(len(images), device=images.device) < 0.5
            images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
            masks = torch.where(mirror[:, None, None], masks.flip(-1), masks)
        images = images.float() / 255
        if self.color:
            images = self._vary(images)
        images = self.normalize(tv_tensors.Image(images)).as_subclass(Tensor)
        return {**batch, "image": images, "mask": masks.long()}
