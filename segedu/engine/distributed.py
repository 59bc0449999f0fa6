"""What a training loop needs to know about its sister processes under ``torchrun``.

In an ordinary Python process there is one rank, number 0 of 1, and every function here does
nothing. Under ``torchrun --nproc-per-node=K script.py`` the same calls join the process group.
"""

import atexit
import contextlib
import copy
import os
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

#: Numbers of a block that `sharded` gathers by itself; fewer are not worth an exchange.
BLOCK = 2**20


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


def sharded(step: nn.Module, device: torch.device, optimizer: torch.optim.Optimizer) -> nn.Module:
    """A copy of ``step`` whose weights, gradients and averages lie in parts on the processes.

    FSDP2 (Zhao et al. 2023, "PyTorch FSDP"): a block's weights are gathered for its own pass
    alone. Blocks are what lists and sequences hold, from `BLOCK` numbers on; the rest is one more.

    Args:
        step: stays as it is: take the weights back by `gather`.
        device: of this process.
        optimizer: of the parameters of ``step``; it now has those of the copy, and its state.
    """
    from torch.distributed.fsdp import fully_shard

    shared = copy.deepcopy(step)
    mesh = distributed.init_device_mesh(device.type, (world_size(),))
    lists = [m for m in shared.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
    blocks = dict.fromkeys(m for each in lists for m in each if not isinstance(m, nn.ModuleList))
    for block in reversed(blocks):  # the inner ones first
        if sum(p.numel() for p in block.parameters()) >= BLOCK:
            fully_shard(block, mesh=mesh)
    fully_shard(shared, mesh=mesh)
    _hand_over(optimizer, dict(zip(step.parameters(), shared.parameters(), strict=True)))
    return shared


def _hand_over(optimizer: torch.optim.Optimizer, successor: dict[Any, Any]) -> None:
    """Give an optimizer other parameters in the place of its own, and their parts of its state."""
    from torch.distributed.tensor import distribute_tensor

    for group in optimizer.param_groups:
        group["params"] = [successor.get(p, p) for p in group["params"]]
    for old, new in successor.items():
        if old in optimizer.state:
            optimizer.state[new] = {
                key: distribute_tensor(value, new.device_mesh, new.placements)
                if isinstance(value, Tensor) and value.shape == new.shape
                else value
                for key, value in optimizer.state.pop(old).items()
            }


def whole(state: Any) -> Any:
    """A nested state whose tensors lie on this process alone; all processes have to ask."""
    if world_size() == 1:
        return state
    if isinstance(state, dict):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(whole, state))
    return state.full_tensor() if hasattr(state, "full_tensor") else state


def gather(shared: nn.Module, step: nn.Module) -> None:
    """Give ``step`` the weights and buffers of its copy, if `sharded` made one."""
    if _in_parts(shared):
        step.load_state_dict(whole(shared.state_dict()))


def _in_parts(module: nn.Module) -> bool:
    """Whether FSDP2 has it; asked without importing that."""
    return hasattr(module, "set_requires_gradient_sync")


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
    if _in_parts(model):
        model.set_requires_gradient_sync(not postpone)
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
