"""What benchmarks share: races of interleaved rounds with medians and ratios, peak memory."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from segedu import machine

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"


def command_line(doc: str, quick: str) -> argparse.ArgumentParser:
    """The options of a benchmark: its ``doc`` begins with what it does, ``quick`` says a trial."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def origin(script: str, budget: Any) -> dict[str, Any]:
    """How a record begins: what made it, on what machine, with how much (a named tuple)."""
    return {
        "command": f"python benchmarks/{Path(script).name}",
        "machine": machine.describe("cpu"),
        "budget": budget._asdict(),
    }


def race(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, dict]:
    """Milliseconds of each candidate; every round runs all of them, so that noise hits all alike.

    ``ratio`` is the median over the rounds of its time divided by that of the first candidate.
    With ``time.process_time`` as the clock it is the processor's time, summed over the threads,
    which other programs on a busy machine disturb less.
    """
    for run in candidates.values():
        run()  # warm-up: imports, caches, first page faults
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            start = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(1e3 * (clock() - start))
    first = times[next(iter(times))]
    return {
        name: {
            "median_ms": round(statistics.median(t), 3),
            "min_ms": round(min(t), 3),
            "ratio": round(statistics.median(a / b for a, b in zip(t, first, strict=True)), 2),
        }
        for name, t in times.items()
    }


def in_new_process(function: Callable, arguments: tuple, preload: Sequence[str]) -> Any:
    """What the function returns in a fresh process, which starts with the modules ``preload``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with context.Pool(1) as pool:
        return pool.apply(function, arguments)


def measure_peak(run: Callable[[], object]) -> int:
    """Bytes by which the resident memory rises at most during a call (Linux only).

    To be called in a new process: what others have freed before would be used again unseen.
    """
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    run()
    return _memory("VmHWM") - before


def allocated_peak(run: Callable[[], object], device: str) -> int:
    """Bytes that a run allocates at most, by the account of torch's allocator."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as events:
        run()
    changes = [
        event for event in events.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    now = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise OSError(f"{field} is not in /proc/self/status")


def copy_bandwidth(megabytes: int = 256) -> float:
    """GB/s read plus written by a copy, the limit of everything that is not arithmetic."""
    source = torch.rand(megabytes << 18)
    target = torch.empty_like(source)
    result = race({"copy": lambda: target.copy_(source)}, 5)
    return round(2 * megabytes / 1024 / (result["copy"]["min_ms"] / 1e3), 1)


def busy_machine(device: str = "cpu") -> dict[str, object]:
    """What the numbers were measured on, and what else it had to do."""
    return {
        **machine.describe(device),
        "load": round(os.getloadavg()[0], 1),  # processes that ran; above 1 it was shared
        "copy_gb_per_s": copy_bandwidth(),
    }


def show(title: str, rows: Mapping[str, Mapping[str, object]]) -> None:
    """Print one race."""
    print(f"\n{title}")
    for name, row in rows.items():
        print("  " + f"{name:<44}" + "  ".join(f"{key} {value}" for key, value in row.items()))
