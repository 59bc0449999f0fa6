"""Batches of any nesting."""

from typing import NamedTuple

import torch

from segedu.engine.batches import is_finite, to_device


class Pair(NamedTuple):
    image: torch.Tensor
    name: str


def test_to_device_keeps_the_nesting():
    batch = {"pairs": [Pair(torch.zeros(2), "a")], "plain": (torch.ones(1), 3)}
    moved = to_device(batch, torch.device("meta"))
    (pair,) = moved["pairs"]
    assert isinstance(pair, Pair) and pair.image.is_meta and pair.name == "a"
    assert type(moved["plain"]) is tuple and moved["plain"][0].is_meta and moved["plain"][1] == 3


def test_finite_is_asked_of_images_alone_where_there_are_some():
    bad = torch.tensor([float("nan")])
    assert is_finite([{"image": torch.zeros(1), "area": bad}])
    assert not is_finite([{"image": bad}])
    assert not is_finite(Pair(bad, "a"))
