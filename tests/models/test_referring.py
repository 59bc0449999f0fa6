"""The network that a sentence steers: shapes, order of words, gradients, learning by heart."""

import pytest
import torch
import torch.nn.functional as F

from segedu.models.referring import BagOfWords, FiLM, ReferringNet, coordinates
from tests.models.overfit import learns_by_heart


def small(words: int = 9) -> ReferringNet:
    torch.manual_seed(0)
    return ReferringNet(words, base_width=4, width=8)


def test_shapes_at_any_size():
    net = small().eval()
    for size in ((32, 32), (33, 47)):
        assert net(torch.rand(2, 3, *size), torch.tensor([[1, 2], [3, 0]])).shape == (2, 1, *size)


def test_bag_of_words_is_a_mean_by_hand():
    bag = BagOfWords(3, 2)
    bag.vectors.weight.data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    assert bag(torch.tensor([[1, 2, 0], [3, 0, 0], [0, 0, 0]])).tolist() == [
        [2.0, 1.0], [5.0, 5.0], [0.0, 0.0],
    ]  # fmt: skip


def test_film_by_hand():
    film = FiLM(2, 1)
    for layer, weight in ((film.scale, [1.0, -1.0]), (film.shift, [0.0, 3.0])):
        layer.weight.data = torch.tensor(weight)[:, None]
        layer.bias.data.zero_()
    maps = torch.full((1, 2, 1, 1), 5.0)
    assert film(maps, torch.ones(1, 1)).flatten().tolist() == [10.0, 3.0]
    assert film(maps, torch.zeros(1, 1)).flatten().tolist() == [5.0, 5.0]


def test_order_and_padding_do_not_matter_but_words_do():
    net, image = small().double().eval(), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    one = net(image, torch.tensor([[1, 2, 3]]))
    other = net(image, torch.tensor([[3, 0, 1, 2]]))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert not torch.allclose(one, net(image, torch.tensor([[1, 2, 4]])))


def test_coordinates_of_the_corners():
    grid = coordinates(torch.zeros(1, 3, 3, 5))
    assert grid[0, :, 0, 0].tolist() == [-1, -1] and grid[0, :, -1, -1].tolist() == [1, 1]
    assert grid[0, :, 1, 2].tolist() == [0, 0]


def test_it_learns_two_sentences_of_one_picture_by_heart():
    net = small(2)
    image = torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    words = torch.tensor([[1], [2]])  # left, right
    target = torch.zeros(2, 1, 32, 32)
    target[0, :, :, :16], target[1, :, :, 16:] = 1, 1

    def loss():
        return F.binary_cross_entropy_with_logits(net(image, words), target)

    assert learns_by_heart(net, loss, below=0.1)
    assert not (net.sentence[0].vectors.weight[0]).any()  # what is no word stays nothing


def test_bad_input():
    net, images = small(), torch.zeros(2, 3, 32, 32)
    with pytest.raises(ValueError, match="words must be"):
        net(images, torch.tensor([[1]]))
    with pytest.raises(ValueError, match="within 0 and 9, got up to 10"):
        net(images, torch.tensor([[10], [1]]))
    with pytest.raises(ValueError, match="at least 1"):
        ReferringNet(0)
