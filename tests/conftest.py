"""What pytest does for all tests."""

import gc
import sys

# jsonschema, which nbformat imports, tries it for a format that no notebook has; it compiles a
# grammar of URIs at import, for seconds in every process.
sys.modules.setdefault("rfc3987_syntax", None)


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of the collector's sight: it will not go away.

    Else every search for garbage walks through all of torch, a twentieth of the time.
    """
    gc.collect()
    gc.freeze()
