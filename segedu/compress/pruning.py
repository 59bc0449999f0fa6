"""Channels that matter least are taken out, and the network really becomes smaller.

A channel cannot go alone: whoever reads it must give up its weights for it, and where two feature
maps are added, the channels of both go together. Which belong together is seen by watching one
forward pass (`watch`), so that no network has to describe itself; what the watcher does not
understand stays as it is. Whole filters go, as in Li et al. 2017, "Pruning filters for efficient
ConvNets", https://arxiv.org/abs/1608.08710, section 3.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

#: A convolution -> how much each of its filters matters, (out_channels,).
Score = Callable[[nn.Module], Tensor]
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

# Functions by the last part of their names. Of one feature map, channel by channel:
_UNARY = frozenset(
    ("relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish")
    + ("hardsigmoid", "hardtanh", "sigmoid", "tanh", "clamp", "dropout", "dropout2d")
    + ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate")
    + ("contiguous", "clone", "detach", "to", "float")
)
# Of two, element by element:
_BINARY = frozenset(
    ("add", "add_", "__add__", "__radd__", "__iadd__", "sub", "__sub__", "mul", "mul_", "__mul__")
    + ("__rmul__", "__imul__", "maximum", "minimum")
)
# That ask for a shape or the like, and give no feature map:
_QUESTIONS = frozenset(("__get__", "size", "dim", "numel", "is_floating_point", "__len__"))


def filter_norms(convolution: nn.Module) -> Tensor:
    """Mean absolute weight of each filter divided by that of all, (out_channels,).

    Args:
        convolution: without groups, transposed or not.
    """
    axis = 1 if isinstance(convolution, _TRANSPOSED) else 0
    norms = convolution.weight.detach().abs().transpose(0, axis).flatten(1).mean(1)
    return norms / norms.mean().clamp(min=1e-12)


@torch.no_grad()
def prune_channels(
    model: nn.Module,
    images: Tensor,
    share: float,
    *,
    score: Score = filter_norms,
    multiple: int = 1,
) -> nn.Module:
    """A copy of a network with a share of the channels of every layer taken out.

    Inputs, outputs and what is not understood (attention, grouped convolutions other than
    depthwise ones, normalisation over groups) keep all their channels. Train the copy further: what
    is gone is missed.

    Args:
        model: maps images to logits, in one pass that takes the same way for every image; it stays
            as it is.
        images: (N,C,H,W) that it can take; their values do not matter.
        share: of the channels of each layer, 0 <= share < 1.
        score: how much the filters of a convolution matter. Channels that can only go together
            have the mean of their scores; the lowest go.
        multiple: the channels that stay are rounded up to this, for processors that like them so.

    Returns:
        The smaller network, in the mode of ``model``, without its ``built_as``, which would build
        the wide one: keep the network itself, or export it.

    Raises:
        ValueError: for a share or multiple out of range, or if nothing could be taken out.

    Example:
        >>> wide = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
        >>> prune_channels(wide, torch.zeros(1, 3, 8, 8), 0.5)[0]
        Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be in [0, 1), got {share}")
    if multiple < 1:
        raise ValueError(f"multiple must be at least 1, got {multiple}")
    smaller = copy.deepcopy(model)
    if hasattr(smaller, "built_as"):
        del smaller.built_as
    watched = watch(smaller, images)
    gone = choose(watched, share, score, multiple)
    for module, places in watched.uses.items():
        _narrow(module, *(watched.kept(ids, gone) for ids in places))
    return smaller


class _Use(NamedTuple):
    """The channels that a module reads and writes, by number."""

    read: list[int]
    written: list[int]


