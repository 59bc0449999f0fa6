"""What a service takes at most."""

from dataclasses import dataclass

#: Pixels of a picture, for networks that see it scaled to one size: it is decoded, not more. The
#: photographs of a phone have 12 million.
SCALED_PIXELS = 4096 * 4096

#: Pictures of the largest size that are in work at once; of smaller ones more, up to the queue.
LARGEST_AT_ONCE = 4


@dataclass(frozen=True)
class Limits:
    """What a service takes at most."""

    queue: int = 16
    """Requests that are being worked on or wait; more are refused with 429."""
    batch: int = 8
    """Pictures that the network sees at once."""
    body: int = 8 * 2**20
    """Bytes of a picture's file."""
    pixels: int = 2048 * 2048
    """Of a picture; larger ones `segedu predict` would see in windows."""
    upload: float = 10.0
    """Seconds in which a file must have arrived."""
    answer: float = 20.0
    """Seconds in which it must have been answered after that."""

    @property
    def work(self) -> int:
        """Pixels of all pictures that are decoded at once: bounds memory."""
        return LARGEST_AT_ONCE * self.pixels

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
