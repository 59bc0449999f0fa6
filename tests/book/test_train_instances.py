"""What `book.results.train_instances` adds: views of samples, and the scores of every network."""

import pytest
import torch

from book.results import train_instances
from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.models import get_model
from segedu.tasks import Instance


@pytest.fixture(scope="module")
def sample():
    """A scene of 64 x 64, all its objects of one class, as the trainings keep it."""
    scenes = SceneDataset(1, SceneConfig(64), seed=3, task="instance")
    (sample,) = train_instances.Kept(list(scenes))
    assert len(sample["labels"]) > 2
    return sample


def test_quarters_tile_the_sample(sample):
    quarters = train_instances.Quarters([sample])
    assert len(quarters) == 4
    top, bottom = (torch.cat([quarters[i]["image"] for i in row], 2) for row in ((0, 1), (2, 3)))
    assert torch.equal(torch.cat([top, bottom], 1), sample["image"])
    pixels = [quarters[i]["masks"].sum() for i in range(4)]
    assert sum(pixels) == sample["masks"].sum()
    assert all(quarters[i]["masks"].flatten(1).any(1).all() for i in range(4))


@pytest.mark.parametrize("name", train_instances.NETWORKS)
def test_every_network_trains_and_is_judged(name, sample):
    torch.manual_seed(0)
    model = get_model(name, 2, **train_instances.NETWORKS[name])
    loss = Instance().loss(model.train(), [sample, sample])
    loss.backward()
    assert loss.isfinite()
    scores = train_instances.judge(model, [sample])
    assert 0 <= scores["AP"] <= 1
    assert ("PQ" in scores) == hasattr(model, "things")
