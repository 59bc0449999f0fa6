"""Some of the pictures that a service answers, one at a time, for whoever watches them."""

from collections.abc import Callable

from torch import Tensor


class Sample:
    """Calls a function with every so many answered pictures.

    Nobody waits for it, and it works on one picture at a time: if the turn of another comes
    meanwhile, that one is left out.

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
        self._answered, self._busy = 0, False

    def due(self) -> bool:
        """Count one more answer; whether its picture is one of the sample: then call this."""
        self._answered += 1
        if self._busy or self._answered % self.every:
            return False
        self._busy = True
        return True

    def __call__(self, picture: Tensor) -> None:
        """Give the function a picture."""
        try:
            self.watch(picture)
        finally:
            self._busy = False
