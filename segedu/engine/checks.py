"""Checks of arguments that several functions share."""


def at_least_one(**counts: int | None) -> None:
    """Raise ``ValueError`` for the first count below 1; ``None`` stands for an unused option."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
