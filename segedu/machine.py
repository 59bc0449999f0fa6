"""What a number was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu import __version__

if TYPE_CHECKING:
    import torch


def describe(device: torch.device | str = "cpu") -> dict[str, Any]:
    """The machine and the versions, ready for JSON.

    Args:
        device: where the work was done.

    Returns:
        ``device`` (its kind, and in brackets its name), ``cores`` of the machine, ``threads`` of
        torch, and the versions of ``python``, ``torch`` and ``segedu``.
    """
    import torch

    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": f"{device.type} ({name})",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a plain str, which a checkpoint can hold
        "segedu": __version__,
    }


def _processor() -> str:
    """Its full name where the system tells it, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
