"""Closed-form tensors: two networks filled alike must answer alike, and no weights are stored.

A fixture (`golden/*.json`) holds at most 256 sampled outputs of a reference implementation whose
every tensor was filled by `fill`; ours is filled the same way and must give the same numbers. Both
compute in float64: two processors differ in the last digit of a sum, and a deep network makes of
that the fourth digit of a float32, but not the ninth of a float64. All tensors have the default
type, which `in_float64` sets.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"
CIRCLES = [(40, 40, 18), (70, 95, 30), (110, 30, 9)]  # objects, see `discs`
_PERIOD = 9973  # a prime, so that rows of a tensor do not repeat each other
_TABLE = torch.sin(torch.arange(_PERIOD, dtype=torch.float64).square())


@contextmanager
def in_float64() -> Iterator[None]:
    """Networks, inputs and whatever a network makes inside are float64 unless they say else."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def period(phase: int) -> Tensor:
    """Sin of the squared index: bounded by 1, close to white, the same everywhere."""
    return _TABLE.roll(-phase * 127)


def sequence(shape: torch.Size | tuple[int, ...], phase: int) -> Tensor:
    """A tensor of the default type that is filled with `period`."""
    return repeat(period(phase), torch.empty(shape))


def repeat(values: Tensor, out: Tensor) -> Tensor:
    """Write a period into ``out``, again and again: once over memory, for networks are large."""
    flat, times = out.view(-1), out.numel() // _PERIOD
    whole, rest = flat[: times * _PERIOD], flat[times * _PERIOD :]
    whole.view(times, _PERIOD).copy_(values)
    rest.copy_(values[: len(rest)])
    return out


def images(shape: tuple[int, ...]) -> Tensor:
    return sequence(shape, phase=0)


def write(name: str, out: Tensor, position: int) -> Tensor:
    """Write the entry ``name`` at ``position``, scaled so that signals keep their size."""
    s = period(position + 1)
    if name.endswith("running_mean"):
        s = 0.1 * s
    elif name.endswith("running_var"):
        s = 1 + 0.5 * s
    elif out.ndim >= 2:
        s = s * (2 / math.sqrt(math.prod(out.shape[1:])))
    elif name.endswith("bias"):
        s = 0.1 * s
    else:
        s = 1 + 0.25 * s  # scales of normalisations, slopes, gates
    return repeat(s, out)


def discs(size: int, circles: list[tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
    """Masks (K, size, size) of circles (row, column, radius), and their xyxy boxes (K, 4)."""
    place = torch.arange(size)
    masks = torch.stack(
        [(place[:, None] - y) ** 2 + (place - x) ** 2 <= r * r for y, x, r in circles]
    )
    boxes = torch.tensor([(x - r, y - r, x + r + 1, y + r + 1) for y, x, r in circles])
    return masks, boxes.to(torch.get_default_dtype())


def panoptic_discs() -> tuple[Tensor, list[dict[str, Any]]]:
    """A panoptic map (129, 129): sky, road, void between them, and three discs."""
    masks, _ = discs(129, CIRCLES)
    ids = torch.ones(129, 129, dtype=torch.int32)
    ids[60:] = 2
    ids[55:60] = 0
    for number, mask in enumerate(masks, start=3):
        ids[mask] = number
    info = [
        {"id": number, "category_id": category, "iscrowd": False}
        for number, category in enumerate((10, 0, 11, 17, 17), start=1)
    ]
    return ids, info


def noisy(semantic: Tensor, center: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (1, 19, H, W), heat map and offsets as a network might see these targets."""
    logits = F.one_hot(semantic.clamp(max=18), 19).permute(2, 0, 1) + 0.9 * sequence(
        (19, *semantic.shape), phase=1
    )
    heat = 0.9 * center + 0.08 * sequence(center.shape, phase=2)
    return logits[None], heat[None], (offset + 6 * sequence(offset.shape, phase=3))[None]


def together(outputs: Sequence[Tensor]) -> Tensor:
    """A share of the sampled values from each of K outputs, each in units of its largest."""
    rows = [torch.tensor(sample(output, 256 // len(outputs))) for output in outputs]
    return torch.stack([row / row.abs().max() for row in rows])


def blank(build: Callable[..., nn.Module], *args: object, **settings: object) -> nn.Module:
    """The module with memory but no values: `fill` writes all, so no time goes to drawing them."""
    with torch.device("meta"):
        return build(*args, **settings).to_empty(device="cpu")


def entries(module: nn.Module) -> list[str]:
    return [name for name in module.state_dict() if not name.endswith("num_batches_tracked")]


def fill(
    module: nn.Module, order: list[str] | None = None, transposed: Collection[str] = ()
) -> nn.Module:
    """Fill every tensor of ``module`` in place, taking the entries in ``order``.

    The convolutions in ``transposed`` are transposed ones of stride 1 in the reference: the same
    thing with input and output channels swapped and the kernel turned round.
    """
    state = module.state_dict()
    names = order if order is not None else entries(module)
    assert sorted(names) == sorted(entries(module))
    for position, name in enumerate(names):
        if name in transposed:
            outputs, inputs, *kernel = state[name].shape
            swapped = write(name, torch.empty(inputs, outputs, *kernel), position)
            state[name].copy_(swapped.transpose(0, 1).flip(2, 3))
        else:
            write(name, state[name], position)
    return module.eval()


def by_prefix(module: nn.Module, prefixes: list[str]) -> list[str]:
    """The entries of ``module`` in the order of the first prefix that each begins with."""

    def rank(name: str) -> int:
        return next(i for i, prefix in enumerate(prefixes) if name.startswith(prefix))

    return sorted(entries(module), key=rank)  # stable: within a prefix the order stays


def sample(output: Tensor, count: int = 256) -> list[float]:
    flat = output.detach().flatten()
    count = min(count, flat.numel())
    indices = torch.linspace(0, flat.numel() - 1, count, dtype=torch.float64).long()
    return [float(f"{number:.12g}") for number in flat[indices].tolist()]


def save(name: str, output: Tensor, **description: object) -> None:
    fixture = {**description, "output_shape": list(output.shape), "values": sample(output)}
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f"{name}.json").write_text(json.dumps(fixture) + "\n", encoding="utf-8")


def load(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@torch.no_grad()
def check(name: str, model: nn.Module, order: list[str] | None = None, **how: Any) -> None:
    """Fill ``model``, run the fixture's input, `compare`."""
    fixture = load(name)
    compare(fill(model, order, **how)(images(tuple(fixture["input_shape"]))), fixture)


def compare(output: Tensor, fixture: dict) -> None:
    """Fails where the largest difference exceeds 1e-9 of the largest sampled output."""
    assert output.dtype == torch.float64, "stored numbers are compared in float64"
    assert list(output.shape) == fixture["output_shape"]
    expected = torch.tensor(fixture["values"])
    scale = expected.abs().max().item()
    assert expected.std() > 0.05 * scale, "a constant output proves nothing"
    difference = (torch.tensor(sample(output)) - expected).abs().max().item() / scale
    assert difference <= 1e-9, difference


@torch.no_grad()
def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05 * theirs.abs().max(), "a constant output proves nothing"
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
