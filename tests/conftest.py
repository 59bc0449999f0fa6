"""What pytest does for all tests."""

import gc
import sys
from collections.abc import Iterator

import pytest

# jsonschema, which nbformat imports, tries it for a format that no notebook has; it compiles a
# grammar of URIs at import, for seconds in every process.
sys.modules.setdefault("rfc3987_syntax", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is imported and collected out of the garbage collector's sight: it stays.

    Else every search for garbage walks through all of torch: a quarter of the time of collecting
    tests, a twentieth of that of running them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
