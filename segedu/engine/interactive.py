"""A user who clicks until a mask is right, played by the mask that is wanted.

The first click goes to the middle of the object, each further one to the pixel that lies deepest in
what is missing (a positive click) or in what is too much (a negative one), never twice to the same:
how interactive segmentation is judged (Sofiiuk et al. 2022, "Reviving iterative training with mask
guidance for interactive segmentation"). `segedu.tasks.Promptable` learns and judges by the same
rounds; over a data set the number of clicks, NoC, is

    task = Promptable(clicks=20)
    evaluate(model, loader, ClickIoU(20, targets=(0.85, 0.9)), task=task)["noc_85"]
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from segedu.engine.checks import at_least_one
from segedu.models.sam import Masks
from segedu.ops import center_clicks, error_clicks, masks_to_boxes


class Round(NamedTuple):
    """One prompt more for each of P objects of an image, and the answer."""

    answer: Masks
    found: Tensor  #: bool (P, H, W), of each answer the mask that the network thinks best
    points: Tensor  #: float32 (P, n, 2), x and y of all clicks so far; n = 0 after a box
    labels: Tensor  #: int64 (P, n), 1 on the object, 0 beside it, -1 no click: nothing was wrong


class Clicks(NamedTuple):
    """How one object was found."""

    count: int  #: clicks until the IoU was reached; as many as allowed if it never was
    reached: bool
    ious: list[float]  #: after each click
    points: Tensor  #: float32 (n, 2), x and y of each click
    labels: Tensor  #: int64 (n,), 1 positive, 0 negative
    masks: Tensor  #: bool (n, H, W), after each click


def rounds(
    model: nn.Module, embedding: Tensor, masks: Tensor, clicks: int, *, random: bool = False
) -> Iterator[Round]:
    """Prompt a network for each object of one image; every answer is a mask prompt for the next.

    A first prompt may mean several things, so several masks are asked for; after it one.

    Args:
        model: has `segedu.models.sam.SAM.segment`.
        embedding: of the image, ``model.embed(image[None])``.
        masks: bool (P, H, W), the objects that are wanted, none of them empty.
        clicks: rounds, at least 1.
        random: clicks as they are trained with: the first prompt is, by chance, the boxes or a
            pixel of each object, then any wrong pixel.

    Yields:
        A `Round` for each prompt; none without an object.
    """
    if not len(masks):
        return
    size = tuple(masks.shape[-2:])
    prompts, points, labels = _first_prompt(masks, random)
    clicked = None if random else torch.zeros_like(masks)
    for number in range(clicks):
        if labels.shape[1]:
            prompts |= {"points": points[None], "labels": labels[None]}
        answer = model.segment(embedding, size, **prompts, multimask=number == 0)
        found, low_res = _best(answer)
        yield Round(answer, found, points, labels)
        if number + 1 < clicks:
            if clicked is not None:
                x, y = points[:, -1].long().unbind(1)
                clicked[torch.arange(len(masks), device=x.device), y, x] |= labels[:, -1] >= 0
            place, label = error_clicks(found, masks, random=random, clicked=clicked)
            points = torch.cat([points, place[:, None]], dim=1)
            labels = torch.cat([labels, label[:, None]], dim=1)
            prompts["masks"] = low_res[None]


@torch.no_grad()
def clicks_to_iou(
    model: nn.Module,
    image: Tensor,
    mask: Tensor,
    target_iou: float = 0.85,
    max_clicks: int = 20,
) -> Clicks:
    """Click on one object until its mask is good enough.

    Args:
        model: a promptable network such as ``sam_tiny``; call ``model.eval()`` before.
        image: float (3, H, W) in [0, 1].
        mask: bool (H, W), the object, not empty.
        target_iou: in (0, 1].
        max_clicks: when the user gives up, at least 1.

    Returns:
        The number of clicks and what happened after each.

    Raises:
        TypeError: the network is not promptable, or the mask is not bool.
        ValueError: the mask is empty or does not fit the image, or a setting is out of range.
    """
    at_least_one(max_clicks=max_clicks)
    if not 0 < target_iou <= 1:
        raise ValueError(f"target_iou must be in (0, 1], got {target_iou}")
    if not (hasattr(model, "embed") and hasattr(model, "segment")):
        raise TypeError(f"model must be promptable, such as sam_tiny, got {type(model).__name__}")
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}")
    if image.ndim != 3 or mask.shape != image.shape[1:]:
        raise ValueError(
            f"image must be (3, H, W) and mask (H, W), got {tuple(image.shape)} and "
            f"{tuple(mask.shape)}"
        )
    device = next(model.parameters()).device
    wanted = mask.to(device)[None]  # (1, H, W)
    ious, found = [], []
    for turn in rounds(model, model.embed(image.to(device)[None]), wanted, max_clicks):
        if turn.labels[0, -1] < 0:  # each wrong pixel has been clicked on
            break
        points, labels = turn.points[0], turn.labels[0]
        found.append(turn.found[0])
        ious.append(_iou(turn.found[0], wanted[0]))
        if ious[-1] >= target_iou:
            break
    reached = ious[-1] >= target_iou
    count = len(ious) if reached else max_clicks
    return Clicks(count, reached, ious, points, labels, torch.stack(found))


def _first_prompt(masks: Tensor, random: bool) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Boxes or nothing, and the first clicks (P, 1, 2) and (P, 1), or none (P, 0, 2), (P, 0)."""
    labels = masks.new_ones(len(masks), 1, dtype=torch.int64)
    if random and torch.rand(()) < 0.5:
        empty = labels.new_zeros(len(masks), 0, 2, dtype=torch.float32)
        return {"boxes": masks_to_boxes(masks)[None]}, empty, labels[:, :0]
    if random:
        places, _ = error_clicks(torch.zeros_like(masks), masks, random=True)
    else:
        places = center_clicks(masks)
    return {}, places[:, None], labels


def _best(answer: Masks) -> tuple[Tensor, Tensor]:
    """Of the masks of P prompts on one image those that the network thinks best.

    Returns:
        bool (P, H, W) and logits (P, S/4, S/4), without a gradient.
    """
    best = answer.iou[0].argmax(1)  # (P,)
    rows = torch.arange(len(best), device=best.device)
    return answer.logits[0, rows, best].detach() > 0, answer.low_res[0, rows, best].detach()


def _iou(found: Tensor, wanted: Tensor) -> float:
    """IoU of two masks (H, W), of which the second is not empty."""
    return (found & wanted).sum().item() / (found | wanted).sum().item()
