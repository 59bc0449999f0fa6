"""Checks that are made before a training begins."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, IterableDataset

from segedu.engine.batches import to_device
from segedu.engine.task import Task


def at_least_one(**counts: int | None) -> None:
    """Raise ``ValueError`` for the first count below 1; ``None`` stands for an unused option."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


def count_batches(loader: DataLoader) -> int:
    """``len(loader)``.

    Raises:
        ValueError: if the loader does not know it, as over a stream of samples.
    """
    try:
        return len(loader)
    except TypeError as error:
        raise ValueError(
            f"the loader does not know how many batches it has ({error}): give its data set a "
            "__len__"
        ) from error


@torch.no_grad()
def check_last_batch(step: nn.Module, loader: DataLoader, device: torch.device) -> None:
    """Try a batch of one sample if ``loader`` ends with such: some networks cannot train on it.

    Batch normalisation has no variance where a single image has been pooled to a single pixel, as
    in pyramid pooling and ASPP. The network is left as it was.

    Args:
        step: a batch -> its loss.
        loader: of the training.
        device: of ``step``.

    Raises:
        ValueError: if the network cannot.
    """
    size = loader.batch_size
    if not size or loader.drop_last or isinstance(loader.dataset, IterableDataset):
        return
    samples = len(loader.sampler)
    if (samples - 1) % size or not any(isinstance(m, _BatchNorm) for m in step.modules()):
        return
    batch = to_device(loader.collate_fn([loader.dataset[next(iter(loader.sampler))]]), device)
    before = [buffer.clone() for buffer in step.buffers()]
    try:
        step.train()(batch)
    except ValueError as error:
        raise ValueError(
            f"{samples} training images in batches of {size} end with a batch of 1, on which the "
            f"network fails: {error}; choose another batch_size or a loader with drop_last"
        ) from error
    finally:
        for buffer, value in zip(step.buffers(), before, strict=True):
            buffer.copy_(value)


def check_shard(ema: nn.Module | None, scaler: torch.amp.GradScaler, task: Task) -> None:
    """Raise ``ValueError`` for what cannot be trained in parts on several processes.

    Args:
        ema: a moving average of the weights, if there is one.
        scaler: of the gradients.
        task: what is learnt.
    """
    reasons = {
        "a moving average of the weights: leave out ema_decay": ema is not None,
        "float16, the only half precision of this GPU: give amp=False": scaler.is_enabled(),
        f"{type(task).__name__}, whose batches do not use all parameters": (
            not task.uses_all_parameters
        ),
    }
    for reason in (name for name, applies in reasons.items() if applies):
        raise ValueError(f"shard is not for {reason}, or train without shard")
