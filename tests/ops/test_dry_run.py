import pytest
import torch
from torch import nn

from segedu.ops import dry_run


def test_dry_run_gives_shapes_and_leaves_the_model_as_it_is():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Dropout())
    model[1].eval()  # a frozen layer in a model that trains
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    output = dry_run(model, (9, 15))
    assert output.shape == (1, 4, 4, 7)
    assert output.is_meta
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_dry_run_of_volumes_and_of_shared_weights():
    model = nn.Sequential(nn.Conv3d(2, 2, 3, padding=1), nn.Conv3d(2, 2, 3, padding=1))
    model[1].weight = model[0].weight
    assert dry_run(model, (8, 4, 6), in_channels=2).shape == (1, 2, 8, 4, 6)
    assert model[1].weight is model[0].weight


def test_dry_run_restores_the_model_after_an_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(7, 7))
    with pytest.raises(RuntimeError):
        dry_run(model, 32)
    assert model.training
    assert not model[0].weight.is_meta
