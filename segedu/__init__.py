"""segedu: the models, losses and metrics of the textbook on image segmentation.

Nothing is imported here but the version, so that ``import segedu`` costs nothing;
import what you need: ``from segedu.models import get_model``. One function has its
place at the top, because people look for it there: ``segedu.checkup`` says what is
wrong with a training (see `segedu.clinic`); it is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "checkup":
        return import_module("segedu.clinic").checkup
    raise AttributeError(f"module 'segedu' has no attribute {name!r}")
