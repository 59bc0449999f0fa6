"""Runs chapters with other parameters, as small as they go: what is written must get through.

`python -m tests.chapters.smoke [WHICH]`, where WHICH is as in `tests.chapters.fingerprints`: each
chapter with its profile `smoke` of book/profiles.yml, by papermill, as `book/how-to-run.md` shows.
Nothing is compared; a chapter whose text holds only for its own numbers stops here.
"""

import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from tests.chapters.fingerprints import chosen
from tests.chapters.prose import ROOT
from tests.chapters.store import kernel_environment

PROFILES = ROOT / "book" / "profiles.yml"


def run(notebook: Path, parameters: dict[str, Any]) -> str:
    """What papermill complains about, empty where it got through."""
    import papermill  # here: whoever collects the tests need not wait for it

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "run.ipynb")
        try:
            papermill.execute_notebook(
                notebook, copy, parameters, progress_bar=False, cwd=notebook.parent
            )
        except Exception as error:  # of the cell, of its kernel, of the parameters
            return str(error)[-3000:]
    return ""


def main(which: list[str]) -> int:
    """Run the chapters, two at a time; returns the exit status."""
    try:
        names = list(chosen(which or ["all"], date.today().toordinal()))
    except ValueError as error:
        print(error)
        return 1
    profiles = yaml.safe_load(PROFILES.read_text(encoding="utf-8"))
    paths = [ROOT / name for name in names]
    parameters = [profiles[name]["smoke"] for name in names]
    failed = 0
    os.environ |= kernel_environment()
    with ProcessPoolExecutor(2) as pool:
        complaints = pool.map(run, paths, parameters)
        for name, complaint in zip(names, complaints, strict=True):
            failed += bool(complaint)
            print(f"  {name}: {f'FAILED, {complaint}' if complaint else 'runs'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
