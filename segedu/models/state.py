"""A state dict into a network, or a short error."""

from torch import Tensor, nn


def load_state(part: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """``part.load_state_dict(state)`` with a short error.

    Args:
        part: network or loss.
        state: of the same kind of network.
        source: what is read and from where, for the error.

    Raises:
        ValueError: if names or shapes differ; ``part`` is then left as it was.
    """
    own = part.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} has no place here" for name in state if name not in own]
    problems += [
        f"{name} is {tuple(state[name].shape)} there and {tuple(value.shape)} here"
        for name, value in own.items()
        if name in state and isinstance(value, Tensor) and value.shape != state[name].shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(f"{source} does not fit this network: {problems[0]}{more}")
    part.load_state_dict(state)
