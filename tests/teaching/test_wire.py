"""Only numbers, text and arrays pass between grader and sandbox, and bad messages harm nobody."""

import json

import numpy as np
import pytest
import torch

from segedu.teaching import wire


def sent(value):
    message = wire.pack(value)
    tree, body = wire.sizes(message[: wire.HEAD])
    rest = message[wire.HEAD :]
    assert len(rest) == tree + body
    return wire.unpack(rest[:tree], rest[tree:])


@pytest.mark.parametrize(
    "value", [None, True, 3, -2.5, float("inf"), "掩膜", [1, (2, [3])], {"a": 1, 2: [None]}, (), []]
)
def test_plain_values_arrive(value):
    assert sent(value) == value and type(sent(value)) is type(value)


def test_arrays_and_tensors_arrive():
    arrays = [np.arange(6).reshape(2, 3), np.zeros((0, 4)), np.array([True, False])]
    tensors = [torch.tensor(3.0), torch.arange(4, dtype=torch.uint8), torch.rand(2, 3).T]
    for before, after in zip(arrays, sent(arrays), strict=True):
        assert after.dtype == before.dtype and np.array_equal(after, before)
    for before, after in zip(tensors, sent((*tensors,)), strict=True):
        assert after.dtype == before.dtype and torch.equal(after, before)
    assert sent(torch.ones(2, requires_grad=True)).requires_grad
    assert sent(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32
    assert sent(np.float32(2)) == 2 and sent(...) is None
    assert sent(lambda: 0) is wire.FUNCTION


def test_a_clever_number_becomes_a_plain_one():
    class Equal(float):
        def __eq__(self, other):
            return True

        __hash__ = float.__hash__

    class EqualTensor(torch.Tensor):
        pass

    assert type(sent(Equal(3))) is float and sent(Equal(3)) != 4
    assert type(sent(torch.ones(2).as_subclass(EqualTensor))) is torch.Tensor


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), np.array(["x"])])
def test_other_things_are_refused(value):
    with pytest.raises(wire.WireError):
        wire.pack(value)


def test_what_is_too_large_or_deep_is_refused():
    with pytest.raises(wire.WireError, match="allowed are"):
        wire.pack(np.zeros(wire.LARGEST + 8, np.uint8))
    with pytest.raises(wire.WireError, match="allowed are"):
        wire.sizes(b"\xff" * wire.HEAD)
    endless: list = []
    endless.append(endless)
    with pytest.raises((wire.WireError, ValueError)):
        wire.pack(endless)


@pytest.mark.parametrize(
    "tree",
    [
        b"",
        b"[",
        b"3",
        b"{}",
        b"[" * 9_999,
        json.dumps({"value": [1]}).encode(),
        *(
            json.dumps({"array": {"dtype": d, "shape": s, "start": n}}).encode()
            for d, s, n in (
                ("O", [1], 0),
                ("f8", [10**12], 0),
                ("f8", [-1], 0),
                ("f8", [1], -8),
                ("f8", [1] * 40, 0),
                ("nonsense", [1], 0),
                ("f8", "x", 0),
                ("f8", [2**62, 2**62], 0),
            )
        ),
    ],
)
def test_bad_messages_are_refused(tree):
    with pytest.raises(wire.WireError):
        wire.unpack(tree, bytes(8))
