"""Files that are either whole or absent: what is written here is never left half-written.

A file is written beside its place, flushed to the disk and renamed over the old one, so a crash at
any moment leaves the old or the new file.
"""

import contextlib
import json
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_TEMPORARY = ".segedu-tmp-"


def user_path(text: str) -> Path:
    """A path of a command line; ``$NAMES`` survive the quotes of a portable command."""
    return Path(os.path.expandvars(text)).expanduser()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of ``path`` if the block succeeds.

    Args:
        path: file to create, or to replace with its permissions; its folder is made if need be.

    Yields:
        A binary file, readable and writable.

    Raises:
        OSError: as ``open`` and ``write`` do; ``path`` is then left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(4)}-{path.name}"
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode)
        os.replace(temporary, path)
    except BaseException:  # also Ctrl-C
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name must reach the disk, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that a killed process left in ``folder``.

    Call it where no other process writes to ``folder``: of several, in one before the others.
    """
    for leftover in Path(folder).glob(f"{_TEMPORARY}*"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` by `atomic_write`; returns the path."""
    with atomic_write(path) as file:
        file.write(data)
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write ``text`` by `atomic_write`: UTF-8, line ends as they are; returns the path."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write ``json_text(content)`` by `atomic_write`; returns the path.

    Raises:
        TypeError: if ``content`` holds something that JSON does not know; nothing is written.
    """
    return write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """JSON with one space of indentation, keys in the given order and a line end at the end.

    NaN and infinity, which JSON does not know, become ``null``.
    """
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not JSON in UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(f"{path}: not a readable JSON file ({error})") from None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
