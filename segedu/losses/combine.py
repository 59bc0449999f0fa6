"""Losses made of losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segedu.losses.fused import ClassSumLoss, ClassSums, class_sums


class CombinedLoss(nn.Module):
    """Weighted sum of named losses that remembers what each part was.

    Parts that are formulas of the same class sums (cross entropy, Dice, Tversky, ...) share one
    softmax, so that cross entropy + Dice costs little more than either alone.

    Args:
        parts: name -> (loss, weight), for instance
            ``{"ce": (CrossEntropyLoss(), 1.0), "dice": (DiceLoss(), 0.5)}``.

    Attributes:
        parts: after a call, name -> unweighted value of that part (detached, still on its device,
            so that logging it costs no synchronisation until the number is read).

    Raises:
        ValueError: there is no part, or a part does not return a scalar.
    """

    def __init__(self, parts: Mapping[str, tuple[nn.Module, float]]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts must name at least one loss, got an empty mapping")
        self.losses = nn.ModuleDict({name: loss for name, (loss, _) in parts.items()})
        self.weights = {name: _finite(name, weight) for name, (_, weight) in parts.items()}
        self.parts: dict[str, Tensor] = {}

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted sum of the parts for ``logits (N, C, *S)``, ``target (N, *S)``."""
        sums = self._shared_sums(logits, target)
        values = {
            name: loss.from_sums(sums[loss.ignore_index]) if _shares(loss) else loss(logits, target)
            for name, loss in self.losses.items()
        }
        for name, value in values.items():
            if value.ndim:
                raise ValueError(f"part {name!r} must be a scalar, got shape {tuple(value.shape)}")
        self.parts = {name: value.detach() for name, value in values.items()}
        return torch.stack([self.weights[name] * value for name, value in values.items()]).sum()

    def _shared_sums(self, logits: Tensor, target: Tensor) -> dict[int, ClassSums]:
        """Class sums for the parts that are formulas of them, once for each ``ignore_index``."""
        tables: dict[int, set[str]] = {}
        for loss in filter(_shares, self.losses.values()):
            tables.setdefault(loss.ignore_index, set()).update(loss.tables)
        return {
            ignore_index: class_sums(logits, target, ignore_index, wanted)
            for ignore_index, wanted in tables.items()
        }


def _finite(name: str, weight: float) -> float:
    if not math.isfinite(weight):
        raise ValueError(f"{name}: the weight of a part must be finite, got {weight}")
    return float(weight)


def _shares(loss: nn.Module) -> bool:
    """Whether the loss is a formula of class sums and of nothing else."""
    return isinstance(loss, ClassSumLoss) and loss.sums_suffice


class AuxiliaryLoss(nn.Module):
    """One loss on every output of a model with auxiliary heads (deep supervision).

    In training such a model returns ``(logits, *aux_logits)``; the loss is the weighted sum over
    them. PSPNet (Zhao et al. 2017, §3.3) uses weights (1, 0.4), U-Net++ (Zhou et al. 2018, Eq. 2)
    the mean over its heads. A lone tensor, which the same model returns in evaluation, is scored as
    it is.

    Args:
        loss: any loss on (logits, target).
        weights: one factor for each output, the main one first.

    Outputs smaller than the target are enlarged to it (linear interpolation).

    Raises:
        ValueError: the number of outputs is not the number of weights.
    """

    def __init__(self, loss: nn.Module, weights: Sequence[float] = (1.0, 0.4)) -> None:
        super().__init__()
        if not weights:
            raise ValueError("weights must hold one factor for each output, got none")
        self.loss = loss
        self.weights = tuple(_finite("weights", weight) for weight in weights)
        self.parts: dict[str, Tensor] = {}

    def forward(self, logits: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the loss of one output or the weighted sum over ``(logits, *aux_logits)``."""
        if isinstance(logits, Tensor):
            value = self.loss(logits, target)
            self.parts = {"main": value.detach()}
            return value
        if len(logits) != len(self.weights):
            raise ValueError(
                f"weights has {len(self.weights)} entries but the model returned "
                f"{len(logits)} outputs"
            )
        values = [self.loss(_resize(output, target), target) for output in logits]
        names = ["main", *(f"aux{i}" for i in range(1, len(values)))]
        self.parts = {name: value.detach() for name, value in zip(names, values, strict=True)}
        return torch.stack([w * v for w, v in zip(self.weights, values, strict=True)]).sum()


def _resize(logits: Tensor, target: Tensor) -> Tensor:
    """Enlarge ``logits (N, C, *s)`` to the spatial size of ``target (N, *S)`` where they differ."""
    size = target.shape[1:]
    if logits.shape[2:] == size:
        return logits
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return F.interpolate(logits, size=size, mode=mode, align_corners=False)
