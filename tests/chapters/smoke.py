"""Runs chapters with other parameters, as small as they go: what is written must get through.

`python -m tests.chapters.smoke [WHICH]`, where WHICH is as in `tests.chapters.fingerprints`: each
chapter with its profile `smoke` of book/profiles.yml, handed to papermill as `book/how-to-run.md`
shows. Nothing is compared; a chapter whose text holds only for its own numbers stops here.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
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
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "profile.yml")
        profile.write_text(yaml.safe_dump(parameters), encoding="utf-8")
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-f", profile]
        command += ["--cwd", notebook.parent, notebook, f"{folder}/run.ipynb"]
        done = subprocess.run(
            command,
            env=os.environ | kernel_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return done.stdout[-3000:] if done.returncode else ""


def main(which: list[str]) -> int:
    """Run the chapters, two at a time; returns the exit status."""
    try:
        names = list(chosen(which or ["all"], date.today().toordinal()))
    except ValueError as error:
        print(error)
        return 1
    profiles = yaml.safe_load(PROFILES.read_text(encoding="utf-8"))
    failed = 0
    with ThreadPoolExecutor(2) as pool:
        complaints = pool.map(lambda name: run(ROOT / name, profiles[name]["smoke"]), names)
        for name, complaint in zip(names, complaints, strict=True):
            failed += bool(complaint)
            print(f"  {name}: {f'FAILED, {complaint}' if complaint else 'runs'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
