"""Channels are taken out together with all that reads them, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from segedu.compress import filter_norms, prune_channels
from segedu.compress.pruning import choose, watch
from segedu.models import cost, get_model
from tests.compress.networks import CLASSES, NETWORKS, build, images

TRANSPOSED = (nn.ConvTranspose2d,)


def without_readers(model, sample, share):
    """The network in which nobody reads the channels that would go."""
    model = copy.deepcopy(model)
    channels = watch(model, sample)
    gone = choose(channels, share, filter_norms, 1)
    with torch.no_grad():
        for module, use in channels.uses.items():
            if isinstance(module, nn.BatchNorm2d) or use.read is use.written:
                continue
            places = [i for i, c in enumerate(use.read) if channels.root(c) in gone]
            axis = 0 if isinstance(module, TRANSPOSED) else 1
            if module.groups == 1:
                module.weight.index_fill_(axis, torch.tensor(places, dtype=torch.long), 0.0)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pruned_network_is_the_one_in_which_nobody_reads_what_went(name):
    model = build(name).double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sample = images().double()
    with torch.no_grad():
        smaller = prune_channels(model, sample, 0.3)
        wanted = without_readers(model, sample, 0.3)(sample)
        found = smaller(sample)
    assert (found - wanted).abs().max() < 1e-9 * wanted.abs().max()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    whole, part = cost(model.float(), (64, 96)), cost(smaller.float(), (64, 96))
    assert 0.4 < part.macs / whole.macs < 0.6 and 0.4 < part.parameters / whole.parameters < 0.6


@pytest.mark.slow  # networks of their published size
@pytest.mark.parametrize(
    "name",
    ["enet", "hrnet_w18"]
    + [pytest.param(name, marks=pytest.mark.weekly) for name in ("segnet_basic", "fc_densenet56")],
)
def test_networks_of_other_kinds_are_pruned_as_rightly(name):
    """Pooling with indices, dilation and uneven kernels, dense blocks, four strides at once."""
    torch.manual_seed(0)
    model = get_model(name, CLASSES).eval().double()
    sample = images().double()
    with torch.no_grad():
        smaller = prune_channels(model, sample, 0.3)
        wanted = without_readers(model, sample, 0.3)(sample)
        assert (smaller(sample) - wanted).abs().max() < 1e-9 * wanted.abs().max()
    assert sum(map(torch.numel, smaller.parameters())) < sum(map(torch.numel, model.parameters()))


class ByName(nn.Module):
    """A function whose input has a name, and one that gives two results."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = nn.functional.conv2d(input=self.first(x), weight=self.second.weight)
        x, _ = nn.functional.max_pool2d(x, 2, return_indices=True)
        return self.last(x)


def test_inputs_by_name_are_followed_and_pairs_of_results_are_not():
    smaller = prune_channels(ByName(), images(), 0.5)
    shapes = {name: tuple(m.weight.shape[:2]) for name, m in smaller.named_children()}
    assert shapes == {"first": (4, 3), "second": (8, 4), "last": (2, 8)}
    assert smaller(images()).shape == (2, 2, 32, 48)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pruned_network_can_be_trained_and_exported(name, tmp_path):
    pytest.importorskip("onnxruntime")
    from segedu.engine.export import export_onnx

    smaller = prune_channels(build(name), images(), 0.5)
    assert not hasattr(smaller, "built_as")
    output = smaller.train()(images())
    logits = output[0] if isinstance(output, tuple) else output
    assert logits.shape == (2, CLASSES, 64, 96)
    logits.square().mean().backward()
    assert all(p.grad is None or p.grad.shape == p.shape for p in smaller.parameters())
    assert smaller.training and export_onnx(smaller, tmp_path / "n.onnx", {}, size=(64, 96))


def test_the_lowest_scores_of_a_layer_go():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        model[0].weight[:] = torch.tensor([3.0, -1.0, 4.0, 2.0]).view(4, 1, 1, 1)
        model[1].running_mean[:] = torch.arange(4.0)
    smaller = prune_channels(model, images(), 0.5)
    assert smaller[0].weight[:, 0, 0, 0].tolist() == [3, 4] and smaller[0].out_channels == 2
    assert smaller[1].running_mean.tolist() == [0, 2] and smaller[1].num_features == 2
    assert torch.equal(smaller[3].weight, model[3].weight[:, [0, 2]])
    assert smaller[3].out_channels == 2 and model[0].out_channels == 4
    other = prune_channels(model, images(), 0.5, score=lambda conv: torch.arange(4.0).flip(0))
    assert other[1].running_mean.tolist() == [0, 1]


def test_what_stays_is_a_multiple_where_that_is_asked_for():
    model = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU(), nn.Conv2d(24, 2, 1))
    assert prune_channels(model, images(), 0.5)[0].out_channels == 12
    assert prune_channels(model, images(), 0.5, multiple=8)[0].out_channels == 16
    assert prune_channels(model, images(), 0.99, multiple=32)[0].out_channels == 24
    assert prune_channels(model, images(), 0.99)[0].out_channels == 1


class Added(nn.Module):
    """Two layers whose outputs are added, and one that is used twice."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)
        self.twice, self.last = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = self.one(x) + self.two(x)
        return self.last(self.twice(self.twice(x)))


def test_what_is_added_or_used_twice_goes_together():
    model = Added()
    smaller = prune_channels(model, images(), 0.5)
    shapes = {name: module.weight.shape[:2] for name, module in smaller.named_children()}
    assert shapes == {"one": (4, 3), "two": (4, 3), "twice": (4, 4), "last": (2, 4)}
    assert smaller(images()).shape == (2, 2, 64, 96)


class Mixed(nn.Module):
    """Channels that are mixed by something that the watcher does not know."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8)
        self.second, self.last = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.last(self.second(self.norm(self.first(x))))


def test_what_is_not_understood_stays():
    smaller = prune_channels(Mixed(), images(), 0.5)
    assert smaller.first.out_channels == 8 and smaller.second.in_channels == 8
    assert smaller.second.out_channels == 4 and smaller(images()).shape == (2, 2, 64, 96)
    grouped = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 8, 1))
    with pytest.raises(ValueError, match="no channel of this network can be taken out"):
        prune_channels(grouped, images(), 0.5)


def test_attention_stays_and_the_rest_still_runs():
    model = get_model("segformer_b0", CLASSES)
    smaller = prune_channels(model.eval(), images(), 0.5)
    assert cost(smaller, (64, 96)).macs < cost(model, (64, 96)).macs
    assert smaller(images()).shape == (2, CLASSES, 64, 96)


def test_bad_input():
    model = build("unet")
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"share must be in \[0, 1\)"):
            prune_channels(model, images(), share)
    with pytest.raises(ValueError, match="multiple must be at least 1"):
        prune_channels(model, images(), 0.5, multiple=0)
    same = prune_channels(model, images(), 0.0)
    assert torch.equal(same(images()), model(images()))
