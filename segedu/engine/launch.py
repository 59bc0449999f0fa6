"""Several processes on this machine that know of each other, as under ``torchrun``."""

import __future__

import importlib
import inspect
import linecache
import pickle
import tempfile
import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import distributed
from torch import multiprocessing as mp

from segedu.engine.checks import at_least_one

#: How long a process waits for the others.
PATIENCE = timedelta(seconds=120)


def launch(function: Callable[..., Any], processes: int, **arguments: Any) -> list[Any]:
    """Run ``function`` in several new processes at the same time, on the CPU.

    They are joined by gloo, so that `segedu.engine.distributed`, ``DistributedDataParallel``,
    `fit` and `evaluate` work in them; each has one thread. Unlike a script under torchrun, a
    function of a notebook will do: its source is sent. It may use the modules and the imported
    functions and classes that its notebook or file knows; everything else must be an argument.
    What it prints is not seen.

    Args:
        function: written with ``def``; called as ``function(**arguments)`` in every process.
        processes: how many, at least 1.
        **arguments: each process gets its own copy.

    Returns:
        What the processes returned, in the order of their ranks: tensors and plain values.

    Raises:
        ValueError: if ``processes`` is less than 1, or ``function`` has no source or uses variables
            of a function around it.
        RuntimeError: with the first error of a process; the others are stopped.

    Example:
        >>> from segedu.engine import distributed
        >>> def add(number):
        ...     return distributed.total(number * (distributed.rank() + 1))
        >>> launch(add, 2, number=torch.tensor(10))  # doctest: +SKIP
        [tensor(30), tensor(30)]
    """
    at_least_one(processes=processes)
    # Plain pickle: the one of multiprocessing would let all processes write to the same tensors.
    job = pickle.dumps((_source(function), function.__name__, *_imports(function), arguments))
    # A server imports torch once; each process is a fork of it.
    method = "forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn"
    # The first step of an optimizer would import torch._dynamo, for seconds.
    mp.get_context(method).set_forkserver_preload([__name__, "torch._dynamo"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            mp.start_processes(_work, (processes, folder, job), processes, start_method=method)
        except mp.ProcessRaisedException as error:
            last = str(error).strip().splitlines()[-1]
            raise RuntimeError(f"process {error.error_index} of {processes}: {last}") from None
        files = (Path(folder, f"{rank}.pt") for rank in range(processes))
        return [torch.load(file, weights_only=True) for file in files]


def _work(rank: int, processes: int, folder: str, job: bytes) -> None:
    """What one process does: join the others, run the function, leave its result in a file."""
    source, name, modules, found, arguments = pickle.loads(job)  # noqa: S301, written by `launch`
    names = {name: importlib.import_module(module) for name, module in modules.items()} | found
    lines = source.splitlines(keepends=True)
    linecache.cache[name] = (len(source), None, lines, name)  # for the traceback
    # Type hints are left alone: what they name need not be known here.
    hints = __future__.annotations.compiler_flag
    exec(compile(source, name, "exec", flags=hints), names)  # noqa: S102
    torch.set_num_threads(1)
    store = Path(folder, "store").as_uri()
    distributed.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=processes, timeout=PATIENCE
    )
    result = names[name](**arguments)
    torch.save(result, Path(folder, f"{rank}.pt"))
    distributed.barrier()
    distributed.destroy_process_group()


def _source(function: Callable[..., Any]) -> str:
    """The text of a function, or why it cannot be sent."""
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise ValueError(f"function must be written with def, got {function!r}")
    if function.__closure__:
        names = ", ".join(function.__code__.co_freevars)
        raise ValueError(
            f"{function.__name__} uses {names} of the function around it: give "
            "what it needs as arguments"
        )
    try:
        return textwrap.dedent(inspect.getsource(function))
    except OSError:
        raise ValueError(
            f"the source of {function.__name__} is not known: write it in a notebook or a file"
        ) from None


def _imports(function: FunctionType) -> tuple[dict[str, str], dict[str, Any]]:
    """The modules that a function uses, by the names that it has for them; imported objects."""
    known = function.__globals__
    used = {name: known[name] for name in _names(function.__code__) & known.keys()}
    modules = {name: each.__name__ for name, each in used.items() if isinstance(each, ModuleType)}
    own = (None, "__main__", function.__module__)
    kinds = (type, FunctionType, BuiltinFunctionType)
    objects = {
        name: each
        for name, each in used.items()
        if isinstance(each, kinds) and each.__module__ not in own
    }
    return modules, objects


def _names(code: CodeType) -> set[str]:
    """All that code looks up by name, comprehensions and inner functions included."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, inner))
