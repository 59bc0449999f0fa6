"""What `book.results.train_instances` adds to the networks: other forms of samples and results."""

import pytest
import torch

from book.results import train_instances
from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.metrics import AveragePrecision
from segedu.tasks import Instance


@pytest.fixture(scope="module")
def sample():
    """A scene of 64 x 64, all its objects of one class, as the trainings keep it."""
    scenes = SceneDataset(1, SceneConfig(64), seed=3, task="instance")
    (sample,) = train_instances.Kept(list(scenes))
    assert len(sample["labels"]) > 2
    return sample


def test_a_sample_as_a_panoptic_one_and_back(sample):
    panoptic = train_instances.to_panoptic(sample)
    assert [segment["category_id"] for segment in panoptic["segments_info"]][:2] == [0, 1]
    for segment in panoptic["segments_info"]:
        segment |= {"isthing": segment["category_id"] == 1, "score": 0.9}
    metric = AveragePrecision()
    metric.update([train_instances.to_detections(panoptic)], [sample])
    assert metric.compute()["AP"] == 1


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
    model = train_instances.NETWORKS[name]()
    loss = Instance().loss(model.train(), [sample, sample])
    loss.backward()
    assert loss.isfinite()
    scores = train_instances.judge(model, [sample])
    assert 0 <= scores["AP"] <= 1
    assert ("PQ" in scores) == isinstance(model, train_instances.PanopticDetector)
