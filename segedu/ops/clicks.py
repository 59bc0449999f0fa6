"""Clicks on masks as a person would make them: in the middle of an object or of an error."""

import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.ops.distance import distance_transform


def center_clicks(masks: Tensor) -> Tensor:
    """The pixel of each mask that lies deepest inside; what lies outside of the image is outside.

    Args:
        masks: bool (P, H, W), none of them empty.

    Returns:
        float32 (P, 2), x and y in pixels.

    Raises:
        ValueError: a mask is empty.
    """
    if not bool(masks.flatten(1).any(1).all()):
        raise ValueError("masks must not be empty: there is nothing to click on")
    deepest = [int(depth(mask).argmax()) for mask in masks]
    return _places(torch.tensor(deepest, device=masks.device).long(), masks.shape[-1])


def error_clicks(
    found: Tensor, wanted: Tensor, *, random: bool = False, clicked: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The next click of someone who corrects masks.

    Without chance it goes to the pixel that lies deepest in what is missing or in what is too much,
    as interactive segmentation is judged (Sofiiuk et al. 2022, "Reviving iterative training with
    mask guidance", section 3.3); by chance to any wrong pixel, as it is trained (Kirillov et al.
    2023, "Segment anything", appendix A).

    Args:
        found: bool (P, H, W).
        wanted: bool (P, H, W).
        random: draw the pixel.
        clicked: bool (P, H, W), pixels that are not clicked on again, as in the code of Sofiiuk et
            al.; without it a network that does not follow is told the same thing for ever.

    Returns:
        float32 (P, 2), x and y in pixels, and int64 (P,): 1 on what is missing, 0 on what is too
        much, -1 where there is no error (or each of its pixels was clicked on).

    Raises:
        ValueError: the shapes differ.
    """
    if found.shape != wanted.shape or found.ndim != 3:
        raise ValueError(
            f"found and wanted must be (P, H, W), got {tuple(found.shape)} and "
            f"{tuple(wanted.shape)}"
        )
    wrong = found != wanted
    if clicked is not None:
        if clicked.shape != found.shape:
            raise ValueError(
                f"clicked must be {tuple(found.shape)} as found, got {tuple(clicked.shape)}"
            )
        wrong = wrong & ~clicked
    if random:
        scores = torch.rand(wrong.shape, device=wrong.device).flatten(1)
    else:
        deep = [
            torch.maximum(depth(miss), depth(extra))
            for miss, extra in zip(wanted & ~found, found & ~wanted, strict=True)
        ]
        scores = torch.stack(deep).flatten(1) if deep else wrong.flatten(1).double()
    place = scores.masked_fill(~wrong.flatten(1), -1).argmax(1)
    labels = wanted.flatten(1).gather(1, place[:, None])[:, 0].long()
    labels[~wrong.flatten(1).any(1)] = -1
    return _places(place, wanted.shape[-1]), labels


def depth(mask: Tensor) -> Tensor:
    """Distance (H, W) of each pixel of a mask to the nearest one outside of it."""
    return distance_transform(F.pad(mask, (1, 1, 1, 1)))[1:-1, 1:-1]


def _places(index: Tensor, width: int) -> Tensor:
    """Indices (P,) into flattened maps -> x and y (P, 2)."""
    return torch.stack([index % width, index // width], dim=1).float()
