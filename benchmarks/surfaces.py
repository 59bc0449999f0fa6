"""The trainings of the chapter on boundaries and surfaces, with five seeds and three losses.

    python benchmarks/surfaces.py             # writes book/results/surfaces.json
    python benchmarks/surfaces.py --seeds 3 4 # only these; those of the file stay as they are
    python benchmarks/surfaces.py --quick     # two patients, one epoch, one seed, no file

The code is the chapter's own. For each seed a network is trained with each loss from the start
(``begun``). The one that learnt with Dice alone then learns on with each loss (``continued``).
"""

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from torch import Tensor, nn

from benchmarks.pages import run_page
from benchmarks.race import RESULTS, command_line
from segedu import machine
from segedu.files import read_json, write_json
from segedu.losses import BoundaryLoss, CombinedLoss, DiceLoss, HausdorffDTLoss

CHAPTER = "05-losses-and-metrics/07-boundaries-and-surfaces.ipynb"
LOSSES = {
    "dice": {},
    "boundary": {"boundary": (BoundaryLoss(), 0.1)},
    "hausdorff": {"hausdorff": (HausdorffDTLoss(), 0.01)},
}


def run(page: dict, seed: int) -> dict:
    """Scores of the networks of one seed, and of the largest parts alone of the first."""

    def judged(labels: Tensor) -> dict[str, float]:
        return {key: round(value, 4) for key, value in page["judge"](labels).items()}

    def labels(build: Callable[[], nn.Module], name: str, rate: float) -> tuple[nn.Module, Tensor]:
        loss = CombinedLoss({"dice": (DiceLoss(), 1.0)} | LOSSES[name])
        model = page["learn"](build, loss, seed, rate)
        return model, page["predict_labels"](model, page["test_set"])

    rate = page["learning_rate"]
    begun = {name: labels(page["network"], name, rate) for name in LOSSES}
    first, found = begun["dice"]
    return {
        "seed": seed,
        "begun": {name: judged(answer) for name, (_, answer) in begun.items()},
        "largest_part": judged(page["largest_parts"](found)),
        "continued": {
            name: judged(labels(lambda: deepcopy(first), name, 0.4 * rate)[1]) for name in LOSSES
        },
    }


def main() -> None:
    parser = command_line(__doc__, "one small training each, no file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(5)], help="only these")
    args = parser.parse_args()
    if args.quick:
        run(run_page(CHAPTER, num_train=1, num_test=1, epochs=1), 0)
        return
    path = RESULTS / "surfaces.json"
    page = run_page(CHAPTER)
    runs = [run(page, seed) for seed in args.seeds]
    others = read_json(path)["runs"] if path.is_file() else []
    runs += [one for one in others if one["seed"] not in args.seeds]
    result = {
        "command": "python benchmarks/surfaces.py",
        "machine": machine.describe(),
        "runs": sorted(runs, key=lambda one: one["seed"]),
    }
    write_json(path, result)


if __name__ == "__main__":
    main()
