"""How far the results of a chapter spread: `make spread NOTEBOOK=chapters/01-part/01-topic.ipynb`.

Runs it with one thread and two, on this processor and on what is in effect another one, and with
two more seeds, and prints its entry of book/expected.yml without the tolerances, each value with
what was seen beside it. Other seeds draw other data, too: their values need not be in tolerance.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chapters.expected import results_of
from tests.chapters.prose import ROOT


class Run(NamedTuple):
    threads: int
    elsewhere: bool  #: on the other processor
    seed: int


RUNS = (
    *(Run(threads, elsewhere, seed=0) for threads in (1, 2) for elsewhere in (False, True)),
    Run(1, False, seed=1),
    Run(1, True, seed=2),
)


def execute(notebook: Path, run: Run, other_processor: Sequence[str]) -> dict[str, float]:
    """Its results in one run; ``other_processor`` are the settings NAME=VALUE of such a machine."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(run.threads))
    if run.elsewhere:
        environment |= dict(setting.split("=") for setting in other_processor)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-p", "seed"]
        command += [str(run.seed), "--cwd", notebook.parent, notebook, f"{folder}/run.ipynb"]
        subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
        return results_of(Path(folder, "run.ipynb"))


def entry(seen: dict[Run, dict[str, float]]) -> list[str]:
    """A line for each key: the value of the first run, what others of its seed gave, other seeds."""
    lines, (first, *_) = [], seen.values()
    for key, value in first.items():
        same = [results[key] for run, results in seen.items() if run.seed == 0]
        other = [f"seed {run.seed}: {results[key]:g}" for run, results in seen.items() if run.seed]
        spread = f"{min(same):g} to {max(same):g} in {len(same)} runs"
        lines.append(f"    {key}: {value:g} ±  # {'; '.join([spread, *other])}")
    return lines


def main(notebook: str, *other_processor: str) -> None:
    print(f"{notebook}:\n  cpu:")
    seen = {run: execute(ROOT / notebook, run, other_processor) for run in RUNS}
    print("\n".join(entry(seen)))


if __name__ == "__main__":
    main(*sys.argv[1:])
