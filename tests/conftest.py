"""What pytest does for all tests."""

import gc
import os
import sys
from collections.abc import Iterator

import pytest

# jsonschema, which nbformat imports, tries it for a format that no notebook has; it compiles a
# grammar of URIs at import, for seconds in every process.
sys.modules.setdefault("rfc3987_syntax", None)

# No test can cut the power: that a file outlives it costs a wait for the disk a thousand times.
os.fsync = lambda file: None


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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that are marked ``gpu`` are skipped without one."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; without one the check is skipped, but never in CI."""
    from book.browser import find_chromium

    found = find_chromium()
    if found is None:
        message = "no Chromium on the PATH or in the environment variable CHROMIUM"
        if os.environ.get("CI", "").lower() in ("", "0", "false"):
            pytest.skip(message)
        pytest.fail(message)
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator:
    """One for all tests of a process: playwright does not start a second one beside it."""
    from playwright.sync_api import sync_playwright

    from book.browser import FLAGS

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield running
        running.close()
