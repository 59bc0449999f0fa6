import pytest
import torch

from segedu.models.mae import PatchEncoder
from segedu.models.prototype import nearest, prototypes, similarities
from tests.models.test_double import Exact

# one image of 2 x 2 features with two channels
FEATURES = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [2.0, 4.0]]]])
TOP = torch.tensor([[True, True], [False, False]])


def test_means_by_hand():
    found = prototypes(FEATURES, torch.stack([TOP, ~TOP])[None])
    assert found.tolist() == [[2.0, 0.0], [0.0, 3.0]]
    one = torch.tensor([[False, True], [False, False]])
    assert prototypes(FEATURES, one[None, None]).tolist() == [[3.0, 0.0]]


def test_each_pixel_of_several_images_counts_once():
    features, masks = torch.rand(3, 4, 8, 8), torch.rand(3, 2, 8, 8) > 0.7
    found = prototypes(features, masks)
    for k in range(2):
        pixels = features.movedim(1, 3)[masks[:, k]]
        torch.testing.assert_close(found[k], pixels.mean(0))


def test_features_are_enlarged_to_the_masks():
    features, masks = torch.rand(1, 4, 4, 4), torch.rand(1, 2, 16, 16) > 0.5
    enlarged = torch.nn.functional.interpolate(features, (16, 16), mode="bilinear")
    torch.testing.assert_close(prototypes(features, masks), prototypes(enlarged, masks))


def test_the_direction_decides_not_the_length():
    vectors = torch.tensor([[9.0, 0.0], [0.1, 0.1]])
    here = torch.tensor([[1.0, 0.0], [1.0, 0.5], [1.0, 1.0], [50.0, 50.0]])
    found = nearest(here.T[None, :, None], vectors)
    assert found.tolist() == [[[0, 1, 1, 1]]]
    cosines = similarities(here.T[None, :, None], vectors)
    assert cosines[0, :, 0, 0].tolist() == pytest.approx([1.0, 2**-0.5])


def test_size_of_the_answer():
    found = nearest(torch.rand(2, 4, 8, 8), torch.rand(3, 4), (20, 24))
    assert found.shape == (2, 20, 24) and found.dtype == torch.int64


def test_features_of_a_network():
    """One labelled picture of two colours teaches to tell them in another picture."""
    torch.manual_seed(0)
    features = PatchEncoder(64, 8, layers=2, width=32, heads=2).eval()
    support, query = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    support[..., 32:] = 1
    query[..., :32, :] = 1
    masks = torch.stack([support[0, 0] == 0, support[0, 0] == 1])[None]
    with torch.no_grad():
        vectors = prototypes(features(support), masks)
        found = nearest(features(query), vectors, (64, 64))
    assert ((found == 1) == (query[:, 0] == 1)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (torch.zeros(1, 2, 2, 2, dtype=torch.bool), r"a pixel of each class, got none of \[0, 1\]"),
        (
            torch.ones(2, 2, dtype=torch.bool),
            r"masks must be \(N, K, H, W\) with N of 1, got \(2, 2\)",
        ),
        (torch.ones(2, 1, 2, 2, dtype=torch.bool), "with N of 1"),
    ],
)
def test_bad_masks_are_named(masks, said):
    with pytest.raises(ValueError, match=said):
        prototypes(FEATURES, masks)


def test_nothing_is_rounded_in_float64():
    features = torch.rand(2, 4, 8, 8).double().requires_grad_()
    with Exact():
        vectors = prototypes(features, torch.rand(2, 2, 16, 16) > 0.5)
        similarities(features, vectors).sum().backward()
    assert vectors.dtype == features.grad.dtype == torch.float64
