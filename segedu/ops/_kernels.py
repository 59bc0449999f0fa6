"""The one place that asks whether torchvision's compiled operators are here."""

from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def torchvision_ops() -> ModuleType | None:
    """``torchvision.ops``, or None where torchvision or its compiled operators are missing."""
    try:
        import torchvision.extension
    except ImportError:
        return None
    return torchvision.ops if torchvision.extension._has_ops() else None
