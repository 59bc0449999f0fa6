"""What a training loop needs to know about its sister processes under ``torchrun``.

In an ordinary Python process there is one rank, number 0 of 1, and every function here does
nothing. Under ``torchrun --nproc-per-node=K script.py`` the same calls join the process group.
"""

import atexit
import contextlib
import os
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


def rank() -> int:
    """The number of this process, 0 in an ordinary one (``RANK``, set by torchrun)."""
    return distributed.get_rank() if _joined() else int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes train together, 1 in an ordinary one (``WORLD_SIZE``)."""
    return distributed.get_world_size() if _joined() else int(os.environ.get("WORLD_SIZE", 1))


def setup(device: str | torch.device | None = None) -> torch.device:
    """Join the process group that torchrun describes, if any, and choose this process's device.

    Args:
        device: where to compute; by default the GPU of this process, or else the CPU.

    Returns:
        The device, with its index under torchrun (``cuda:LOCAL_RANK``).
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if world_size() == 1:
        return device
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if not _joined():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    return device


def parallel(step: nn.Module, device: torch.device, uses_all_parameters: bool) -> nn.Module:
    """Wrap a module so that ``backward`` averages its gradients over the processes.

    Args:
        step: every process calls it once for each batch.
        device: of this process.
        uses_all_parameters: see `segedu.engine.Task`.
    """
    if world_size() == 1:
        return step
    return DistributedDataParallel(
        step,
        device_ids=[device] if device.type == "cuda" else None,
        find_unused_parameters=not uses_all_parameters,
    )


def share_buffers(*modules: nn.Module) -> None:
    """Give every process the buffers of the first: statistics of batches differ between them."""
    if world_size() > 1:
        for module in modules:
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)


def postpone_sync(model: nn.Module, postpone: bool) -> contextlib.AbstractContextManager:
    """While gradients are being accumulated, do not exchange them after every batch."""
    if postpone and isinstance(model, DistributedDataParallel):
        return model.no_sync()
    return contextlib.nullcontext()


def wait() -> None:
    """Until every process has come here, such as to a file before one of them writes it."""
    if world_size() > 1:
        distributed.barrier()


def total(value: Tensor) -> Tensor:
    """The sum of ``value`` over all processes, in every process."""
    if world_size() > 1:
        value = value.clone()
        distributed.all_reduce(value)
    return value


def mean(value: Tensor) -> Tensor:
    """The mean of ``value`` over all processes, in every process."""
    return total(value) / world_size()


def merged(metric: Any) -> Any:
    """A metric that has seen what the metrics of all processes have seen, in every process.

    Sums of counts are exact, so the result is that of one process over the whole data set;
    averaging the ready scores of the processes would not be.
    """
    if world_size() == 1:
        return metric
    gathered = [None] * world_size()
    distributed.all_gather_object(gathered, metric)
    first, *others = gathered
    for other in others:
        first.merge(other)
    return first


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
