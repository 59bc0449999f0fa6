"""Compares the `results` of a notebook with what book/expected.yml promises.

`python -m tests.chapters.expected RUN.ipynb chapters/01-part/01-topic.ipynb gpu` checks a notebook
that papermill has run with another profile.
"""

import ast
import json
import math
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

from tests.chapters.prose import ROOT

EXPECTED = ROOT / "book" / "expected.yml"


def promised(
    notebook: str, profile: str, file: Path | None = None
) -> dict[str, tuple[float, float]]:
    """Value and tolerance per key for a notebook, named by its path from the repository's root.

    Raises:
        LookupError: there is no entry for this notebook and profile.
    """
    file = file or EXPECTED
    table = _parsed(file.read_text(encoding="utf-8"))
    try:
        entry = table[notebook][profile]
    except (KeyError, TypeError):
        raise LookupError(f"{file.name} has no entry {notebook}: {profile}") from None
    return {key: _value_and_tolerance(text) for key, text in entry.items()}


@cache
def _parsed(text: str) -> dict:
    """What the file says; kept, for every chapter asks."""
    return yaml.safe_load(text) or {}


def _value_and_tolerance(text: str | float) -> tuple[float, float]:
    """`0.61 ± 0.05`; a bare number must be met exactly."""
    value, _, tolerance = str(text).partition("±")
    return float(value), float(tolerance or 0)


def results_in(outputs: Sequence[dict]) -> dict[str, float]:
    """The dict that a cell tagged `results` shows as its last expression.

    Raises:
        ValueError: the outputs hold no such dict, or its values are not finite numbers.
    """
    shown = [o["data"]["text/plain"] for o in outputs if o["output_type"] == "execute_result"]
    text = "".join(shown[-1]) if shown else ""
    try:
        results = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        results = None
    if not isinstance(results, dict) or not results:
        raise ValueError(f"the results cell must end in a plain dict of numbers, shows {text!r}")
    for key, value in results.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"results[{key!r}] must be a finite number, is {value!r}")
    return results


def results_of(notebook: Path) -> dict[str, float]:
    """What the cell tagged `results` of an executed notebook shows."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    (outputs,) = (c["outputs"] for c in cells if "results" in c["metadata"].get("tags", []))
    return results_in(outputs)


def differences(results: dict[str, float], expected: dict[str, tuple[float, float]]) -> list[str]:
    """What is missing, too much or out of tolerance; empty where the promise is kept."""
    problems = [f"{key} is missing from the results" for key in expected.keys() - results.keys()]
    problems += [f"{key} is not in expected.yml" for key in results.keys() - expected.keys()]
    for key in sorted(expected.keys() & results.keys()):
        value, tolerance = expected[key]
        if abs(results[key] - value) > tolerance + 1e-12:
            problems.append(f"{key} = {results[key]}, expected {value} ± {tolerance}")
    return sorted(problems)


def main(run: str, notebook: str, profile: str) -> int:
    """Check a notebook that was run with a profile; returns the exit status."""
    problems = differences(results_of(Path(run)), promised(notebook, profile))
    print("\n".join(problems) or f"{notebook}: as expected ({profile})")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
