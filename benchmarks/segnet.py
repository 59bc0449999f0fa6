"""The trainings of the chapter on SegNet, with more epochs than on its page.

    python benchmarks/segnet.py             # 32 epochs; writes book/results/segnet.json
    python benchmarks/segnet.py --quick     # one epoch, no file

The code is the chapter's own: its visible cells run with another number of epochs.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.pages import run_page
from benchmarks.race import RESULTS, command_line
from segedu import machine
from segedu.files import write_json

CHAPTER = "02-semantic/03-segnet.ipynb"


def main() -> None:
    if command_line(__doc__, "one epoch, no file").parse_args().quick:
        run_page(CHAPTER, epochs=1, num_train=8, num_seeds=1)
        return
    page = run_page(CHAPTER, epochs=32)
    result = {
        "command": "python benchmarks/segnet.py",
        "machine": machine.describe(),
        "epochs": 32,
        "vessels": {
            name: [round(value, 3) for value in values] for name, values in page["vessels"].items()
        },
    }
    write_json(RESULTS / "segnet.json", result)


if __name__ == "__main__":
    main()
