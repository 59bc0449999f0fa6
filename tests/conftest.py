"""What pytest does for all tests."""

import gc


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of the collector's sight: it will not go away.

    Else every search for garbage walks through all of torch, a twentieth of the time.
    """
    gc.collect()
    gc.freeze()
