"""A queue whose inputs run together: what waits, and has one shape, is one batch."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Pixels of a batch, but for a single input that has more: bounds the memory of the outputs.
BATCH_PIXELS = 1_000_000


class _Waiting(NamedTuple):
    input: NDArray[Any]
    answer: asyncio.Future[Any]


class Batches:
    """Runs inputs in batches, one batch at a time, in a thread of its own.

    Nobody waits for a batch to fill: while one runs the next ones arrive, so batches grow with the
    load by themselves. Nor does a batch wait for a thread: those of the others decode files.

    Args:
        run: inputs of one shape, stacked, -> one result each.
        largest: inputs of a batch at most.
        observe: is told the size of each batch.
    """

    def __init__(
        self,
        run: Callable[[NDArray[Any]], Sequence[Any]],
        largest: int = 8,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.run, self.largest, self.observe = run, largest, observe
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "network")

    def __len__(self) -> int:
        """Inputs that wait for the batch before theirs."""
        return len(self._queue)

    async def __call__(self, input: NDArray[Any]) -> Any:
        """The result of one input (C,h,w); raises what ``run`` raises."""
        answer = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(input, answer))
        self._arrived.set()
        return await answer

    async def work(self) -> None:
        """Run what arrives, until this is cancelled."""
        while True:
            await self._arrived.wait()
            batch = self._next()
            if not batch:
                self._arrived.clear()
                continue
            self.observe(len(batch))
            inputs = np.stack([waiting.input for waiting in batch])
            try:
                loop = asyncio.get_running_loop()
                results = await loop.run_in_executor(self._thread, self.run, inputs)
            except Exception as error:
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)
                continue
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(result)

    def _next(self) -> list[_Waiting]:
        """The oldest input and those of its shape, of those that somebody still waits for."""
        alive = [waiting for waiting in self._queue if not waiting.answer.done()]
        if not alive:
            self._queue.clear()
            return []
        shape = alive[0].input.shape
        fit = max(1, min(self.largest, BATCH_PIXELS // (shape[1] * shape[2])))
        batch = [waiting for waiting in alive if waiting.input.shape == shape][:fit]
        taken = set(map(id, batch))
        self._queue = deque(waiting for waiting in alive if id(waiting) not in taken)
        return batch