class Channels:
    """All channels of a network, numbered; which of them can only go together, or not at all."""

    def __init__(self) -> None:
        self.uses: dict[nn.Module, _Use] = {}
        self._parent: list[int] = []
        self._pinned: set[int] = set()

    def new(self, count: int) -> list[int]:
        """Numbers of new channels."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return self._parent[first:]

    def root(self, channel: int) -> int:
        """The same number for all channels that go together."""
        while self._parent[channel] != channel:
            self._parent[channel] = channel = self._parent[self._parent[channel]]
        return channel

    def unite(self, first: Sequence[int], second: Sequence[int]) -> None:
        """Channels in the same place go together."""
        for one, other in zip(first, second, strict=True):
            self._parent[self.root(one)] = self.root(other)

    def pin(self, channels: Iterable[int]) -> None:
        """These must stay."""
        self._pinned.update(channels)

    def pinned(self) -> set[int]:
        """Roots of those that must stay."""
        return {self.root(channel) for channel in self._pinned}

    def use(self, module: nn.Module, read: list[int], written: list[int]) -> None:
        """Note a module; one that is used twice must be cut in the same places both times."""
        if module in self.uses:
            self.unite(self.uses[module].read, read)
            self.unite(self.uses[module].written, written)
        self.uses[module] = _Use(read, written)

    def kept(self, channels: Sequence[int], gone: set[int]) -> Tensor:
        """The places of those that stay."""
        return torch.tensor([i for i, c in enumerate(channels) if self.root(c) not in gone])


def watch(model: nn.Module, images: Tensor) -> Channels:
    """The channels of a network, seen in two forward passes: as it predicts, and as it is trained.

    In training it may have further outputs. Statistics of batches stay as they are.
    """
    modes = {module: module.training for module in model.modules()}
    watcher = _Watcher(model)
    watcher.follow(images)
    try:
        for training in (False, True):
            for module in modes:
                module.training = training and not isinstance(module, _NORMS)
            with watcher:
                watcher.give_up(model(images))
    finally:
        for module, training in modes.items():
            module.training = training
    return watcher.channels


class _Watcher(TorchFunctionMode):
    """Follows channels through the functions that a forward pass calls."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.channels = Channels()
        self._modules = {
            module.weight: module
            for module in model.modules()
            if isinstance(module, _CONVOLUTIONS + _TRANSPOSED + _NORMS)
            and module.weight is not None
        }
        self._maps: dict[int, tuple[Tensor, list[int]]] = {}  # tensors are kept: ids stay theirs

    def follow(self, images: Tensor) -> None:
        """The input, whose channels stay."""
        channels = self.channels.new(images.shape[1])
        self.channels.pin(channels)
        self._note(images, channels)

    def give_up(self, *values: Any) -> None:
        """Channels of what goes where they cannot be followed must stay."""
        for value in values:
            if isinstance(value, Tensor):
                self.channels.pin(self._of(value) or ())
            elif isinstance(value, dict):
                self.give_up(*value.values())
            elif isinstance(value, (list, tuple)):
                self.give_up(*value)

    def _of(self, tensor: Any) -> list[int] | None:
        return self._maps[id(tensor)][1] if id(tensor) in self._maps else None

    def _note(self, tensor: Tensor, channels: list[int]) -> None:
        self._maps[id(tensor)] = (tensor, channels)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        kwargs = kwargs or {}
        # In place they change, and what is known of them with them.
        result = function(*args, **kwargs)
        name = (resolve_name(function) or getattr(function, "__name__", "")).rpartition(".")[2]
        if name in _QUESTIONS:
            return result
        channels = self._through(name, args, kwargs)
        if channels is not None and _has(result, channels):
            self._note(result, channels)
            return result
        self.give_up(args, kwargs)
        self.channels.pin(channels or ())
        self._forget(result)
        return result

    def _forget(self, result: Any) -> None:
        """A result of which nothing is known, though it may be an argument that changed."""
        for value in result if isinstance(result, (list, tuple)) else [result]:
            self._maps.pop(id(value), None)

    def _through(self, name: str, args: Any, kwargs: Any) -> list[int] | None:
        """The channels of a function's result, or None if they are not known."""
        first = self._of(args[0] if args else kwargs.get("input"))
        module = next((self._modules[a] for a in args if self._is_known_weight(a)), None)
        module = module or self._modules.get(kwargs.get("weight"))
        if module is not None:
            return self._module(module, first)
        if name in ("cat", "concat"):
            return self._cat(*args, **kwargs)
        if first is None and name not in _BINARY:
            return None
        if name in _UNARY:
            return first
        if name == "pad" and len(args[1]) <= 2 * (args[0].ndim - 2):
            return first
        if name == "mean" and kwargs.get("keepdim") and 1 not in _axes(args, kwargs):
            return first
        return self._binary(*args[:2]) if name in _BINARY and len(args) > 1 else None

    def _is_known_weight(self, value: Any) -> bool:
        return isinstance(value, nn.Parameter) and value in self._modules

    def _module(self, module: nn.Module, read: list[int] | None) -> list[int] | None:
        if read is None:  # all that it reads stays
            read = self.channels.new(_reads(module))
            self.channels.pin(read)
        if isinstance(module, _NORMS):
            self.channels.use(module, read, read)
            return read
        if module.groups == module.in_channels == module.out_channels > 1:  # depthwise
            self.channels.use(module, read, read)
            return read
        written = self.channels.new(module.out_channels)
        if module.groups > 1:
            self.channels.pin(read + written)
        self.channels.use(module, read, written)
        return written

    def _cat(self, tensors: Sequence[Tensor], dim: int = 0, **_: Any) -> list[int] | None:
        known = [self._of(tensor) for tensor in tensors]
        if dim not in (1, 1 - tensors[0].ndim) or not any(known):
            return None
        channels = []
        for tensor, own in zip(tensors, known, strict=True):
            if own is None:
                own = self.channels.new(tensor.shape[1])
                self.channels.pin(own)
            channels += own
        return channels

    def _binary(self, one: Any, other: Any) -> list[int] | None:
        known = [(value, self._of(value)) for value in (one, other)]
        tracked = [own for _, own in known if own is not None]
        if not tracked:
            return None
        if len(tracked) == 2:
            narrow, wide = sorted(tracked, key=len)
            if len(narrow) == len(wide):
                self.channels.unite(narrow, wide)
            elif len(narrow) == 1:  # one map for all channels
                self.channels.pin(narrow)
            return wide if len(narrow) in (1, len(wide)) else None
        stranger = next(value for value, own in known if own is None)
        if isinstance(stranger, Tensor) and stranger.numel() > 1:
            return None
        return tracked[0]


