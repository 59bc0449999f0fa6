"""Seeds, and loaders whose batches depend on (seed, epoch) and on nothing else."""

import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from segedu.engine import distributed


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices).

    The same seed gives the same bits on the same machine, thread count and versions. On a GPU
    some backward passes (cross entropy, bilinear interpolation) add in no fixed order.

    Args:
        seed: 0 <= seed < 2**32.

    Raises:
        ValueError: if ``seed`` is out of range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be in 0..{2**32 - 1}, got {seed}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def derive_seed(*parts: int) -> int:
    """One 32-bit seed out of several non-negative numbers, such as (seed, epoch, index)."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def make_loader(
    dataset: Dataset,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    collate_fn: Callable | None = None,
) -> DataLoader:
    """A ``DataLoader`` that can be repeated, resumed and spread over processes.

    Its order follows from (seed, epoch) and the random numbers of a sample (augmentation) from
    (seed, epoch, index), whatever the number of workers or processes. Under torchrun each
    process gets its share of every batch. A shuffled (training) loader drops the few samples
    that would leave the processes with unequal work; one that is not shuffled (evaluation)
    gives every sample to exactly one process.

    Args:
        dataset: map-style dataset.
        batch_size: samples per step, summed over the processes.
        shuffle: draw a new order in every epoch.
        seed: root of all random numbers.
        num_workers: processes that load ahead; 0 loads in this one.
        collate_fn: how samples become a batch; by default they are stacked.

    Raises:
        ValueError: if the data set is empty, or the processes cannot share ``batch_size``.
    """
    share, rest = divmod(batch_size, distributed.world_size())
    if len(dataset) == 0:
        raise ValueError("dataset is empty")
    if share < 1 or rest:
        raise ValueError(
            f"batch_size must be a positive multiple of the {distributed.world_size()} "
            f"process(es), got {batch_size}"
        )
    return DataLoader(
        _SeededDataset(dataset, seed),
        share,
        sampler=EpochSampler(len(dataset), shuffle=shuffle, seed=seed),
        num_workers=num_workers,
        collate_fn=collate_fn,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
    )


class EpochSampler(Sampler[int]):
    """The indices that this process visits in one epoch, each as ``epoch * length + index``.

    The epoch travels inside the number because worker processes hold their own copy of the
    data set: a ``dataset.set_epoch`` here would not reach them.

    Args:
        length: number of samples in the data set.
        shuffle: draw a new order in every epoch.
        seed: root of the order.
    """

    def __init__(self, length: int, *, shuffle: bool, seed: int) -> None:
        self.length, self.shuffle, self.seed, self.epoch = length, shuffle, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = torch.arange(self.length)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
            order = torch.randperm(self.length, generator=generator)
            order = order[: self.length - self.length % distributed.world_size()]
        # Every K-th sample: the K processes together see what one process would see.
        mine = order[distributed.rank() :: distributed.world_size()]
        return iter((self.epoch * self.length + mine).tolist())

    def __len__(self) -> int:
        world = distributed.world_size()
        if self.shuffle:
            return self.length // world
        return len(range(distributed.rank(), self.length, world))


def set_epoch(loader: DataLoader, epoch: int) -> None:
    """Tell the sampler of ``loader`` which epoch begins, if it wants to know.

    Raises:
        ValueError: if every one of several processes would see all samples.
    """
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)
    elif distributed.world_size() > 1:
        raise ValueError("the processes do not share this loader: build it with make_loader")


class _SeededDataset(Dataset):
    """Reads sample ``index`` of ``epoch`` with its own random numbers."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int):
        epoch, index = divmod(key, len(self.dataset))
        seed = derive_seed(self.seed, epoch, index)
        # Only the CPU generator: dropout on a GPU must not start anew with every sample.
        with torch.random.fork_rng(devices=[]):
            random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)
            return self.dataset[index]
