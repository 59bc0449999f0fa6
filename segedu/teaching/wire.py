"""Values on the way between the grader and a sandbox: arrays, numbers, text, and nothing else.

A message is a line of JSON that says what there is, and the bytes of its arrays. Reading it runs no
code of the sender: bytes become arrays of numbers, whose sizes are compared with what came.
"""

import json
import math
import struct
import sys
from typing import Any

import numpy as np

LARGEST = 64 * 2**20  # bytes of one message
_HEAD = struct.Struct("<II")  # length of the JSON, length of the arrays
_KINDS = "biufc"


class WireError(ValueError):
    """A value is of a kind that is not sent, or a message is not one."""


FUNCTION = object()  # stands for a function, which stays where it is


def pack(value: Any) -> bytes:
    """A message that holds ``value``: None, numbers, text, arrays, tensors, lists, tuples, dicts.

    Raises:
        WireError: it holds something else, or is larger than `LARGEST`.
    """
    arrays: list[bytes] = []
    try:
        tree = json.dumps(_pack(value, arrays)).encode()
    except RecursionError:
        raise WireError("nested too deeply") from None
    body = b"".join(arrays)
    if len(tree) + len(body) > LARGEST:
        raise WireError(f"{len(tree) + len(body)} bytes, allowed are {LARGEST}")
    return _HEAD.pack(len(tree), len(body)) + tree + body


def sizes(head: bytes) -> tuple[int, int]:
    """Lengths of the JSON and the arrays that follow the first `HEAD` bytes of a message.

    Raises:
        WireError: together they are larger than `LARGEST`.
    """
    tree, body = _HEAD.unpack(head)
    if tree + body > LARGEST:
        raise WireError(f"{tree + body} bytes, allowed are {LARGEST}")
    return tree, body


HEAD = _HEAD.size


def unpack(tree: bytes, body: bytes) -> Any:
    """The value of a message; `FUNCTION` stands for a function.

    Raises:
        WireError: it is not a message.
    """
    try:
        return _unpack(json.loads(tree), memoryview(body))
    except WireError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError) as error:
        raise WireError(f"not a message: {type(error).__name__}") from None


def _pack(value: Any, arrays: list[bytes]) -> Any:
    if value is None or value is ...:
        return None
    if isinstance(value, np.ndarray | np.generic):
        return {"array": _pack_array(np.asarray(value), arrays)}
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return {"value": plain(value)}
    torch = sys.modules.get("torch")  # where it is not loaded, there are no tensors
    if torch and isinstance(value, torch.Tensor):
        plain = value.detach().as_subclass(torch.Tensor).cpu()
        if plain.dtype.is_floating_point and plain.dtype.itemsize < 4:
            plain = plain.float()  # NumPy has no bfloat16
        entry = _pack_array(plain.contiguous().numpy(), arrays)
        return {"tensor": entry, "grad": bool(value.requires_grad)}
    if isinstance(value, list):
        return {"list": [_pack(part, arrays) for part in value]}
    if isinstance(value, tuple):
        return {"tuple": [_pack(part, arrays) for part in value]}
    if isinstance(value, dict):
        pairs = [[_pack(k, arrays), _pack(v, arrays)] for k, v in value.items()]
        return {"dict": pairs}
    if callable(value):
        return {"function": True}
    raise WireError(f"neither a number, text, an array nor a tensor: {type(value).__name__}")


def _pack_array(array: np.ndarray, arrays: list[bytes]) -> dict[str, Any]:
    if array.dtype.kind not in _KINDS:
        raise WireError(f"an array of {array.dtype}, wanted are numbers")
    data = np.ascontiguousarray(array).tobytes()
    start = sum(map(len, arrays))
    arrays.append(data)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "start": start}


def _unpack(tree: Any, body: memoryview) -> Any:
    if tree is None:
        return None
    if "value" in tree:
        if not isinstance(tree["value"], bool | int | float | str):
            raise WireError("not a plain value")
        return tree["value"]
    if "array" in tree:
        return _unpack_array(tree["array"], body)
    if "tensor" in tree:
        import torch

        tensor = torch.from_numpy(_unpack_array(tree["tensor"], body))
        return (
            tensor.requires_grad_() if tree.get("grad") and tensor.is_floating_point() else tensor
        )
    if "list" in tree:
        return [_unpack(part, body) for part in tree["list"]]
    if "tuple" in tree:
        return tuple(_unpack(part, body) for part in tree["tuple"])
    if "dict" in tree:
        return {_unpack(key, body): _unpack(part, body) for key, part in tree["dict"]}
    if "function" in tree:
        return FUNCTION
    raise WireError("not a message: unknown kind")


def _unpack_array(entry: dict[str, Any], body: memoryview) -> np.ndarray:
    dtype, shape = np.dtype(str(entry["dtype"])), [int(side) for side in entry["shape"]]
    if dtype.kind not in _KINDS or min(shape, default=0) < 0 or len(shape) > 16:
        raise WireError("not an array of numbers")
    count, start = math.prod(shape), int(entry["start"])
    if start < 0 or start + count * dtype.itemsize > len(body):
        raise WireError("an array is larger than its bytes")
    if not count:
        return np.zeros(shape, dtype)
    return np.frombuffer(body, dtype, count, start).reshape(shape).copy()
