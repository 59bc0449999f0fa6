"""Random changes that a scan could have had, applied to image and mask alike, in 2-D and 3-D.

One resampling does all that moves voxels (rotation, scale, elastic deformation), then come mirrors
and what changes intensities only (bias field, gamma, noise). It runs on the device of the image.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255  #: mask of voxels that come from outside the scan
_AT_ONCE = 1 << 21  # sample points in memory at a time


@dataclass(frozen=True)
class Augment:
    """A transform of samples ``{"image": (C, *S) float, "mask": (*S) integer}``, S in 2-D or 3-D.

    Attributes:
        rotation: largest angle in degrees, about each axis (in 2-D: in the plane).
        scale: range of the size of things; 1 keeps it.
        elastic: standard deviation of the displacement at the control points, in voxels.
        control: voxels between control points; displacements are interpolated between them.
        flip: axes of S that may be mirrored, each half of the time. Left and right are not alike in
            the body: leave out the axis if classes name a side.
        noise: largest standard deviation of added noise, relative to that of the channel.
        gamma: range of the exponent on intensities, each channel scaled to 0..1.
        bias: largest logarithm of a smooth factor on intensities above the smallest one (the
            uneven sensitivity of MR coils).
        probability: of each kind of change, flips apart.
        spacing: size of a voxel along S, in any unit: a rotation must know it.
        generator: of the random numbers, on the CPU; by default torch's global one, which the
            loaders of `segedu.engine.make_loader` seed for each sample.

    Masks take the nearest voxel; places outside the scan become 255. The image is continued with
    the values of its border.

    Example:
        >>> sample = {"image": torch.rand(1, 8, 12, 10), "mask": torch.zeros(8, 12, 10).long()}
        >>> changed = Augment(rotation=15, elastic=1.0)(sample)
        >>> changed["image"].shape, changed["mask"].dtype
        (torch.Size([1, 8, 12, 10]), torch.int64)
    """

    rotation: float = 15.0
    scale: tuple[float, float] = (0.85, 1.2)
    elastic: float = 1.0
    control: int = 10
    flip: tuple[int, ...] = ()
    noise: float = 0.1
    gamma: tuple[float, float] = (0.7, 1.5)
    bias: float = 0.3
    probability: float = 0.5
    spacing: tuple[float, ...] | None = None
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be in 0..1, got {self.probability}")
        for name in ("scale", "gamma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be 0 < low <= high, got {(low, high)}")
        for name in ("rotation", "elastic", "noise", "bias"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.control < 1:
            raise ValueError(f"control must be at least 1, got {self.control}")

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Change image and mask; the sample that was given stays as it was.

        Raises:
            ValueError: if the shapes do not fit each other.
        """
        image, mask = sample["image"], sample["mask"]
        if image.shape[1:] != mask.shape or mask.ndim not in (2, 3):
            raise ValueError(
                "image must be (C, *S) and mask (*S) in 2-D or 3-D, "
                f"got {tuple(image.shape)} and {tuple(mask.shape)}"
            )
        matrix, field = self.draw_matrix(mask.ndim), self._displacement(mask.shape)
        if matrix is not None or field is not None:
            image, mask = move_voxels(image, mask, matrix, field)
        axes = [axis for axis in self.flip if self._uniform() < 0.5]
        image, mask = image.flip([axis + 1 for axis in axes]), mask.flip(axes)
        return {**sample, "image": self._intensities(image), "mask": mask}

    def _uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def _happens(self) -> bool:
        return self._uniform() < self.probability

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def draw_matrix(self, dimensions: int) -> Tensor | None:
        """(n, n): from steps in the result to steps in the source, both in units of ``spacing``."""
        matrix = torch.eye(dimensions)
        turns = self.rotation > 0 and self._happens()
        if turns:
            for first in range(dimensions):
                for second in range(first):
                    angle = math.radians(self._uniform(-self.rotation, self.rotation))
                    turn = torch.eye(dimensions)
                    turn[first, first] = turn[second, second] = math.cos(angle)
                    turn[first, second] = math.sin(angle)
                    turn[second, first] = -math.sin(angle)
                    matrix = turn @ matrix
        scales = self.scale != (1.0, 1.0) and self._happens()
        if scales:
            matrix = matrix / self._uniform(*self.scale)
        if not (turns or scales):
            return None
        step = torch.tensor(self.spacing or (1.0,) * dimensions)
        return matrix * step / step[:, None]  # in voxels

    def _displacement(self, size: torch.Size) -> Tensor | None:
        """(n, *grid): voxels to go, at control points from the first to the last voxel."""
        if self.elastic == 0 or not self._happens():
            return None
        points = [max(2, round(n / self.control) + 1) for n in size]
        return self.elastic * self._normal(len(size), *points)

    def _intensities(self, image: Tensor) -> Tensor:
        places = tuple(range(1, image.ndim))  # each channel has its own range
        low = image.amin(places, keepdim=True)
        if self.bias > 0 and self._happens():
            strength = self._uniform(0, self.bias)
            field = self._normal(1, 1, *[3] * (image.ndim - 1))
            mode = "bilinear" if image.ndim == 3 else "trilinear"
            field = F.interpolate(field, image.shape[1:], mode=mode, align_corners=True)[0]
            field = strength * field / field.abs().max()
            image = (image - low) * field.to(image).exp() + low
        if self.gamma != (1.0, 1.0) and self._happens():
            low, high = image.amin(places, keepdim=True), image.amax(places, keepdim=True)
            unit = (image - low) / (high - low).clamp(min=1e-8)
            image = unit ** self._uniform(*self.gamma) * (high - low) + low
        if self.noise > 0 and self._happens():
            strength = self._uniform(0, self.noise) * image.std(places, keepdim=True)
            image = image + strength * self._normal(*image.shape).to(image)
        return image


def move_voxels(
    image: Tensor, mask: Tensor, matrix: Tensor | None, field: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Move voxels, a few slices at a time, so that memory does not grow with the scan."""
    size = mask.shape
    labels = mask[None, None].float() + 1  # 0 is left for what lies outside
    step = max(1, _AT_ONCE // math.prod(size[1:]))
    images, masks = [], []
    for first in range(0, size[0], step):
        rows = range(first, min(first + step, size[0]))
        grid = _sample_points(rows, size, matrix, field, image)
        how = {"align_corners": True}
        images.append(F.grid_sample(image[None], grid, padding_mode="border", **how)[0])
        masks.append(F.grid_sample(labels, grid, mode="nearest", **how)[0, 0])
    moved = torch.cat(masks)
    moved = torch.where(moved == 0, IGNORE + 1, moved) - 1
    return torch.cat(images, dim=1), moved.to(mask.dtype)


def _sample_points(
    rows: range, size: torch.Size, matrix: Tensor | None, field: Tensor | None, like: Tensor
) -> Tensor:
    """Where ``grid_sample`` reads for some rows of the result, (1, rows, *S[1:], n)."""
    axes = [torch.arange(rows.start, rows.stop), *(torch.arange(n) for n in size[1:])]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).to(like)  # (rows, ..., n)
    last = torch.tensor(size).to(like) - 1
    unit = 2 * points / last.clamp(min=1) - 1  # -1 at the first voxel, 1 at the last
    source = points
    if matrix is not None:
        source = (points - last / 2) @ matrix.to(like).T + last / 2
    if field is not None:
        moves = F.grid_sample(field[None].to(like), unit[None].flip(-1), align_corners=True)[0]
        source = source + moves.movedim(0, -1)
    return (2 * source / last.clamp(min=1) - 1)[None].flip(-1)  # grid_sample wants x, y, z
