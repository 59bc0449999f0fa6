"""What a network consists of, found by watching it run: its stages, their shapes, who feeds whom.

No network is asked to describe itself. A first run on shapes alone (`segedu.ops.dry_run`) records
the calls of all modules; those that keep to one resolution are the stages. In a second run every
tensor carries the number of the stage that made it, so that skips are seen wherever they go.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from segedu.ops import dry_run

GLOBAL = 99  # level of what is pooled to a single pixel
SIGNS = {"add": "+", "iadd": "+", "add_": "+", "mul": "×", "mul_": "×", "sub": "−", "cat": "cat"}


@dataclass
class Stage:
    """A part of a network as it is drawn.

    ``shape`` is (C, H, W), or (C, D, H, W); ``level`` l says that the map is about 2^l times
    smaller than the input. ``kind`` is "input", "output", "stage", or "join": an operation
    outside of all modules that puts several maps together, such as "+" or "cat". ``layers`` counts
    the modules of a row of like ones. ``sources`` are numbers of other stages.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    level: int
    sources: list[int] = field(default_factory=list)
    parameters: int = 0
    layers: int = 1
    module: type | None = None  # its class
    is_layer: bool = False  # a module without modules
    mixes: bool = False  # it has weights, not only scales and shifts
    parent: str = ""


@dataclass
class _Call:
    """One call of a module: its place in the tree of calls, and what came in and out."""

    name: str
    module: nn.Module
    parent: int | None
    calls: list[int] = field(default_factory=list)
    inputs: set[int] = field(default_factory=set)  # ids of the tensors
    ins: list[int] = field(default_factory=list)  # levels of the maps
    outs: list[int] = field(default_factory=list)


