"""What all metrics share: settings, a state that adds up, and refusing what cannot be judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor

# Shares are summed as whole multiples of 2^-40: such a sum is the same in any order.
UNITS = 2**40


class Metric(ABC):
    """``update(...)`` batch by batch, ``compute()``, ``reset()``, and ``merge(other)``.

    The numbers do not depend on how the data were cut into batches or shared among processes. The
    state is tensors that add up and records of single images, on the device of the inputs;
    ``update`` reads nothing back from a GPU. The public attributes are the settings.
    """

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def update(self, *batch: Any) -> None:
        """Add a batch.

        One that is refused leaves no trace; on a GPU, where asking would wait for the device, what
        its values are is asked at the end, and `compute` refuses for all batches.
        """

    @abstractmethod
    def compute(self) -> dict[str, Any]:
        """Read the numbers.

        Returns:
            Floats by name, and ``per_class``: class or category id -> its numbers by name; of some
            metrics ``cases`` (a dict for each image and class) or a ``confusion_matrix``, too.
        """

    def reset(self) -> None:
        """Forget everything."""
        self._sums: dict[str, Tensor] = {}
        self._records: list[Any] = []
        self._faults: dict[str, Tensor] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that the metric was made with."""
        return {name: value for name, value in vars(self).items() if name[0] != "_"}

    def merge(self, other: Self) -> Self:
        """Add what another metric saw, for example in another process; returns ``self``.

        Raises:
            ValueError: the two were not made with the same settings.
        """
        if type(other) is not type(self) or other.settings != self.settings:
            raise ValueError(
                f"merge needs a {type(self).__name__} with the same settings {self.settings}, "
                f"got {type(other).__name__} with {getattr(other, 'settings', None)}"
            )
        _accumulate(self._sums, other._sums)
        _accumulate(self._faults, other._faults)
        self._records += other._records
        return self

    def _add(self, **sums: Tensor) -> None:
        _accumulate(self._sums, sums)

    def _refuse(self, wrong: Tensor, message: str, values: Tensor | Sequence = ()) -> None:
        """Raise ``message`` if anything is ``wrong``, a bool tensor, and the ``values`` that are.

        On a GPU, where asking would make the host wait, ``compute`` raises it, without values.
        """
        if wrong.is_cuda:
            _accumulate(self._faults, {message: wrong.any().long()})
        elif wrong.any():
            shown = [v for v, w in zip(values, wrong, strict=False) if w.any()][:10]
            shown = [v.tolist() if isinstance(v, Tensor) else v for v in shown]
            raise ValueError(f"{message}, got {shown}" if shown else message)

    def _check(self) -> None:
        """Raise what ``_refuse`` postponed."""
        for message, fault in self._faults.items():
            if fault:
                raise ValueError(message)

    def __getstate__(self) -> dict[str, Any]:
        return _to_cpu(vars(self))  # another process has another device


def _accumulate(total: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    for name, value in new.items():
        total[name] = total[name] + value.to(total[name].device) if name in total else value.clone()


def _to_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _to_cpu(item) for key, item in value.items()}
    return [_to_cpu(item) for item in value] if isinstance(value, list) else value
