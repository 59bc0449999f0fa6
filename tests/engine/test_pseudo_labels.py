"""Labels that networks make, on maps of a few pixels."""

import pytest
import torch

from segedu.engine.pseudo_labels import activation_maps, pseudo_labels, seeds

VOID = 255


def test_only_what_is_likely_enough_is_labelled():
    p = torch.tensor([[0.7, 0.02, 0.1], [0.1, 0.95, 0.4], [0.2, 0.03, 0.5]])
    logits = p.log()[None].requires_grad_()  # (1, 3 classes, 3 pixels)
    labels, confidence = pseudo_labels(logits, 0.6)
    assert labels.tolist() == [[0, 1, VOID]] and labels.dtype == torch.int64
    torch.testing.assert_close(confidence[0, [0, 2]], torch.tensor([0.7, 0.5]))
    assert not confidence.requires_grad
    assert pseudo_labels(logits, 0)[0].tolist() == [[0, 1, 2]]
    exact = torch.tensor([[[0.0], [0.0]]])  # one half each: the threshold itself is enough
    assert pseudo_labels(exact, 0.5)[0].tolist() == [[0]]


FEATURES = torch.tensor([[[[1.0, 2.0], [0.0, 4.0]], [[0.0, 1.0], [3.0, 0.0]]]])  # (1, 2, 2, 2)
WEIGHT = torch.tensor([[1.0, -1.0], [0.0, 2.0], [-1.0, -1.0]])  # (3, 2)
MAPS = torch.tensor([[[[0.25, 0.25], [0, 1]], [[0, 1 / 3], [1, 0]], [[0, 0], [0, 0]]]])


def test_activation_maps_by_hand():
    """Class 0: 1, 1, -3 and 4; class 1: 0, 2, 6, 0; nothing speaks for class 2."""
    torch.testing.assert_close(activation_maps(FEATURES, WEIGHT), MAPS)


def test_the_mean_of_a_map_is_the_score_of_the_class():
    """The maps explain the score: before they are cut off and divided they average to it."""
    positive = WEIGHT.abs()
    pooled = FEATURES.mean((2, 3)) @ positive.T  # (1, 3)
    maps = activation_maps(FEATURES, positive)
    largest = torch.einsum("ndhw,cd->nchw", FEATURES, positive).amax((2, 3))
    torch.testing.assert_close(maps.mean((2, 3)) * largest, pooled)


def test_seeds_by_hand():
    everything = torch.tensor([[True, True, True]])
    assert seeds(MAPS, everything).tolist() == [[[0, 1], [1, 0]]]
    assert seeds(MAPS, everything, threshold=0.3).tolist() == [[[VOID, 1], [1, 0]]]
    only_first = torch.tensor([[True, False, False]])
    assert seeds(MAPS, only_first).tolist() == [[[0, 0], [VOID, 0]]]
    assert (seeds(MAPS, everything & False) == VOID).all()


def test_seeds_at_the_size_of_the_image():
    large = seeds(MAPS, torch.tensor([[True, True, True]]), (4, 6), threshold=0.9)
    assert large.shape == (1, 4, 6)
    assert large[0, -1, -1] == 0 and large[0, -1, 0] == 1 and large[0, 0, 0] == VOID


def test_bad_input_is_named():
    logits, tags = torch.zeros(1, 3, 2, 2), torch.ones(1, 3).bool()
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\], got 1.5"):
        pseudo_labels(logits, 1.5)
    with pytest.raises(ValueError, match=r"logits must be \(N, C, ...\), got \(2, 2\)"):
        pseudo_labels(logits[0, 0])
    with pytest.raises(ValueError, match=r"weight \(C, D\), got \(1, 2, 2, 2\) and \(2, 3\)"):
        activation_maps(FEATURES, WEIGHT.T)
    with pytest.raises(ValueError, match=r"tags \(N, C\), got \(1, 3, 2, 2\) and \(1, 2\)"):
        seeds(MAPS, tags[:, :2])
    with pytest.raises(ValueError, match="threshold must be above 0"):
        seeds(MAPS, tags, threshold=0)
