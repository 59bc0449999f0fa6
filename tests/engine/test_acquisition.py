"""Which image to label next, on probabilities and points that one can check in the head."""

import pytest
import torch

from segedu.engine.acquisition import (
    disagreement,
    entropy,
    farthest_first,
    least_confidence,
    small_margin,
)

# Four pixels, four classes: sure; one half and one half; a quarter each; a favourite.
P = torch.tensor(
    [[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.25, 0.25, 0]]
).T[None]  # (1, 4 classes, 4 pixels)
UNSURE = (least_confidence, small_margin, entropy)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (least_confidence, [0, 0.5, 0.75, 0.5]),
        (small_margin, [0, 1, 1, 0.75]),
        (entropy, [0, 0.5, 1, 0.75]),  # 0, 1, 2 and 1.5 bits of 2
    ],
)
def test_by_hand(function, expected):
    torch.testing.assert_close(function(P)[0], torch.tensor(expected))


@pytest.mark.parametrize("function", UNSURE)
def test_the_order_of_the_classes_does_not_matter(function):
    p = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    found = function(p)
    assert found.shape == (2, 3, 4) and found.min() >= 0 and found.max() <= 1
    torch.testing.assert_close(found, function(p[:, torch.randperm(5)]))
    sharper = (2 * p.log()).softmax(1)
    assert (function(sharper) <= found + 1e-6).all()


def test_networks_that_are_unsure_alike_do_not_disagree():
    alike = P.repeat(3, 1, 1, 1)
    torch.testing.assert_close(disagreement(alike), torch.zeros(1, 4))
    sure = torch.tensor([[1.0, 0], [0, 1]])  # two networks, each sure of another class
    apart = sure[:, None, :, None]  # (2 networks, 1 image, 2 classes, 1 pixel)
    torch.testing.assert_close(disagreement(apart), torch.ones(1, 1))
    torch.testing.assert_close(entropy(apart.mean(0)), torch.ones(1, 1))


POINTS = torch.tensor([[0.0], [1.0], [2.0], [10.0], [6.0]])


def test_farthest_first_by_hand():
    """From 0: 10 is farthest; then 6 lies 4 from 10; then 2 lies 2 from 0."""
    assert farthest_first(POINTS, [0], 4) == [3, 4, 2, 1]
    assert farthest_first(POINTS, [0, 3], 1) == [4]
    assert farthest_first(POINTS, [0], 0) == []


def test_farthest_first_never_takes_an_image_twice():
    same = torch.zeros(5, 3)
    assert sorted(farthest_first(same, [2], 4)) == [0, 1, 3, 4]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"must sum to 1 .*logits.softmax\(1\)"):
        entropy(torch.randn(1, 3, 4))
    with pytest.raises(ValueError, match="of 2 classes at least, got"):
        small_margin(torch.ones(1, 1, 4))
    with pytest.raises(ValueError, match=r"must be \(M, N, C, ...\), got \(1, 4, 4\)"):
        disagreement(P)
    with pytest.raises(ValueError, match=r"features must be \(N, D\), got \(5,\)"):
        farthest_first(POINTS[:, 0], [0], 1)
    with pytest.raises(ValueError, match="one image at least, got none"):
        farthest_first(POINTS, [], 1)
    with pytest.raises(ValueError, match=r"count must be in 0..3, got 4"):
        farthest_first(POINTS, [0, 1], 4)
