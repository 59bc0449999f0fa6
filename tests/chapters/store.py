"""Executes notebooks in place, two at a time, and records their fingerprints (`make notebooks`).

`python -m tests.chapters.store [WHICH]`, where WHICH is as in `tests.chapters.fingerprints`. A
notebook that fails is left as it was, and the others are still executed.
"""

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell

from segedu import files
from tests.chapters.fingerprints import chosen, record
from tests.chapters.prose import ROOT

LISTEN = "import tests.chapters.loaded as _loaded"
REPORT = "import json as _json; print(_json.dumps(_loaded.report()))"


def kernel_environment(root: Path = ROOT) -> dict[str, str]:
    """What a kernel finds, whoever starts it: one thread, this segedu, and no other's settings."""
    # Without MPLBACKEND: a kernel shows figures only with its own backend.
    own = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    path = [str(root), *filter(None, own.get("PYTHONPATH", "").split(os.pathsep))]
    return own | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
        "SEGEDU_LIVE": "0",  # no widgets, even if Jupyter started this
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
    }


def execute(path: Path, root: Path = ROOT) -> dict[str, list[str]]:
    """Execute a notebook from top to bottom and store it.

    Returns:
        What `tests.chapters.loaded` reports.

    Raises:
        CellExecutionError: a cell failed; nothing is stored.
    """
    content = nbformat.read(path, as_version=4)
    client = NotebookClient(
        content,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    content.cells = [new_code_cell(LISTEN), *content.cells, new_code_cell(REPORT)]
    with client.setup_kernel(env=kernel_environment(root)):
        for index, cell in enumerate(content.cells):
            ours = 0 < index < len(content.cells) - 1  # only these are counted
            client.execute_cell(cell, index, store_history=ours)
    _, *content.cells, report = content.cells
    files.write_text(path, nbformat.writes(content) + "\n")
    return json.loads("".join(output["text"] for output in report.outputs))


def main(which: list[str]) -> int:
    """Execute and record; returns the exit status."""
    try:
        names = chosen(which or ["all"], date.today().toordinal())
    except ValueError as error:
        print(error)
        return 1
    print(f"Executing {len(names)} notebooks", flush=True)
    failed, start = 0, time.monotonic()
    with ProcessPoolExecutor(2) as pool:
        running = {pool.submit(execute, ROOT / name): name for name in names}
        for done in as_completed(running):
            name, seconds = running[done], time.monotonic() - start
            try:
                record(ROOT, ROOT / name, done.result())
            except CellExecutionError as error:
                failed += 1
                print(f"  {name}: FAILED, not stored\n{error}", flush=True)
                continue
            print(f"  {name}: stored after {seconds:.0f} s ({names[name]})", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
