"""Bytes that live during a run, against what can be counted by hand."""

import pytest
import torch
from torch import nn

from segedu.models import Memory, memory

MAP = 4 * 8 * 10 * 10  # bytes of 8 maps of 10 x 10 floats


def test_what_is_freed_counts_in_the_peak_only():
    def run():
        first = torch.ones(8, 10, 10)
        second = first + 1
        del first
        return second

    assert memory(run) == Memory(kept=MAP, peak=2 * MAP)


def test_views_and_operations_in_place_take_nothing():
    before = torch.ones(8, 10, 10)
    assert memory(lambda: before.view(80, 10).mul_(2).T) == Memory(0, 0)


def test_what_existed_before_does_not_count():
    before = torch.ones(8, 10, 10)
    assert memory(lambda: torch.cat([before, before])).kept == 2 * MAP


def test_training_keeps_what_backpropagation_needs_and_the_step_frees_it():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Sigmoid(), nn.Conv2d(8, 8, 1))
    images = torch.randn(1, 3, 10, 10)
    net(images).sum().backward()  # the gradients exist from now on

    def step():
        net(images).sum().backward()

    # two inputs of layers and the output: what the first convolution put out is needed no more
    assert memory(lambda: net(images)).kept == 3 * MAP
    assert memory(step).kept == 0
    with torch.no_grad():
        assert memory(lambda: net(images)).kept == MAP


def test_a_run_that_fails_leaves_no_counting_behind():
    with pytest.raises(RuntimeError):
        memory(lambda: torch.ones(2) @ torch.ones(3))
    assert memory(lambda: torch.ones(256)) == Memory(1024, 1024)
