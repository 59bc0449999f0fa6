"""Masks carried by matching: by hand, by what must hold, and refusals."""

import pytest
import torch
from torch import nn

from segedu.engine.propagation import color_features, layer_features, propagate


def dots(*columns: int, width: int = 6) -> torch.Tensor:
    """A frame (1, 1, width) with a white pixel at each column."""
    frame = torch.zeros(1, 1, width)
    frame[..., list(columns)] = 1
    return frame


def test_the_white_pixel_keeps_its_number():
    features = torch.stack([dots(1), dots(2), dots(4)])
    found = propagate(features, torch.tensor([[0, 7, 0, 0, 0, 0]]), top_k=1)
    assert found.tolist() == [[[0, 7, 0, 0, 0, 0]], [[0, 0, 7, 0, 0, 0]], [[0, 0, 0, 0, 7, 0]]]


def test_twins_are_told_apart_by_the_radius_only():
    features = torch.stack([dots(0, 5), dots(1, 4)])
    first = torch.tensor([[3, 0, 0, 0, 0, 8]])
    near = propagate(features, first, top_k=1, radius=1)
    assert near[1].tolist() == [[0, 3, 0, 0, 8, 0]]
    anywhere = propagate(features, first, top_k=2)
    assert anywhere[1, 0, 1] == anywhere[1, 0, 4]  # half of each: one of the two, the same twice


def test_memory_holds_the_first_frame():
    # the object is grey for one frame, then as it was at first
    features = torch.stack([dots(2), 0.5 * dots(2), dots(2)])
    first = torch.tensor([[0, 0, 1, 0, 0, 0]])
    assert propagate(features, first, memory=2, top_k=1)[2].tolist() == first.tolist()


def test_softmax_over_the_best_by_hand():
    # a pixel of 0.4 lies 0.16 from black (object) and 0.36 from white; the softmax weighs them by
    # exp(-0.16 / t) and exp(-0.36 / t): black decides whatever t is; with k = 3 two whites may win
    features = torch.tensor([[[[0.0, 1.0, 1.0]]], [[[0.4, 0.4, 0.4]]]])
    first = torch.tensor([[1, 0, 0]])
    assert propagate(features, first, top_k=1)[1].unique().tolist() == [1]
    assert propagate(features, first, top_k=3, temperature=0.1)[1].unique().tolist() == [1]
    assert propagate(features, first, top_k=3, temperature=10.0)[1].unique().tolist() == [0]


def test_same_frames_same_masks_at_full_size():
    g = torch.Generator().manual_seed(0)
    frame = torch.rand(1, 3, 8, 8, generator=g)
    first = torch.randint(0, 3, (8, 8), generator=g)
    assert torch.equal(propagate(frame.expand(3, -1, -1, -1), first, top_k=1)[2], first)


def test_features_of_any_layer():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    images = torch.rand(2, 3, 8, 12)
    features = layer_features(net, images, "1", 4)
    assert features.shape == (2, 4, 4, 6)
    lengths = features.norm(dim=1)
    assert torch.allclose(lengths[lengths > 0.5], torch.ones(())) and not net[1]._forward_hooks
    assert color_features(images, 4).shape == (2, 3, 4, 6)
    with pytest.raises(ValueError, match="layer must be one of 0, 1, 2; got '5'"):
        layer_features(net, images, "5", 4)
    with pytest.raises(ValueError, match="layer must give one map"):
        layer_features(nn.Sequential(nn.Flatten()), images, "0", 4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"memory": 0}, "memory must be at least 1"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"temperature": 0.0}, "temperature must be > 0"),
        ({"radius": -1.0}, "radius >= 0"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        propagate(torch.zeros(2, 1, 4, 4), torch.zeros(4, 4, dtype=torch.long), **setting)


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"features must be \(T, D, h, w\)"):
        propagate(torch.zeros(2, 4, 4), torch.zeros(4, 4, dtype=torch.long))
    with pytest.raises(TypeError, match="first must be integer"):
        propagate(torch.zeros(2, 1, 4, 4), torch.zeros(4, 4))