def find_stages(model: nn.Module, size: int | tuple[int, ...], in_channels: int = 3) -> list[Stage]:
    """The stages of ``model`` in the order in which they run; the first is the input.

    Args:
        model: maps images (N, C, H, W) or volumes to one map of logits, or a tuple of them.
        size: (H, W), (D, H, W), or one number for a square image.
        in_channels: C.

    Raises:
        ValueError: if the size is not two or three positive numbers, or no map comes out.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    calls = _record_calls(model, sides, in_channels)
    chosen = set(_choose(calls, 0))
    stages = _Watch(calls, chosen, sides, in_channels).run(model)
    return _tidy(stages)


# ------------------------------------------------------------------------------ first run


def _hook_all(model: nn.Module, before: Any, after: Any) -> list[Any]:
    modules = list(model.modules())
    return [
        *(m.register_forward_pre_hook(before, with_kwargs=True) for m in modules),
        *(m.register_forward_hook(after, with_kwargs=True) for m in modules),
    ]


def _record_calls(model: nn.Module, sides: tuple[int, ...], in_channels: int) -> list[_Call]:
    names = {module: name for name, module in model.named_modules()}
    calls: list[_Call] = []
    running: list[int] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        call = _Call(names[module], module, running[-1] if running else None)
        tensors = list(_tensors([args, kwargs]))
        call.inputs = set(map(id, tensors))
        call.ins = _levels(tensors, sides)
        if running:
            calls[running[-1]].calls.append(len(calls))
        running.append(len(calls))
        calls.append(call)

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        call = calls[running.pop()]
        call.outs = _levels(_tensors(output), sides)

    handles = _hook_all(model, before, after)
    try:
        dry_run(model, sides, in_channels)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested dicts, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _shape(tensor: Tensor, sides: tuple[int, ...]) -> tuple[int, ...] | None:
    """(C, H, W) of a map (N, C, H, W) or (N, H, W, C), or of tokens (N, L, C); None for others."""
    if tensor.ndim == len(sides) + 2:
        first, last = tensor.shape[1:], (tensor.shape[-1], *tensor.shape[1:-1])
        return min(first, last, key=lambda shape: _distortion(shape, sides))
    if tensor.ndim == 3:
        _, length, channels = tensor.shape
        for tokens in (length, length - 1):  # a class token may come first
            stride = math.sqrt(math.prod(sides) / tokens) if tokens > 0 else 0
            grid = [round(side / stride) for side in sides] if stride else [0]
            if math.prod(grid) == tokens:
                return (channels, *grid)
    return None


def _distortion(shape: tuple[int, ...], sides: tuple[int, ...]) -> float:
    """How much the ratio of the sides of a map (C, H, W) differs from that of the input."""
    scales = [math.log(side / whole) for side, whole in zip(shape[1:], sides, strict=True)]
    return max(scales) - min(scales)


def _level(tensor: Tensor, sides: tuple[int, ...]) -> int | None:
    shape = _shape(tensor, sides)
    if shape is None:
        return None
    if max(shape[1:]) == 1:
        return GLOBAL
    # 0.4 leaves room for sizes that are rounded, and for the borders that convolutions cut off
    return max(0, math.floor(math.log2(sides[-1] / shape[-1]) + 0.4))


def _levels(tensors: Iterable[Tensor], sides: tuple[int, ...]) -> list[int]:
    levels = (_level(tensor, sides) for tensor in tensors)
    return [level for level in levels if level is not None]


def _choose(calls: list[_Call], index: int) -> Iterator[int]:
    """The calls to draw: the outermost that do not walk through several resolutions."""
    call = calls[index]
    if call.calls and (index == 0 or _is_composed(calls, call)):
        for inner in call.calls:
            yield from _choose(calls, inner)
    elif call.outs:
        yield index


def _is_composed(calls: list[_Call], call: _Call) -> bool:
    ins, outs = ({level for level in levels if level != GLOBAL} for levels in (call.ins, call.outs))
    if len(ins) > 1 and len(outs) > 1 and _downsamples(calls, call):
        return False  # every map goes into every other (HRNet): a box for each map that comes out
    if len(ins) > 2 or len(outs) > 1:
        return True  # it takes or gives a pyramid
    if any(_is_fan(calls, each) for each in (call, *_below(calls, call))):
        return True
    ends = ins | outs
    inside = {level for inner in _below(calls, call) for level in inner.outs}
    return any(min(ends) < level < max(ends) for level in inside) if ends else False


def _downsamples(calls: list[_Call], call: _Call) -> bool:
    return any(max(c.outs) > max(c.ins) for c in _below(calls, call) if c.ins and c.outs)


def _is_fan(calls: list[_Call], call: _Call) -> bool:
    """Whether three or more branches of several layers take the same input: context, as in ASPP."""
    inner = [calls[i] for i in call.calls]
    return sum(bool(branch.calls) and branch.inputs == call.inputs for branch in inner) > 2


def _below(calls: list[_Call], call: _Call) -> Iterator[_Call]:
    for inner in call.calls:
        yield calls[inner]
        yield from _below(calls, calls[inner])


# ----------------------------------------------------------------------------- second run


class _Watch(TorchFunctionMode):
    """Marks every tensor with the number of the stage, input or join that it comes from."""

    def __init__(
        self, calls: list[_Call], chosen: set[int], sides: tuple[int, ...], in_channels: int
    ) -> None:
        super().__init__()
        self.calls, self.chosen = calls, chosen
        self.sides, self.in_channels = sides, in_channels
        self.stages = [Stage("", "input", (in_channels, *sides), 0)]
        self.count, self.running, self.inside = 0, [], None

    def run(self, model: nn.Module) -> list[Stage]:
        handles = _hook_all(model, self.before, self.after)
        try:
            with self:
                output = dry_run(model, self.sides, self.in_channels)
        finally:
            for handle in handles:
                handle.remove()
        for tensor in _tensors(output):
            if (level := _level(tensor, self.sides)) is not None:
                shape = _shape(tensor, self.sides)
                self.stages.append(Stage("", "output", shape, level, self.sources([tensor])))
                return self.stages
        raise ValueError("the network gives no map of logits: its stages cannot be found")

    def sources(self, value: Any) -> list[int]:
        marks = (getattr(tensor, "_stage", None) for tensor in _tensors(value))
        return sorted({mark for mark in marks if mark is not None})

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if not self.running:
            for tensor in _tensors(args):
                tensor._stage = 0
        self.running.append(self.count)
        if self.inside is None and self.count in self.chosen:
            self.inside = self.count
            self.feeds = self.sources([args, kwargs])
        self.count += 1

    def after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        index = self.running.pop()
        if index == self.inside:
            self.inside = None
            call = self.calls[index]
            maps = [t for t in _tensors(output) if _shape(t, self.sides) is not None]
            several = len(set(call.outs)) > 1
            parameters = list(module.parameters())
            for tensor in _tensors(output):
                tensor._stage = len(self.stages)
            for number, tensor in enumerate(maps if several else maps[:1]):
                tensor._stage = len(self.stages)
                self.stages.append(
                    Stage(
                        f"{call.name}.{number}" if several else call.name,
                        "stage",
                        _shape(tensor, self.sides),
                        call.outs[number],
                        list(self.feeds),
                        0 if number else sum(p.numel() for p in parameters),
                        module=type(module),
                        is_layer=not call.calls,
                        mixes=any(p.ndim > 1 for p in parameters),
                        parent=call.name.rpartition(".")[0],
                    )
                )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if self.inside is not None:
            return output
        sources = self.sources([args, kwargs or {}])
        results = list(_tensors(output))
        if len(sources) > 1 and results and _level(results[0], self.sides) is not None:
            sign = func.__name__.strip("_")
            shape, level = _shape(results[0], self.sides), _level(results[0], self.sides)
            self.stages.append(Stage(SIGNS.get(sign, sign), "join", shape, level, sources))
            sources = [len(self.stages) - 1]
        if sources:
            for tensor in results:
                tensor._stage = sources[0]
        return output


# -------------------------------------------------------------------------------- tidying


def _tidy(stages: list[Stage]) -> list[Stage]:
    """Drop what leads nowhere, join rows of layers, and put joins into the stage they feed."""
    alive = dict(enumerate(stages))
    changed = True
    while changed:
        uses = Counter(source for stage in alive.values() for source in set(stage.sources))
        last = max(alive)
        changed = False
        for number, stage in list(alive.items()):
            if number not in (0, last) and not uses[number]:  # heads that eval mode leaves out
                del alive[number]
                changed = True
                break
            feeders = [(s, alive[s]) for s in stage.sources if uses[s] == 1 and s]
            for source, before in feeders:
                if _merge(before, stage):
                    kept = [s for s in stage.sources if s != source]
                    stage.sources = sorted({*before.sources, *kept})
                    del alive[source]
                    changed = True
                    break
            if changed:
                break
    place = {number: index for index, number in enumerate(alive)}
    for stage in alive.values():
        stage.sources = [place[source] for source in stage.sources]
    return list(alive.values())


def _merge(before: Stage, stage: Stage) -> bool:
    """Merge ``before`` into ``stage``, which alone uses it, if both are one thing to a reader."""
    if before.level != stage.level or stage.kind == "output":
        return False
    if before.kind == "join":  # what a stage takes in, it may put together as well
        if stage.kind == "join":
            return before.name == stage.name
        return True
    alone = len(stage.sources) == 1 and stage.kind == "stage"
    if alone and not (before.mixes and stage.mixes):  # pooling, normalisation, activation, dropout
        if before.mixes:
            stage.name, stage.parent, stage.mixes = before.name, before.parent, True
        stage.layers = max(before.layers, stage.layers)
        stage.parameters += before.parameters
        return True
    like = before.shape == stage.shape and before.module == stage.module
    layers = before.is_layer and stage.is_layer
    if alone and before.parent and before.parent == stage.parent and (like or layers):
        stage.layers += before.layers if like else 0
        stage.parameters += before.parameters
        stage.name = before.name
        return True
    return False
