"""Training whose weights lie in parts on two processes: the numbers and files of one process."""

import pytest
import torch
from torch import nn

from segedu.engine import distributed, fit, load_checkpoint, make_loader
from segedu.engine.launch import launch
from segedu.engine.optim import poly_lr
from tests.engine.test_launch import Exact
from tests.engine.toy_training import LOSS, Stripes, toy_model

SETTINGS = {"accumulate": 2, "clip_norm": 0.5, "seed": 3}


def run(model, data, folder, shard, epochs, resume, block, settings):
    """Weights and losses of a training, and how many numbers this process trains."""
    distributed.BLOCK = block
    loader = make_loader(data[0], 4, shuffle=True, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    schedule = poly_lr(optimizer, 8)
    settings |= {"optimizer": optimizer, "scheduler": schedule, "checkpoint_dir": folder}
    judged = make_loader(data[1], 2)
    settings |= {"val_loader": judged, "shard": shard, "resume": resume}
    history = fit(model, loader, nn.CrossEntropyLoss(), epochs=epochs, **settings)
    (group,) = optimizer.param_groups
    held = [p.to_local() if hasattr(p, "to_local") else p for p in group["params"]]
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    losses = torch.tensor([history["loss"], history["val_loss"]])
    return weights, losses, sum(p.numel() for p in held)


def arguments(folder, **more):
    usual = {"shard": True, "epochs": 4, "resume": False, "block": 2**20, "settings": {**SETTINGS}}
    data = Exact(12), Exact(5)
    return {"model": toy_model().double(), "data": data, "folder": str(folder)} | usual | more


def equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("block", [2**20, 1])
def test_two_processes_that_share_the_weights_equal_one(block, tmp_path):
    """With accumulation, clipping and a schedule; as one group, and with a group per layer."""
    expected, losses, size = run(**arguments(tmp_path / "one", shard=False))
    results = launch(run, 2, **arguments(tmp_path / "two", block=block))
    for weights, found, held in results:
        equal(weights, expected)
        torch.testing.assert_close(found, losses, rtol=1e-6, atol=0)
        assert held == pytest.approx(size / 2, rel=0.1)
    one, two = (load_checkpoint(tmp_path / name / "last.pt") for name in ("one", "two"))
    assert one.keys() == two.keys() and one["model"].keys() == two["model"].keys()
    for name, value in one["model"].items():
        equal(two["model"][name], value)
    for key, state in one["optimizer"]["state"].items():
        for name, value in state.items():
            equal(two["optimizer"]["state"][key][name], value)


@pytest.mark.slow
def test_a_training_in_parts_goes_on_in_parts_and_without(tmp_path):
    expected, _, _ = run(**arguments(tmp_path / "one", shard=False))
    for name, launched in (("parts", True), ("one process", False)):
        launch(run, 2, **arguments(tmp_path / name, epochs=2))
        more = arguments(tmp_path / name, resume=True, shard=launched)
        weights, *_ = launch(run, 2, **more)[0] if launched else run(**more)
        equal(weights, expected)


def refused(model, data, settings):
    """What is said."""
    try:
        fit(model, make_loader(data, 4), nn.CrossEntropyLoss(), epochs=1, shard=True, **settings)
    except ValueError as error:
        return str(error)


@pytest.mark.slow
def test_what_cannot_lie_in_parts_is_refused():
    said = launch(refused, 2, model=toy_model(), data=Stripes(), settings={"ema_decay": 0.9})
    assert (
        said
        == [
            "shard is not for a moving average of the weights: leave out ema_decay, or "
            "train without shard"
        ]
        * 2
    )


def test_alone_there_is_nothing_to_share():
    model = toy_model()
    before = [p.clone() for p in model.parameters()]
    fit(model, make_loader(Stripes(), 4), LOSS, epochs=1, shard=True)
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())
    assert not any(map(torch.equal, before, model.parameters()))