def _has(result: Any, channels: Sequence[int]) -> bool:
    """Whether a result can be a feature map of these channels."""
    return isinstance(result, Tensor) and result.ndim > 2 and result.shape[1] == len(channels)


def _axes(args: Any, kwargs: Any) -> tuple[int, ...]:
    """The axes over which a mean is taken, counted from the front of (N,C,H,W)."""
    axes = kwargs.get("dim", args[1] if len(args) > 1 else (0, 1, 2, 3))
    axes = (axes,) if isinstance(axes, int) else axes
    return tuple(axis % args[0].ndim for axis in axes)


def _reads(module: nn.Module) -> int:
    return module.num_features if isinstance(module, _NORMS) else module.in_channels


def choose(channels: Channels, share: float, score: Score, multiple: int) -> set[int]:
    """The roots that go: of each layer those with the lowest scores.

    Raises:
        ValueError: if there is no layer of which anything could be taken out.
    """
    layers: dict[tuple[int, ...], dict[int, list[float]]] = {}
    owner: dict[int, tuple[int, ...]] = {}
    pinned = channels.pinned()
    for module, use in channels.uses.items():
        if isinstance(module, _NORMS) or use.read is use.written:
            continue
        roots = tuple(map(channels.root, use.written))
        if pinned.intersection(roots):
            continue
        for root, value in zip(roots, score(module).tolist(), strict=True):
            layer = owner.setdefault(root, roots)
            layers.setdefault(layer, {}).setdefault(root, []).append(value)
    if not layers:
        raise ValueError(
            "no channel of this network can be taken out: the watcher understands convolutions, "
            "batch normalisation, and functions of single channels"
        )
    gone: set[int] = set()
    for scores in layers.values():
        stay = math.ceil(len(scores) * (1 - share) / multiple) * multiple
        ranked = sorted(scores, key=lambda root: sum(scores[root]) / len(scores[root]))
        gone.update(ranked[: max(0, len(ranked) - max(1, stay))])
    return gone


def _narrow(module: nn.Module, read: Tensor, written: Tensor) -> None:
    """Leave a module these channels of its input and output."""
    if isinstance(module, _NORMS):
        module.num_features = len(written)
        for name in ("weight", "bias", "running_mean", "running_var"):
            _cut(module, name, 0, written)
        return
    depthwise = module.groups > 1 and len(read) == len(written) and module.weight.shape[1] == 1
    axes = (1, 0) if not isinstance(module, _TRANSPOSED) else (0, 1)
    if depthwise:
        module.groups = len(written)
        _cut(module, "weight", 0, written)
    elif module.groups == 1:
        _cut(module, "weight", axes[0], read)
        _cut(module, "weight", axes[1], written)
    _cut(module, "bias", 0, written)
    module.in_channels, module.out_channels = len(read), len(written)


def _cut(module: nn.Module, name: str, axis: int, places: Tensor) -> None:
    value = getattr(module, name)
    if value is None or len(places) == value.shape[axis]:
        return
    kept = value.detach().index_select(axis, places.to(value.device)).contiguous()
    if isinstance(value, nn.Parameter):
        kept = nn.Parameter(kept, requires_grad=value.requires_grad)
    setattr(module, name, kept)
