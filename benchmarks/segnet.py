"""The trainings of the chapter on SegNet, four times as long as on its page.

    python benchmarks/segnet.py             # 32 epochs; writes book/results/segnet.json
    python benchmarks/segnet.py --quick     # one epoch, no file

The code is the chapter's own: its visible cells run with another number of epochs.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.race import RESULTS
from segedu import machine
from segedu.files import write_json

CHAPTER = Path(__file__).resolve().parent.parent / "chapters/02-semantic/03-segnet.ipynb"
SKIPPED = {"setup", "hide-input", "exercise", "solution", "results"}
SCORES = ("mean_boundary_iou", "mean_iou")


def run_page(**parameters: int) -> dict:
    """Variables of the chapter after its visible cells; ``parameters`` replace the chapter's."""
    page: dict = {}
    for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]:
        tags = set(cell["metadata"].get("tags", []))
        if cell["cell_type"] == "code" and ("parameters" in tags or not tags & SKIPPED):
            exec("".join(cell["source"]), page)
        if "parameters" in tags:
            page |= parameters
    return page


def rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 3) for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one epoch, no file")
    if parser.parse_args().quick:
        run_page(epochs=1, street_epochs=1, num_train=8, num_seeds=1)
        return
    page = run_page(epochs=32, street_epochs=32)
    result = {
        "command": "python benchmarks/segnet.py",
        "machine": machine.describe(),
        "epochs": 32,
        "vessels": {name: rounded(values) for name, values in page["vessels"].items()},
        "streets": {
            name: {key: rounded(one[key] for one in runs) for key in SCORES}
            for name, runs in page["scored"].items()
        },
    }
    write_json(RESULTS / "segnet.json", result)


if __name__ == "__main__":
    main()
