"""Plugin for the execution of the notebooks: fresh results must be what the book promises.

`python -m pytest --nbval chapters -p tests.chapters.nbval_results -n 2 --dist loadfile` runs every
stored notebook from top to bottom in a fresh kernel of one thread, two at a time, and compares the
outputs with the stored ones; with `--nbval-lax` in place of `--nbval` only the results are compared.
Cells that depend on training are exempt from that comparison; instead, the numbers that the cell
tagged `results` has just produced are compared with book/expected.yml.
"""

import os
from pathlib import Path

import pytest

from tests.chapters.expected import EXPECTED, differences, promised, results_in
from tests.chapters.prose import ROOT
from tests.chapters.store import kernel_environment

SANITIZE = Path(__file__).with_name("sanitize.cfg")


def pytest_configure(config: pytest.Config) -> None:
    """The settings of nbval under which the notebooks are meant to be compared."""
    config.option.nbval_sanitize_with = str(SANITIZE)
    config.option.nbval_current_env = True  # this Python, whatever kernels the machine knows
    config.option.nbval_cell_timeout = min(config.option.nbval_cell_timeout, 600)
    os.environ.pop("MPLBACKEND", None)
    os.environ |= kernel_environment()


def pytest_collection_finish(session: pytest.Session) -> None:
    """A run that compares nothing must not look like success."""
    if not any(is_results(item) for item in session.items):
        raise pytest.UsageError("no notebook with a cell tagged 'results' was collected")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a final semicolon hide a value, as in a notebook; compare no drawings.

    nbval runs cells outside of the kernel's history, where IPython looks for the semicolon.
    """
    for item in items:
        if hasattr(item, "skip_compare"):
            item.skip_compare += ("image/svg+xml",)  # as nbval does with PNG
        source = getattr(item, "cell", {}).get("source", "")
        if source.rstrip().endswith(";"):
            item.cell["source"] = f"{source}\nNone"


def is_results(item: pytest.Item) -> bool:
    """Whether the item is a notebook cell tagged `results`."""
    return "results" in getattr(item, "cell", {}).get("metadata", {}).get("tags", [])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """After a `results` cell has run, compare what it has just shown with the promise."""
    outcome = yield
    if is_results(item):
        notebook = item.path.relative_to(item.config.rootpath).as_posix()
        expected = item.config.rootpath / EXPECTED.relative_to(ROOT)
        problems = differences(results_in(item.test_outputs), promised(notebook, "cpu", expected))
        if problems:
            pytest.fail(f"{notebook}: " + "; ".join(problems), pytrace=False)
    return outcome
