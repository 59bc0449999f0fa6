"""Predicting label maps, large images piece by piece, and averages over views of an image."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

Predictor = Callable[[Tensor], Tensor]


def probabilities(logits: Tensor) -> Tensor:
    """Logits (N,C,*S) as probabilities: softmax over the classes, or sigmoid if C is 1."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


@torch.no_grad()
def predict_labels(
    model: nn.Module, images: Tensor | Dataset | DataLoader, *, batch_size: int = 8
) -> Tensor:
    """The label maps that ``model`` (left in eval mode, where it is) gives to images.

    Args:
        model: maps (N,3,H,W) to logits (N,C,H,W).
        images: one image (3,H,W), several (N,3,H,W), a data set of samples with ``image``, or a
            loader of such batches. All must have one size.
        batch_size: images that the model sees at once; those of a loader come in its batches.

    Returns:
        Labels, int64 on the CPU: the class with the largest logit or, if C is 1, 1 where the logit
        is positive. (N,H,W), for one image (H,W).

    Raises:
        ValueError: if there are no images, or they have another shape or several sizes.

    Example:
        >>> predict_labels(nn.Conv2d(3, 5, 1), torch.zeros(2, 3, 4, 6)).shape
        torch.Size([2, 4, 6])
    """
    if isinstance(images, Tensor) and images.ndim == 3:
        return predict_labels(model, images[None])[0]
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), "cpu")
    labels = []
    for batch in _batches(images, batch_size):
        _check_images(batch)
        logits = model(batch.to(device))  # (N, C, H, W)
        found = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
        labels.append(found.cpu())
    if not sum(map(len, labels)):
        raise ValueError("images holds no image")
    sizes = {tuple(part.shape[1:]) for part in labels}
    if len(sizes) > 1:
        raise ValueError(f"images must have one size, got {sorted(sizes)}: predict one at a time")
    return torch.cat(labels)  # (N, H, W)


def _batches(images: Tensor | Dataset | DataLoader, batch_size: int) -> Iterator[Tensor]:
    if isinstance(images, DataLoader):
        return (batch["image"] for batch in images)
    if isinstance(images, Tensor):
        return iter(images.split(batch_size))
    return (batch["image"] for batch in DataLoader(images, batch_size, collate_fn=_only_images))


