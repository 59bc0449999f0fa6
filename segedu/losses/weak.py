"""What can be asked of a prediction where most pixels have no label.

*Partial cross entropy* (Tang et al. 2018, "On regularized losses for weakly-supervised CNN
segmentation") sums over the labelled pixels alone. That is
`segedu.losses.CrossEntropyLoss` on a mask that holds ``ignore_index`` wherever nothing was said, so
there is no class of its own for it. The losses below speak of the other pixels. In such a mask
"nobody said" and "void" are the same number, so those that look at all pixels take the void ones,
which must not count, as an argument of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segedu.losses._inputs import check_non_negative, check_reduction, check_tensor, mean_of
from segedu.ops.boxes import check_boxes
from segedu.ops.precision import full_precision
from segedu.ops.steps import step_pairs


class SizeConstraintLoss(nn.Module):
    r"""How far the size of each class is outside of bounds (Kervadec et al. 2019).

    The size :math:`V_c` is the sum of the probabilities of class c, here as a share of the pixels
    that count; the penalty is :math:`(V_c - a_c)^2` below the lower bound, :math:`(V_c - b_c)^2`
    above the upper one, and 0 between them ("Constrained-CNN losses for weakly supervised
    segmentation"). A tag needs no more: ``upper = 0`` for a class that is not in the image,
    ``lower`` above 0 for one that is. The paper counts pixels, so its weight of the penalty is that
    for shares divided by the square of their number.

    Args:
        reduction: ``"mean"`` over images and classes, ``"sum"`` or ``"none"``: (N, C).

    Shape:
        logits (N, C, *S) float, lower and upper (N, C) or (C,) in [0, 1], valid bool (N, *S), the
        pixels that count, all by default -> scalar, or (N, C). An image without a pixel that counts
        costs nothing.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_reduction(reduction)

    def forward(
        self, logits: Tensor, lower: Tensor, upper: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """Return the penalty of ``logits (N, C, *S)`` for bounds of their classes' shares.

        Raises:
            TypeError, ValueError: logits, bounds or ``valid`` are not as said above.
        """
        p, valid = _probabilities(logits, valid)
        _check_bounds(lower, upper, tuple(p.shape[:2]))
        pixels = valid.flatten(1).sum(1)[:, None]  # (N, 1)
        share = mean_of(p.flatten(2).sum(2), pixels)  # (N, C)
        outside = torch.relu(lower - share) + torch.relu(share - upper)
        penalty = outside.square() * (pixels > 0)
        if self.reduction == "none":
            return penalty
        return penalty.sum() if self.reduction == "sum" else penalty.mean()


class BoxTightnessLoss(nn.Module):
    r"""An object touches its box on all sides, and its class is nowhere outside of boxes.

    Kervadec et al. 2020, "Bounding boxes for weakly supervised segmentation: global constraints get
    close to full supervision": every band of w rows, or of w columns, of a tight box holds at least
    w pixels of its class, and the class is empty outside of its boxes. Here a band costs what it
    lacks, :math:`[w - \sum p_c]_+ / w`, and outside the mean of :math:`p_c`: straight lines, as the
    paper's extension of the log-barrier is where a constraint is violated. BoxInst (Tian et al.
    2021) asks the same of the projections of one object's mask; the bands can be asked of a map of
    classes, in which several boxes share a class.

    Args:
        width: w, rows or columns of a band; what is left over at the end is a narrower one.
        emptiness: weight of the outside.

    Attributes:
        parts: after a call, ``tightness``, the mean over the bands of each box and then over the
            boxes, and ``emptiness``, the mean over images and classes (detached, unweighted).

    Shape:
        logits (N, C, H, W) float; boxes, for each image (M, 4), xyxy in pixels, rounded outwards to
        whole ones; labels, for each image (M,) integer; classes, those of which every object has a
        box, all but 0 by default -> scalar.
    """

    def __init__(self, width: int = 1, emptiness: float = 1.0) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.width = width
        self.emptiness = check_non_negative("emptiness", emptiness)
        self.parts: dict[str, Tensor] = {}

    def forward(
        self,
        logits: Tensor,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        classes: Sequence[int] | None = None,
    ) -> Tensor:
        """Return the loss of ``logits (N, C, H, W)`` for the boxes of each image.

        Raises:
            TypeError, ValueError: logits, boxes, labels or classes are not as said above.
        """
        p, _ = _probabilities(logits, None)
        _check_images(p, boxes, labels)
        classes = list(range(1, p.shape[1]) if classes is None else classes)
        if not all(0 <= c < p.shape[1] for c in classes):
            raise ValueError(f"classes must be some of 0..{p.shape[1] - 1}, got {classes}")
        zero = p.sum() * 0
        tight, empty = [], []
        for maps, corners, names in zip(p, boxes, labels, strict=True):
            inside = torch.zeros(maps.shape, dtype=torch.bool, device=maps.device)
            for name, place in zip(names.tolist(), map(_whole_pixels, corners), strict=True):
                tight.append(self._shortage(maps[name][place]))
                inside[name][place] = True
            outside = ~inside[classes]  # (K, H, W)
            spilt = (maps[classes] * outside).flatten(1).sum(1)
            empty.append(mean_of(spilt, outside.flatten(1).sum(1)))
        tightness = torch.stack(tight).mean() if tight else zero
        emptiness = torch.stack(empty).mean() if classes else zero
        self.parts = {"tightness": tightness.detach(), "emptiness": emptiness.detach()}
        return tightness + self.emptiness * emptiness

    def _shortage(self, inside: Tensor) -> Tensor:
        """What the bands of a box (h, w) lack, their mean in [0, 1]."""
        lacks = []
        for lines in (inside.sum(1), inside.sum(0)):  # rows, columns
            bands = lines.split(self.width)
            lacks += [torch.relu(len(band) - band.sum()) / len(band) for band in bands]
        return torch.stack(lacks).mean()


class NeighborLoss(nn.Module):
    r"""Neighbours of one colour should be of one class: the gated CRF loss (Obukhov et al. 2019).

    The mean over the pixels i of :math:`\sum_j k_{ij} (1 - \sum_c p_{ic} p_{jc})`, where j are the
    other pixels of the square of ``2 radius + 1`` pixels around i, and

    .. math:: k_{ij} = \exp(-|x_i - x_j|^2 / 2σ_{xy}^2 - |I_i - I_j|^2 / 2σ_{rgb}^2)

    of their places and colours. The gate: pairs with a pixel that does not count are left out. An
    answer that is sure of one class everywhere costs nothing, so that labels must be learnt beside
    it. The defaults are those of the paper's code, whose images are in [0, 1].

    Args:
        radius: of the window, in pixels, at least 1.
        sigma_xy: σ_xy > 0, in pixels.
        sigma_rgb: σ_rgb > 0, in the unit of the images: of normalised ones divide by their standard
            deviation (0.1 / 0.225).

    Shape:
        logits (N, C, H, W) float, images (N, K, H, W) float, valid bool (N, H, W), the pixels that
        count, all by default -> scalar.
    """

    def __init__(self, radius: int = 5, sigma_xy: float = 6.0, sigma_rgb: float = 0.1) -> None:
        super().__init__()
        if radius < 1:
            raise ValueError(f"radius must be at least 1, got {radius}")
        for name, sigma in (("sigma_xy", sigma_xy), ("sigma_rgb", sigma_rgb)):
            if not 0 < sigma < float("inf"):
                raise ValueError(f"{name} must be > 0 and finite, got {sigma}")
        self.radius, self.sigma_xy, self.sigma_rgb = radius, float(sigma_xy), float(sigma_rgb)

    def forward(self, logits: Tensor, images: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the loss of ``logits (N, C, H, W)`` on their ``images (N, K, H, W)``.

        Raises:
            TypeError, ValueError: logits, images or ``valid`` are not as said above.
        """
        p, valid = _probabilities(logits, valid)
        if images.ndim != 4 or p.ndim != 4 or images[:, 0].shape != p[:, 0].shape:
            raise ValueError(
                "logits must be (N, C, H, W) and images (N, K, H, W) with the same N and size, "
                f"got {tuple(logits.shape)} and {tuple(images.shape)}"
            )
        images = full_precision(images.detach()).masked_fill(~valid[:, None], 0)
        total = p.sum() * 0
        for dy, dx in self._offsets(*p.shape[2:]):
            one, other = step_pairs(dy, dx, *p.shape[2:])
            far = (dy**2 + dx**2) / (2 * self.sigma_xy**2)
            unlike = (images[one] - images[other]).square().sum(1) / (2 * self.sigma_rgb**2)
            kernel = torch.exp(-far - unlike)
            apart = 1 - (p[one] * p[other]).sum(1)
            both = valid[one] & valid[other]
            total = total + 2 * (kernel * apart * both).sum()  # (i, j) and (j, i)
        return mean_of(total, valid.sum())

    def _offsets(self, height: int, width: int) -> list[tuple[int, int]]:
        """One of each pair of opposite steps inside the window and the image."""
        down, aside = min(self.radius, height - 1), min(self.radius, width - 1)
        steps = [(dy, dx) for dy in range(down + 1) for dx in range(-aside, aside + 1)]
        return [step for step in steps if step > (0, 0)]


def _probabilities(logits: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax (N, C, *S), 0 where a pixel does not count, and ``valid`` (N, *S).

    Raises:
        TypeError: logits are not floating point or ``valid`` is not bool.
        ValueError: the shapes do not fit, or there is no pixel.
    """
    check_tensor(logits)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point, got {logits.dtype}")
    if logits.ndim < 3 or logits.numel() == 0:
        raise ValueError(
            f"logits must be (N, C, ...) and hold at least one pixel, got {tuple(logits.shape)}"
        )
    shape = logits.shape[:1] + logits.shape[2:]
    if valid is None:
        valid = torch.ones(shape, dtype=torch.bool, device=logits.device)
    if valid.dtype != torch.bool:
        raise TypeError(f"valid must be bool, got {valid.dtype}: write mask != ignore_index")
    if valid.shape != shape:
        raise ValueError(f"valid must be {tuple(shape)}, got {tuple(valid.shape)}")
    hidden = ~valid[:, None]
    p = full_precision(logits).masked_fill(hidden, 0).softmax(1)
    return p.masked_fill(hidden, 0), valid


def _check_bounds(lower: Tensor, upper: Tensor, shape: tuple[int, int]) -> None:
    """Raise ValueError unless these bound shares for (N, C); on CUDA look at shapes only."""
    for name, bound in (("lower", lower), ("upper", upper)):
        if tuple(bound.shape) not in (shape, shape[1:]):
            raise ValueError(
                f"{name} must be {shape} or {shape[1:]}, one share for each class, "
                f"got {tuple(bound.shape)}"
            )
    if lower.is_cuda or upper.is_cuda:  # asking for values would make the host wait
        return
    if not bool(((lower >= 0) & (lower <= upper) & (upper <= 1)).all()):
        raise ValueError(
            "bounds must be shares with 0 <= lower <= upper <= 1 (divide pixels by H·W), got "
            f"lower {lower.tolist()} and upper {upper.tolist()}"
        )


def _check_images(p: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> None:
    """Raise TypeError or ValueError unless each image of ``p`` has its boxes and labels."""
    if p.ndim != 4 or len(boxes) != len(p) or len(labels) != len(p):
        raise ValueError(
            "logits must be (N, C, H, W), boxes and labels one tensor for each of N images, got "
            f"{tuple(p.shape)}, {len(boxes)} and {len(labels)}"
        )
    size = p.shape[:1:-1]  # (W, H)
    for corners, names in zip(boxes, labels, strict=True):
        check_boxes(corners)
        if names.shape != corners.shape[:1]:
            raise ValueError(
                f"boxes {tuple(corners.shape)} need one label each, got {tuple(names.shape)}"
            )
        if len(names) and (names.is_floating_point() or names.dtype == torch.bool):
            raise TypeError(f"labels must be integer, got {names.dtype}")
        if len(names) and not 0 <= int(names.min()) <= int(names.max()) < p.shape[1]:
            raise ValueError(f"labels must be 0..{p.shape[1] - 1}, got {names.tolist()}")
        first, last = corners[:, :2], corners[:, 2:]
        if not bool(((first >= 0) & (first < last) & (last <= last.new_tensor(size))).all()):
            raise ValueError(
                f"boxes must be xyxy inside of {size[0]} x {size[1]} pixels and not empty, got "
                f"{corners.tolist()}"
            )


def _whole_pixels(box: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the pixels that an xyxy box (4,) touches."""
    left, top = box[:2].floor().int().tolist()
    right, bottom = box[2:].ceil().int().tolist()
    return slice(top, bottom), slice(left, right)
