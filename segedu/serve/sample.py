"""Some of the pictures that a service answers, for whoever watches them."""

from collections.abc import Callable

from torch import Tensor

#: Pictures that wait to be watched; what comes beyond them is left out, and counted.
WAITING = 4


class Sample:
    """Calls a function with every so many answered pictures, after their answers.

    Args:
        watch: is given the picture, uint8 (C,H,W); may raise OSError or ValueError.
        every: 1 means all pictures, 10 every tenth.

    Raises:
        ValueError: if ``every`` is not positive.
    """

    def __init__(self, watch: Callable[[Tensor], None], every: int) -> None:
        if every <= 0:
            raise ValueError(f"every must be positive, got {every}")
        self.watch, self.every = watch, every
        self._answered = 0

    def due(self) -> bool:
        """Count one more answer; whether its picture is one of the sample."""
        self._answered += 1
        return self._answered % self.every == 0
