"""Runs every benchmark, one process each: `make bench`, `python -m benchmarks --quick`."""

import subprocess
import sys
from pathlib import Path

NOT_BENCHMARKS = {"__main__", "race"}

for script in sorted(Path(__file__).parent.glob("*.py")):
    if script.stem not in NOT_BENCHMARKS:
        print(f"== {script.stem} ==", flush=True)
        subprocess.run([sys.executable, script, *sys.argv[1:]], check=True)
