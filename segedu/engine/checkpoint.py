"""Checkpoints that are either whole or absent, and that notice damage.

A checkpoint is an ordinary ``torch.save`` file followed by the SHA-256 of its bytes (74 bytes,
which ``torch.load`` ignores), written atomically.
"""

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from segedu.files import atomic_write
from segedu.models import get_model
from segedu.models.state import load_state

_MARK = b"\nsha256:"
_TRAILER = len(_MARK) + 64 + 1
_PLAIN = (int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or cannot be trusted."""


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path`` atomically.

    Args:
        path: file to create or to replace; its folder is made if need be.
        state: tensors, numbers, strings, lists and dicts: what
            ``torch.load(weights_only=True)`` reads back.

    Raises:
        TypeError: if ``state`` holds something else, which could never be read back.
        CheckpointError: if it cannot be written (no space, no permission); an older file at
            ``path`` is left as it was.
    """
    _check_plain(state, "state")
    path = Path(path)
    try:
        with atomic_write(path) as file:
            torch.save(state, file)
            digest = _digest(file, file.tell())
            file.write(_MARK + digest + b"\n")
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise CheckpointError(f"cannot write {path}: {error}") from error


def load_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote, if its bytes are unchanged.

    Args:
        path: the file.
        map_location: where the tensors go.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged, is not one of ours, or holds more than data.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    with open(path, "rb") as file:
        length = path.stat().st_size - _TRAILER
        if length <= 0:
            raise CheckpointError(f"{path} is too short for a checkpoint")
        expected = _MARK + _digest(file, length) + b"\n"
        if file.read() != expected:
            raise CheckpointError(f"{path} is damaged or was not written by save_checkpoint")
        file.seek(0)
        try:
            return torch.load(file, map_location=map_location, weights_only=True)
        except Exception as error:  # torch has four classes for four ways to be wrong
            # Its text is left out: it advises to load the file without the protection.
            raise CheckpointError(f"{path} does not hold plain data alone") from error


def load_model(path: str | Path, map_location: str | torch.device = "cpu") -> nn.Module:
    """The network of a checkpoint that ``fit`` wrote, in eval mode; no other file is needed.

    Args:
        path: ``best.pt`` or ``last.pt``.
        map_location: where the network goes.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged, or does not say which network it is of: only
            networks of ``get_model`` are noted.
    """
    return network_of(load_checkpoint(path, map_location), str(path))


def network_of(state: dict[str, Any], source: str) -> nn.Module:
    """The network of a loaded checkpoint; see `load_model`.

    Args:
        state: what ``load_checkpoint`` returned.
        source: where it comes from, for the errors.
    """
    if "model" not in state:
        raise CheckpointError(f"{source} holds no network, only {sorted(state)}")
    if state.get("network") is None:
        raise CheckpointError(
            f"{source} does not say which network it is of, for that was not built by get_model: "
            "build it as for the training, then load_state_dict(load_checkpoint(path)['model'])"
        )
    network = get_model(**state["network"])
    load_state(network, state["model"], source)
    return network.to(next(iter(state["model"].values())).device).eval()


def is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold ``value``."""
    try:
        _check_plain(value, "")
    except TypeError:
        return False
    return True


def _check_plain(value: Any, name: str) -> None:
    """Refuse what ``torch.load(weights_only=True)`` would refuse, while there is time."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, f"a key of {name}")
            _check_plain(item, f"{name}[{key!r}]")
    elif type(value) in (list, tuple, set):
        for i, item in enumerate(value):
            _check_plain(item, f"{name}[{i}]")
    # The exact type: a subclass of str, such as torch.__version__, cannot be read back.
    elif type(value) not in _PLAIN and not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}: neither a tensor nor a plain value")


def _digest(file: BinaryIO, length: int) -> bytes:
    """SHA-256 of the first ``length`` bytes; leaves the file just behind them."""
    file.seek(0)
    sha = hashlib.sha256()
    while length > 0:
        block = file.read(min(length, 1 << 20))
        sha.update(block)
        length -= len(block)
    return sha.hexdigest().encode()
