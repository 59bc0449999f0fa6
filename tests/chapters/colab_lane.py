"""Runs every chapter with Colab's numpy, matplotlib, pillow, IPython and ipywidgets.

`python -m tests.chapters.colab_lane [WORD ...]` builds an environment with the versions of
colab_versions.json over the torch of this one (Colab's own torch and Python are not part of it),
then runs the notebooks whose path holds one of the words, or all, each alone in an empty folder,
and compares its results with book/expected.yml. It needs a package index and some minutes, which is
why it is not part of `make test`.
"""

import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from tests.chapters.alone import execute
from tests.chapters.expected import differences, promised, results_in
from tests.chapters.prose import ROOT
from tests.tools.environments import fingerprint, installed

TABLE = json.loads(Path(__file__).with_name("colab_versions.json").read_text(encoding="utf-8"))
SHARED = {"torch", "torchvision", "tensorboard", "safetensors"}  # taken from this environment


def environment(folder: Path) -> Path:
    """Build the environment; returns its Python."""
    pins = [f"{name}=={v}" for name, v in TABLE["packages"].items() if name not in SHARED]
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *pins], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def versions(python: Path) -> dict[str, str]:
    """What the environment's Python imports."""
    names = ["numpy", "matplotlib", "PIL", "IPython", "ipywidgets", "ipykernel", "skimage", "torch"]
    code = f"import json\nprint(json.dumps({{n: __import__(n).__version__ for n in {names}}}))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main(words: list[str]) -> int:
    """Build, run, report; returns the exit status."""
    notebooks = [
        path
        for path in sorted((ROOT / "chapters").rglob("*.ipynb"))
        if not words or any(word in str(path.relative_to(ROOT)) for word in words)
    ]
    failed = 0 if notebooks else 1
    with tempfile.TemporaryDirectory() as home:
        python = environment(Path(home, "colab"))
        print("environment:", versions(python), flush=True)
        site, before = installed(Path(home)), fingerprint()
        for notebook in notebooks:
            name, start = notebook.relative_to(ROOT).as_posix(), time.perf_counter()
            try:
                cells = execute(notebook, site, python)["cells"]
                outputs = [c for c in cells if "results" in c["metadata"].get("tags", [])][0][
                    "outputs"
                ]
                problems = differences(results_in(outputs), promised(name, "cpu"))
            except (RuntimeError, ValueError, LookupError) as error:
                problems = [str(error)]
            failed += bool(problems)
            seconds = time.perf_counter() - start
            print(f"{name}: {'; '.join(problems) or 'as expected'} ({seconds:.0f} s)", flush=True)
        if fingerprint() != before:
            print("files of torch or numpy have changed")
            failed += 1
    print(f"{len(notebooks)} notebook(s), {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
