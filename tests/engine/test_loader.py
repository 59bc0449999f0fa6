"""Loaders whose batches follow from (seed, epoch) alone; seeds; history."""

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from segedu.engine import History, make_loader, seed_everything, tensorboard
from segedu.engine.history import plain
from segedu.engine.loader import derive_seed, set_epoch


class Noise(Dataset):
    """Sample i is i and random numbers of all three generators."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return torch.tensor([index, torch.rand(()), np.random.rand(), random.random()])


def epoch(loader, number):
    loader.sampler.set_epoch(number)
    return torch.cat(list(loader))


def test_samples_follow_from_seed_and_epoch():
    loader = make_loader(Noise(), 2, shuffle=True, seed=1)
    first, second = epoch(loader, 1), epoch(loader, 2)
    torch.rand(5)  # what else happens does not matter
    assert torch.equal(epoch(loader, 1), first)
    assert not torch.equal(first, second)
    assert sorted(first[:, 0].tolist()) == list(range(7))
    other = make_loader(Noise(), 2, shuffle=True, seed=2)
    assert not torch.equal(epoch(other, 1), first)


def test_workers_change_nothing_even_when_they_live_on():
    alone = make_loader(Noise(), 2, shuffle=True)
    helped = make_loader(Noise(), 2, shuffle=True, num_workers=1)
    for number in (1, 2):
        assert torch.equal(epoch(alone, number), epoch(helped, number))


def test_loading_leaves_the_global_generator_alone():
    loader = make_loader(Noise(), 7)
    iterator = iter(loader)  # this draws a number
    state = torch.get_rng_state()
    next(iterator)
    assert torch.equal(torch.get_rng_state(), state)


class Damaged(Dataset):
    """Sample 2 cannot be read."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            raise self.error
        return torch.tensor(index)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("mask_2.png: holds the value 77"), ValueError),
        (FileNotFoundError("mask_2.png: no such file"), FileNotFoundError),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "mask_2.png"), ValueError),
        (TypeError("mask_2.png"), TypeError),
    ],
)
def test_what_is_wrong_with_a_sample_is_said_in_its_own_words(workers, error, kind):
    loader = make_loader(Damaged(error), 2, num_workers=workers)
    batches = iter(loader)
    assert next(batches).tolist() == [0, 1]
    with pytest.raises(kind) as caught:
        next(batches)
    assert str(caught.value) == str(error)
    if workers:  # where nobody catches it, the place in the data set's code is shown all the same
        assert "raise self.error" in caught.value.__notes__[0]


def test_a_sample_that_is_not_finite_is_named_by_its_file():
    class Files(Damaged):
        def __getitem__(self, index):
            return {"image": torch.tensor([torch.nan if index == 3 else 1.0])}

    files = Files(None)
    files.image_paths = [Path(f"scan_{index}.tif") for index in range(4)]
    dataset = Subset(files, [1, 3])
    with pytest.raises(ValueError, match=r"^scan_3\.tif holds NaN or infinity"):
        list(make_loader(dataset, 1, num_workers=1))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_without_repeating(world, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(world))
    parts = {True: [], False: []}
    for rank in range(world):
        monkeypatch.setenv("RANK", str(rank))
        for shuffle in (True, False):
            loader = make_loader(Noise(), 2 * world, shuffle=shuffle)
            indices = epoch(loader, 1)[:, 0].tolist()
            assert len(indices) == len(loader.sampler)
            parts[shuffle].append(indices)
    judged = sorted(i for part in parts[False] for i in part)
    assert judged == list(range(7))  # evaluation: each sample once
    trained = [i for part in parts[True] for i in part]
    assert len({len(part) for part in parts[True]}) == 1  # training: equal work
    assert len(set(trained)) == len(trained) == 7 - 7 % world
    if world == 2:
        with pytest.raises(ValueError, match=r"multiple of the 2 process\(es\), got 3"):
            make_loader(Noise(), 3)


def test_the_processes_together_see_the_batches_of_one(monkeypatch):
    whole = list(make_loader(Noise(), 4, shuffle=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    shares = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(make_loader(Noise(), 4, shuffle=True)))
    for batch, *parts in zip(whole[:1], *(share[:1] for share in shares), strict=True):
        together = torch.cat(parts)
        assert sorted(together[:, 0].tolist()) == sorted(batch[:, 0].tolist())


def test_a_loader_that_is_not_shared_is_refused(monkeypatch):
    plain = DataLoader(Noise(), 2)
    set_epoch(plain, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="make_loader"):
        set_epoch(plain, 1)
    shared = make_loader(Noise(), 2)
    set_epoch(shared, 3)
    assert shared.sampler.epoch == 3


@pytest.mark.parametrize("batch_size", [0, -1])
def test_bad_batch_size(batch_size):
    with pytest.raises(ValueError, match="batch_size"):
        make_loader(Noise(), batch_size)


def test_empty_data_set():
    with pytest.raises(ValueError, match="dataset is empty"):
        make_loader([], 1)


def test_seed_everything():
    def draw():
        return random.random(), np.random.rand(), torch.rand(()).item()

    seed_everything(3)
    first = draw()
    seed_everything(3)
    assert draw() == first != draw()
    for bad in (-1, 2**32):
        with pytest.raises(ValueError, match=f"got {bad}"):
            seed_everything(bad)


def test_derived_seeds_differ():
    seeds = {derive_seed(s, e, i) for s in range(4) for e in range(8) for i in range(64)}
    assert len(seeds) == 4 * 8 * 64
    assert all(0 <= seed < 2**32 for seed in seeds)


RECORDS = [{"epoch": 1, "loss": 0.5, "val_mean_iou": 0.2}, {"epoch": 2, "loss": 0.4}]


def test_history(tmp_path):
    history = History(RECORDS)
    assert history["loss"] == [0.5, 0.4] and history["val_mean_iou"] == [0.2, None]
    assert len(history) == 2 and list(history) == RECORDS
    assert history.best("loss") == 2 and history.best("val_mean_iou") == 1
    assert history.stale("val_mean_iou") == 1 and History().stale("loss") == 0
    with pytest.raises(KeyError, match="'accuracy'.*'loss'"):
        history["accuracy"]
    history.to_jsonl(tmp_path / "log.jsonl")
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").open()] == RECORDS
    assert History.from_jsonl(tmp_path / "log.jsonl") == history


def test_plain_scores():
    scores = {"a": torch.tensor([0.5, float("nan")]), "b": 1.0, "m": torch.eye(2)}
    assert plain(scores) == {"a": [0.5, None], "b": 1.0}


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write = tensorboard(tmp_path)
    for record in ({"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_iou": [0.25, None]}):
        write(record)
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(1, 2.0), (2, 1.0)]
    assert [event.value for event in read.Scalars("val_iou/0")] == [0.25]
    assert set(read.Tags()["scalars"]) == {"loss", "val_iou/0"}


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'segedu\[tensorboard\]'"):
        tensorboard(tmp_path)