def _only_images(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    sizes = {tuple(sample["image"].shape) for sample in samples}
    if len(sizes) > 1:
        raise ValueError(f"images must have one size, got {sorted(sizes)}: predict one at a time")
    return {"image": torch.stack([sample["image"] for sample in samples])}


@torch.no_grad()
def sliding_window(
    model: Predictor,
    images: Tensor,
    window: int | tuple[int, ...],
    *,
    overlap: float = 0.5,
    weights: str = "gaussian",
    activation: Predictor = probabilities,
    at_once: int = 1,
) -> Tensor:
    """Predict images or volumes in overlapping windows and average their probabilities.

    The last window along an axis is moved inwards, so no padding is ever seen. An image no larger
    than the window is predicted as a whole, and gives exactly what the model gives.

    Args:
        model: maps (N,3,h,w) to logits (N,C,h,w), or (N,1,d,h,w) to (N,C,d,h,w); call
            ``model.eval()`` before.
        images: (N,3,H,W), or volumes (N,1,D,H,W).
        window: h and w, or d, h and w, or one number for all.
        overlap: share of a window that the next one sees again, 0 <= overlap < 1.
        weights: ``"gaussian"`` trusts the centre of a window more than its border, where the
            context is cut off (sigma is 1/8 of the side, as in Isensee et al. 2021);
            ``"constant"`` trusts all alike.
        activation: turns logits into probabilities; the identity for a ``model`` that does so.
        at_once: windows that the model sees as one batch: more memory, but faster on a GPU, and on
            a CPU as well if N is 1 (PyTorch then convolves small volumes by its slow method).

    Returns:
        Probabilities (N,C,H,W) or (N,C,D,H,W).

    Raises:
        ValueError: if an argument is out of range.
    """
    if images.ndim not in (4, 5):
        raise ValueError(
            f"images must have the shape (N,3,H,W) or (N,1,D,H,W), got {tuple(images.shape)}"
        )
    strips = predict_strips(
        model,
        lambda here: images[(..., *here)],
        tuple(images.shape[2:]),
        window,
        overlap=overlap,
        weights=weights,
        activation=activation,
        at_once=at_once,
    )
    result, top = None, 0
    for strip in strips:
        if result is None:
            result = strip.new_empty(*strip.shape[:2], *images.shape[2:])  # (N,C,H,W)
        result[:, :, top : top + strip.shape[2]] = strip
        top += strip.shape[2]
    return result


@torch.no_grad()
def predict_strips(
    model: Predictor,
    read: Callable[[tuple[slice, ...]], Tensor],
    size: tuple[int, ...],
    window: int | tuple[int, ...],
    *,
    overlap: float = 0.5,
    weights: str = "gaussian",
    activation: Predictor = probabilities,
    at_once: int = 1,
) -> Iterator[Tensor]:
    """What `sliding_window` gives, strip by strip from the top down, of images of any size.

    Only as many rows as a window has are held at once.

    Args:
        model: as in `sliding_window`.
        read: rows and columns (or slices, rows and columns) -> that part of the images
            (N,3,h,w), or of the volumes (N,1,d,h,w).
        size: H and W of the images, or D, H and W of the volumes.
        window, overlap, weights, activation, at_once: as in `sliding_window`.

    Yields:
        Probabilities (N,C,h,W), or (N,C,d,H,W), of the next rows; together they are H (or D).

    Raises:
        ValueError: if an argument is out of range.
    """
    window = (window,) * len(size) if isinstance(window, int) else tuple(window)
    if len(window) != len(size) or min(window) < 1:
        raise ValueError(f"window must be positive, one number or {len(size)}, got {window}")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be in [0, 1), got {overlap}")
    if weights not in ("gaussian", "constant"):
        raise ValueError(f"weights must be 'gaussian' or 'constant', got {weights!r}")
    if at_once < 1:
        raise ValueError(f"at_once must be at least 1, got {at_once}")
    window = tuple(map(min, window, size))
    if window == tuple(size):
        yield activation(model(read(tuple(map(slice, size)))))
        return
    tops, *others = map(window_starts, size, window, [overlap] * len(size))
    places = [
        tuple(slice(start, start + n) for start, n in zip(corner, window, strict=True))
        for corner in itertools.product(tops, *others)
    ]
    predicted = _predicted(lambda parts: activation(model(parts)), read, places, at_once)
    weight, summed, weight_sum = None, None, None
    for top, next_top in itertools.pairwise([*tops, size[0]]):
        for (_, *columns), part in itertools.islice(predicted, len(places) // len(tops)):
            if summed is None:
                # In half precision sums round away what is added, and a corner weighs exp(-24) = 0.
                precise = torch.promote_types(part.dtype, torch.float32)
                weight = _window_weight(window, weights, part.new_ones((), dtype=precise))
                held = (window[0], *size[1:])
                summed = weight.new_zeros(*part.shape[:2], *held)  # (N,C,h,W)
                weight_sum = weight.new_zeros(held)
            summed[(..., slice(None), *columns)] += part * weight
            weight_sum[(slice(None), *columns)] += weight
        done = next_top - top
        yield (summed[:, :, :done] / weight_sum[:done]).to(part.dtype)
        for rows, axis in ((summed, 2), (weight_sum, 0)):  # make room below
            kept = rows.narrow(axis, done, window[0] - done).clone()
            rows.narrow(axis, 0, window[0] - done).copy_(kept)
            rows.narrow(axis, window[0] - done, done).zero_()


def _predicted(
    model: Predictor,
    read: Callable[[tuple[slice, ...]], Tensor],
    places: Sequence[tuple[slice, ...]],
    at_once: int,
) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
    """Each window's place and probabilities (N,C,h,w)."""
    for first in range(0, len(places), at_once):
        group = places[first : first + at_once]
        parts = [read(here) for here in group]
        found = model(torch.cat(parts))  # (G*N,C,h,w)
        yield from zip(group, found.split(len(parts[0])), strict=True)


def _window_weight(window: tuple[int, ...], weights: str, one: Tensor) -> Tensor:
    weight = one
    for side in window:
        weight = weight.unsqueeze(-1) * window_profile(side, weights, one)  # (h,), (h,w), ...
    return weight


@torch.no_grad()
def predict_tta(
    model: Predictor,
    images: Tensor,
    *,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = True,
    rotate: bool = False,
    activation: Predictor = probabilities,
) -> Tensor:
    """Test-time augmentation: average the probabilities over views of ``images``.

    Each view is predicted, turned back and only then averaged.

    Args:
        model: maps (N,3,h,w) of any size to logits (N,C,h,w); call ``model.eval()`` before.
        images: (N,3,H,W).
        scales: factors on height and width.
        flip: also the mirror images (left and right swapped).
        rotate: also the turns by 90, 180 and 270 degrees, where no direction is up.
        activation: turns logits into probabilities; the identity for a ``model`` that does so.

    Returns:
        Probabilities (N,C,H,W).

    Raises:
        ValueError: if an argument is out of range.
    """
    _check_images(images)
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must be positive factors, at least one, got {scales}")
    size = images.shape[-2:]
    views = []
    for scale in scales:
        scaled = images
        if scale != 1:
            small = [max(1, round(side * scale)) for side in size]
            scaled = F.interpolate(images, small, mode="bilinear", antialias=True)
        for turns in range(4 if rotate else 1):
            for mirrored in (False, True) if flip else (False,):
                view = scaled.flip(-1) if mirrored else scaled
                found = activation(model(view.rot90(turns, (-2, -1))))
                found = found.rot90(-turns, (-2, -1))
                found = found.flip(-1) if mirrored else found
                if scale != 1:
                    found = F.interpolate(found, size, mode="bilinear", antialias=True)
                views.append(found)
    return torch.stack(views).mean(dim=0)


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """First rows of windows that cover ``length``, the last one flush with the end."""
    stride = max(1, int(window * (1 - overlap)))
    count = 1 + math.ceil((length - window) / stride)
    return [min(i * stride, length - window) for i in range(count)]


def window_profile(side: int, weights: str, like: Tensor) -> Tensor:
    """Weight of each row of a window (side,)."""
    if weights == "constant":
        return torch.ones(side).to(like)
    offset = torch.arange(side) - (side - 1) / 2
    return torch.exp(-0.5 * (offset / (side / 8)) ** 2).to(like)


def _check_images(images: Tensor) -> None:
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (N,3,H,W), got {tuple(images.shape)}")
