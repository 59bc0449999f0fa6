"""Functions in several processes: together they compute what one process computes."""

import time
from math import floor

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import Dataset

from segedu.engine import distributed, evaluate, fit, make_loader
from segedu.engine.launch import PATIENCE, launch
from segedu.metrics import SemanticMetrics
from tests.engine.toy_training import Stripes, toy_model

slow = pytest.mark.slow  # starts processes


class Exact(Dataset):
    """Stripes in float64."""

    def __init__(self, length: int) -> None:
        self.stripes = Stripes(length, noise=True)

    def __len__(self) -> int:
        return len(self.stripes)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = self.stripes[index]
        return sample | {"image": sample["image"].double()}


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train(model, dataset):
    """Weights after two epochs of four steps, and the losses."""
    loader = make_loader(dataset, 4, shuffle=True, seed=3)
    history = fit(
        model,
        loader,
        nn.CrossEntropyLoss(),
        epochs=2,
        optimizer=torch.optim.SGD(model.parameters(), 0.1, momentum=0.9),
        device="cpu",
    )
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return weights, torch.tensor(history["loss"], dtype=torch.float64)


@slow
def test_two_processes_learn_what_one_learns():
    """In float64, to 1e-8; group normalisation looks at each picture alone."""
    dataset, before = Exact(16), weights_of(toy_model().double())
    weights, losses = train(toy_model().double(), dataset)
    assert (weights - before).abs().max() > 0.1
    for found, found_losses in launch(train, 2, model=toy_model().double(), dataset=dataset):
        torch.testing.assert_close(found, weights, rtol=0, atol=1e-8)
        torch.testing.assert_close(found_losses, losses, rtol=1e-6, atol=0)


@slow
def test_batch_normalisation_learns_something_else_with_half_of_the_batch():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3, padding=2))
    model = model.double()
    whole, halves = (launch(train, n, model=model, dataset=Exact(16))[0][0] for n in (1, 2))
    assert (whole - halves).abs().max() > 1e-3


def synchronised():
    """What a network with SyncBatchNorm says on the processor."""
    model = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3)))
    model(torch.rand(2, 3, 4, 4))


@slow
def test_synchronised_batch_normalisation_needs_a_gpu():
    """Chapter *Scaling out* says so; once this fails, it can say more."""
    with pytest.raises(RuntimeError, match="SyncBatchNorm expected input tensor to be on GPU"):
        launch(synchronised, 2)


def judge(model, dataset):
    """Scores and loss of this and all other processes."""
    loader = make_loader(dataset, 6)
    scores = evaluate(model, loader, SemanticMetrics(2), loss=nn.CrossEntropyLoss())
    del scores["per_class"]  # the same numbers once more, by name
    return {name: torch.as_tensor(score) for name, score in scores.items()}


@slow
def test_scores_are_the_same_on_any_number_of_processes():
    """Of 7 pictures: shares of 7, of 4 and 3, of 3, 2 and 2; none is counted twice."""
    model, dataset = toy_model().double(), Exact(7)
    expected = judge(model, dataset)
    assert 0.1 < expected["mean_iou"] < 0.9
    for processes in (1, 2, 3):
        for found in launch(judge, processes, model=model, dataset=dataset):
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                if name == "loss":  # a sum in another order
                    torch.testing.assert_close(found[name], value, rtol=1e-6, atol=0)
                else:
                    assert torch.equal(found[name].nan_to_num(-1), value.nan_to_num(-1)), name


def train_sharded(model, images, masks, share):
    """Weights after five steps of AdamW, and how many numbers this process holds for them."""
    if share:
        model = fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    rank, world = distributed.rank(), distributed.world_size()
    for _ in range(5):
        loss = nn.functional.cross_entropy(model(images[rank::world]), masks[rank::world])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if not share:
        return torch.cat([p.detach().flatten() for p in model.parameters()]), 0
    held = sum(p.to_local().numel() for p in model.parameters())
    held += sum(s["exp_avg"].to_local().numel() for s in optimizer.state.values())
    return torch.cat([p.detach().full_tensor().flatten() for p in model.parameters()]), held


@slow
def test_sharded_weights_learn_the_same_in_half_of_the_memory():
    """FSDP2 on two processes; each holds half of the weights and of an average of AdamW."""
    torch.manual_seed(0)
    images, masks = torch.randn(4, 3, 8, 8).double(), torch.randint(2, (4, 8, 8))
    alone, _ = train_sharded(toy_model().double(), images, masks, share=False)
    arguments = {"images": images, "masks": masks, "share": True}
    results = launch(train_sharded, 2, model=toy_model().double(), **arguments)
    for weights, held in results:
        torch.testing.assert_close(weights, alone, rtol=0, atol=1e-8)
        assert held == pytest.approx(len(alone), rel=0.05)


def rank_and_sum(value: torch.Tensor):  # a module that only the hint names
    """The number of this process, and the sum over all."""
    value += 1
    return floor(distributed.rank()), distributed.total(value)


@slow
def test_each_process_gets_its_own_copy_and_the_answers_are_in_order():
    value = torch.zeros(2)
    answers = launch(rank_and_sum, 3, value=value)
    assert [rank for rank, _ in answers] == [0, 1, 2]
    assert all(total.tolist() == [3, 3] for _, total in answers)
    assert value.tolist() == [0, 0]


def fail_in_the_second():
    """One process waits for ever for the other."""
    if distributed.rank() == 1:
        raise KeyError("no such scene")
    distributed.wait()


@slow
def test_the_error_of_one_process_ends_all():
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="process 1 of 2: KeyError: 'no such scene'"):
        launch(fail_in_the_second, 2)
    assert time.monotonic() - start < PATIENCE.total_seconds()  # nobody waited in vain


@pytest.mark.parametrize(
    ("processes", "function", "message"),
    [
        (0, train, "processes must be at least 1, got 0"),
        (2, lambda: 1, "function must be written with def, got <function"),
        (2, torch.add, "function must be written with def, got <built-in"),
    ],
)
def test_what_cannot_be_launched_is_said(processes, function, message):
    with pytest.raises(ValueError, match=message):
        launch(function, processes)


def test_a_function_that_sees_variables_of_another_is_refused():
    outside = 3

    def inside():
        return outside

    with pytest.raises(ValueError, match="inside uses outside of the function around it: give"):
        launch(inside, 2)


def test_a_function_without_a_source_is_refused():
    names = {}
    exec("def unwritten(): pass", names)  # noqa: S102
    with pytest.raises(ValueError, match="the source of unwritten is not known: write it in"):
        launch(names["unwritten"], 2)
