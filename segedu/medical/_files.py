"""What the readers of DICOM and NIfTI share."""

import contextlib
import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import BinaryIO


def import_extra(name: str) -> ModuleType:
    """Import a package of the extra ``medical``, or say how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"segedu.medical needs {package} for this: pip install 'segedu[medical]'"
        ) from error


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Silence the warnings and the logger of a library inside the block.

    Libraries quote what they find in a header, and that may be a patient's name.
    """
    logger = logging.getLogger(name)
    before = logger.propagate, logger.disabled
    handler = logging.NullHandler()  # without any handler Python would print to stderr
    logger.addHandler(handler)
    logger.propagate, logger.disabled = False, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.disabled = before


@contextlib.contextmanager
def overheard() -> Iterator[BinaryIO]:
    """A file that takes what a library in C prints to stderr inside the block."""
    with tempfile.TemporaryFile() as heard:
        before = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(before, 2)
            os.close(before)
