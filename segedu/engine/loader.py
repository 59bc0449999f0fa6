"""Seeds, and loaders whose batches depend on (seed, epoch) and on nothing else."""

import random
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    Sampler,
    Subset,
    default_collate,
    get_worker_info,
)

from segedu.engine import distributed
from segedu.engine.batches import is_finite


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
        collate_fn: how samples become a batch, such as that of a task; by default they are stacked.

    Raises:
        ValueError: if the data set is empty, or the processes cannot share ``batch_size``. What is
            wrong with a sample (``OSError``, ``TypeError``, ``ValueError``) is raised by the loader
            with its own short message, also if another process found it.
    """
    share, rest = divmod(batch_size, distributed.world_size())
    if len(dataset) == 0:
        raise ValueError("dataset is empty")
    if share < 1 or rest:
        raise ValueError(
            f"batch_size must be a positive multiple of the {distributed.world_size()} "
            f"process(es), got {batch_size}"
        )
    return _Loader(
        _SeededDataset(dataset, seed),
        share,
        sampler=EpochSampler(len(dataset), shuffle=shuffle, seed=seed),
        num_workers=num_workers,
        collate_fn=partial(_collate, collate_fn or default_collate),
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
    """Reads sample ``index`` of ``epoch`` with its own random numbers, or says what is wrong."""

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
            try:
                sample = self.dataset[index]
                if not is_finite(sample):
                    raise ValueError(f"{_name(self.dataset, index)} holds NaN or infinity")
            except _MISTAKES as error:
                if get_worker_info() is None:
                    raise
                return _Failure(error)
        return sample


# A worker process would add its traceback to the message and change the class of some.
_MISTAKES = (FileNotFoundError, OSError, TypeError, ValueError)


class _Failure:
    """What stands in the place of a sample that cannot be read, and then of its batch."""

    def __init__(self, error: Exception) -> None:
        self.kind = next(kind for kind in _MISTAKES if isinstance(error, kind))
        self.message = str(error)
        self.traceback = "".join(traceback.format_exception(error))

    def error(self) -> Exception:
        """The same error; its traceback is a note, which is shown where nobody catches it."""
        error = self.kind(self.message)
        error.add_note(f"In a worker process:\n{self.traceback}")
        return error


def _collate(collate_fn: Callable, samples: list[Any]) -> Any:
    """A batch, or the first failure among the samples."""
    failures = (sample for sample in samples if isinstance(sample, _Failure))
    return next(failures, None) or collate_fn(samples)


class _Loader(DataLoader):
    """A loader that raises the failures of its samples in the process that asked for them."""

    def __iter__(self) -> Iterator[Any]:
        return _raising(super().__iter__())  # draws its random number now, not at the first batch


def _raising(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if isinstance(batch, _Failure):
            raise batch.error()
        yield batch


def _name(dataset: Dataset, index: int) -> str:
    """A sample for an error: its file where the data set can tell, else its number."""
    while isinstance(dataset, Subset):
        dataset, index = dataset.dataset, dataset.indices[index]
    paths = getattr(dataset, "image_paths", None)
    return f"the image of sample {index}" if paths is None else str(paths[index])
