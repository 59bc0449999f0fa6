"""What a computation holds in memory, tensor by tensor."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Memory(NamedTuple):
    """Bytes of tensors: at the end of a run, and at most during it."""

    kept: int
    peak: int


def memory(run: Callable[[], Any]) -> Memory:
    """Count the bytes of the tensors that a run makes, on any device.

    Args:
        run: for example ``lambda: model(images)``, or a whole training step.

    Returns:
        ``kept``: bytes that live when the run has ended and its result still lives; for a forward
        pass in training mode these are the output and all that backpropagation will need.
        ``peak``: the most bytes that lived at once. What existed before does not count, nor does
        the working space inside an operation. Memory that several tensors share counts once.

    Example:
        >>> import torch
        >>> memory(lambda: torch.zeros(256) + 1)
        Memory(kept=1024, peak=2048)
    """
    with _Storages() as storages:
        result = run()
        storages.drop_freed()
        kept = sum(storages.alive.values())
    del result
    return Memory(kept, storages.peak)


class _Storages(TorchDispatchMode):
    """Keeps the account of the storages that operations put out."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[StorageWeakRef, int] = {}
        self.peak = 0

    def drop_freed(self) -> None:
        self.alive = {ref: size for ref, size in self.alive.items() if not ref.expired()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        self.drop_freed()
        given = {ref for ref, _ in _storages((args, kwargs))}  # a view is no new memory
        for ref, size in _storages(output):
            if ref not in given:
                self.alive[ref] = size
        self.peak = max(self.peak, sum(self.alive.values()))
        return output


def _storages(values: Any) -> Iterator[tuple[StorageWeakRef, int]]:
    for value in tree_leaves(values):
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            yield StorageWeakRef(storage), storage.nbytes()
