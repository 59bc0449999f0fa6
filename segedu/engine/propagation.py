"""Carry masks from the first frame of a video through the others by matching features.

Each place of a new frame looks for the most similar places in some past frames, the memory, and
takes over their labels: space-time memory in small (Oh et al. 2019, "Video object segmentation
using space-time memory networks"), with the affinity of label propagation (Jabri et al. 2020,
"Space-time correspondence as a contrastive random walk"): the k best matches only, near by.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.engine.checks import at_least_one


@torch.no_grad()
def layer_features(model: nn.Module, images: Tensor, layer: str, size: int) -> Tensor:
    """What a layer of a network makes of images, with length 1 at each place.

    Args:
        model: takes images; call ``model.eval()`` before.
        images: as the model wants them, (T, 3, H, W).
        layer: name as in ``model.named_modules()``, such as ``"decoder.2"``; it gives (T, D, h, w).
        size: height of the features that come back; width in proportion.

    Returns:
        float (T, D, size, w).

    Raises:
        ValueError: the model has no such layer, or it gives something else than maps.
    """
    at_least_one(size=size)
    modules = dict(model.named_modules())
    if layer not in modules:
        raise ValueError(f"layer must be one of {', '.join(filter(None, modules))}; got {layer!r}")
    kept: list[Tensor] = []
    handle = modules[layer].register_forward_hook(lambda _, inputs, output: kept.append(output))
    try:
        model(images)
    finally:
        handle.remove()
    if len(kept) != 1 or not isinstance(kept[0], Tensor) or kept[0].ndim != 4:
        raise ValueError(f"layer must give one map (T, D, h, w), {layer!r} of this model does not")
    return F.normalize(_resize(kept[0], size), dim=1)


def color_features(images: Tensor, size: int) -> Tensor:
    """The colours themselves as features: images float (T, 3, H, W) -> (T, 3, size, w)."""
    at_least_one(size=size)
    return _resize(images, size)


def _resize(maps: Tensor, size: int) -> Tensor:
    height, width = maps.shape[-2:]
    return F.interpolate(maps, (size, round(size * width / height)), mode="area")


@torch.no_grad()
def propagate(
    features: Tensor,
    first: Tensor,
    *,
    memory: int = 3,
    top_k: int = 5,
    temperature: float = 0.02,
    radius: float | None = None,
) -> Tensor:
    """Find the objects of the first frame in all others.

    A place takes the labels of the k places of the memory whose features are nearest, weighted by
    a softmax over minus the squared distances of the features.

    Args:
        features: float (T, D, h, w), of each frame.
        first: integer (H, W), number of the object in each pixel of the first frame, 0 for none.
        memory: past frames to look at: the first one, always, and the last ``memory - 1``.
        top_k: matches that count.
        temperature: divides the squared distances; the smaller, the more the best match decides.
        radius: matches must be at most so far away, in places of the features; None: anywhere.

    Returns:
        int64 (T, H, W), the objects by the same numbers; the first frame is what was given.

    Raises:
        TypeError: the first frame is not of an integer type.
        ValueError: shapes do not fit, or a setting is out of range.
    """
    at_least_one(memory=memory, top_k=top_k)
    if not temperature > 0 or not (radius is None or radius >= 0):
        raise ValueError(f"temperature must be > 0 and radius >= 0, got {temperature} and {radius}")
    if features.ndim != 4 or first.ndim != 2:
        raise ValueError(
            "features must be (T, D, h, w) and first (H, W), got "
            f"{tuple(features.shape)} and {tuple(first.shape)}"
        )
    if first.is_floating_point():
        raise TypeError(f"first must be integer, got {first.dtype}")
    numbers = first.unique()
    size = tuple(features.shape[2:])
    one_hot = (first == numbers[:, None, None]).to(features.dtype)[None]  # (1, O, H, W)
    shares = [F.interpolate(one_hot, size, mode="area")[0]]  # (O, h, w) of each frame
    found = [first.long()]
    far = None if radius is None else _far(size, radius, features.device)
    for now in range(1, len(features)):
        past = sorted({0, *range(max(1, now - memory + 1), now)})
        keys = features[past].transpose(0, 1).flatten(1)  # (D, M · h · w)
        values = torch.stack([shares[t] for t in past], 1).flatten(1)  # (O, M · h · w)
        hidden = None if far is None else far.repeat(1, len(past))
        weights, places = _match(features[now].flatten(1), keys, top_k, temperature, hidden)
        shares.append((values[:, places] * weights).sum(-1).unflatten(1, size))
        full = F.interpolate(shares[-1][None], first.shape, mode="bilinear", align_corners=False)
        found.append(numbers[full[0].argmax(0)].long())
    return torch.stack(found)


def _match(
    queries: Tensor, keys: Tensor, top_k: int, temperature: float, hidden: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Weights and numbers (Q, k) of the keys (D, M) that are nearest to each query (D, Q)."""
    squares = queries.square().sum(0)[:, None] - 2 * queries.T @ keys + keys.square().sum(0)
    if hidden is not None:
        squares = squares.masked_fill(hidden, torch.inf)
    nearest, places = squares.topk(min(top_k, squares.shape[1]), dim=1, largest=False)
    return (-nearest / temperature).softmax(1), places


def _far(size: tuple[int, int], radius: float, device: torch.device) -> Tensor:
    """Which places are more than a radius apart: bool (h · w, h · w)."""
    y, x = torch.meshgrid(*(torch.arange(n, device=device) for n in size), indexing="ij")
    places = torch.stack([y.flatten(), x.flatten()], 1).float()
    return torch.cdist(places, places) > radius
