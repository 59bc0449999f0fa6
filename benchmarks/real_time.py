"""Networks made for speed beside a U-Net: mean IoU after one budget, time, and what predicts it.

    python benchmarks/real_time.py            # writes book/results/real_time.json; 10 minutes
    python benchmarks/real_time.py --times    # measures the times anew, keeps the trainings
    python benchmarks/real_time.py --quick    # seconds, no file

All networks learn from the same crops of 96 x 96 pixels for the same number of steps, with the same
learning rate, that of the chapter; another one may serve some of them better. The means and
variances of batch normalization are then measured anew, as some networks let them lag far behind.
All are judged on whole scenes of 192 x 192, where their time is taken as well. A variant changes
one thing of a network. Times are those of the processor for one image and one thread; in every
round all networks take their turn, so that other programs disturb all alike. Wider networks are
timed, but not trained. A network that the file holds already is not trained again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from benchmarks import race
from segedu.data import scenes, transforms
from segedu.engine import predict_labels, train
from segedu.files import read_json, write_json
from segedu.losses import CrossEntropyLoss
from segedu.metrics import score
from segedu.models import cost, get_model
from segedu.models.blocks import resize
from segedu.models.fast_scnn import FeatureFusion

FILE = race.RESULTS / "real_time.json"
BOUNDARY = 0.01  # of the diagonal: nearly three pixels at 192 x 192


class HalfSide(nn.Module):
    """A network that sees its images at half the height and half the width."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W)."""
        small = nn.functional.avg_pool2d(images, 2)  # (N, 3, H/2, W/2)
        return resize(self.model(small), images)


class CoarseOnly(nn.Module):
    """The fusion of Fast-SCNN without its fine map."""

    def __init__(self, fusion: FeatureFusion) -> None:
        super().__init__()
        self.depthwise, self.coarse = fusion.depthwise, fusion.coarse

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, C, h, w), of which only the size counts, and (N, C', h/4, w/4) -> (N, C', h, w)."""
        return self.coarse(self.depthwise(resize(coarse, fine, align_corners=True))).relu()


def without_detail(model: nn.Module) -> nn.Module:
    """Fast-SCNN whose fusion receives the coarse map only."""
    model.fusion = CoarseOnly(model.fusion)
    return model


class Entry(NamedTuple):
    title: str
    name: str
    settings: dict[str, Any] = {}
    change: Callable[[nn.Module], nn.Module] | None = None


LEAN = {"aux_loss": False}  # without the heads that serve the training only
#: Small ones, trained and timed.
SMALL = {
    "fast_scnn": Entry("Fast-SCNN", "fast_scnn"),
    "enet": Entry("ENet", "enet"),
    "lraspp": Entry("LR-ASPP", "lraspp_mobilenet_v3"),
    "unet8": Entry("U-Net 8", "unet", {"base_width": 8}),
    "unet4": Entry("U-Net 4", "unet", {"base_width": 4}),
    "bisenet_v1_half": Entry("BiSeNet V1 ½", "bisenet_v1", LEAN | {"base_width": 32}),
    "bisenet_v2_half": Entry(
        "BiSeNet V2 ½", "bisenet_v2", LEAN | {"base_width": 32, "head_width": 128}
    ),
    "hrnet8": Entry(
        "HRNet 8",
        "hrnet_w18",
        {"width": 8, "stem_width": 16, "modules": (1, 1, 1), "blocks": 2},
    ),
}
#: Trained and timed; each differs from another network in one thing.
VARIANTS = {
    "no_detail": Entry("Fast-SCNN without detail", "fast_scnn", change=without_detail),
    "half_side": Entry("Fast-SCNN, half side", "fast_scnn", change=HalfSide),
}
#: Only timed.
WIDE = {
    "unet16": Entry("U-Net 16", "unet", {"base_width": 16}),
    "bisenet_v1": Entry("BiSeNet V1", "bisenet_v1", LEAN),
    "bisenet_v2": Entry("BiSeNet V2", "bisenet_v2", LEAN),
    "segformer": Entry("SegFormer-B0", "segformer_b0"),
}
TRAINED = SMALL | VARIANTS
ORDERS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}
PREDICTORS = ("parameters", "macs", "activations")


class Budget(NamedTuple):
    """Scenes, and passes through them."""

    size: int = 192
    crop: int = 96
    train: int = 96
    val: int = 32
    epochs: int = 4
    batch_size: int = 4
    seeds: tuple[int, ...] = (0, 1, 2)
    lr: float = 5e-3
    rounds: int = 15


def build(entry: Entry, num_classes: int = len(scenes.CLASSES)) -> nn.Module:
    """The network, changed as its entry says."""
    model = get_model(entry.name, num_classes, **entry.settings)
    return entry.change(model) if entry.change else model


@cache
def data(budget: Budget, seed: int) -> tuple[scenes.SceneDataset, scenes.SceneDataset]:
    """Scenes of which crops are learnt, and whole scenes."""
    crops = transforms.training(budget.crop, scale=(1, 1), color=False)
    return scenes.splits(budget.train, budget.val, budget.size, seed=seed, transforms=crops)


def run(entry: Entry, budget: Budget, seed: int) -> dict[str, float]:
    """One training, judged on scenes that it has not seen."""
    train_set, val_set = data(budget, seed)
    start = time.process_time()
    model, _ = train(
        partial(build, entry),
        train_set,
        loss=CrossEntropyLoss(),
        epochs=budget.epochs,
        batch_size=budget.batch_size,
        lr=budget.lr,
        seed=seed,
    )
    update_bn(torch.stack([sample["image"] for sample in train_set]).split(4), model)
    model.eval()
    seconds = time.process_time() - start
    truth = torch.stack([sample["mask"] for sample in val_set])
    found = score(predict_labels(model, val_set), truth, val_set.num_classes, boundary=BOUNDARY)
    return {
        "seed": seed,
        "mean_iou": round(found["mean_iou"], 4),
        "boundary_iou": round(found["mean_boundary_iou"], 4),
        "processor_seconds": round(seconds, 1),
    }


def prices(entry: Entry, size: int) -> dict[str, int]:
    """Parameters, multiplications and numbers put out, for one image."""
    return cost(build(entry), size)._asdict()


def times(entries: Mapping[str, Entry], size: int, rounds: int) -> dict[str, dict[str, dict]]:
    """Milliseconds of one image in both orders of memory, all networks in turns."""
    torch.manual_seed(0)
    image = torch.randn(1, 3, size, size)
    calls = {
        (key, order): partial(
            build(entry).eval().to(memory_format=layout), image.to(memory_format=layout)
        )
        for key, entry in entries.items()
        for order, layout in ORDERS.items()
    }
    with torch.inference_mode():
        found = race.race(calls, rounds, time.process_time)
    return {
        key: {order: {k: found[key, order][k] for k in ("median_ms", "min_ms")} for order in ORDERS}
        for key in entries
    }


def predictions(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """How well each price ranks the times of networks, in PyTorch's usual order of memory.

    Spearman's rank correlation, from -1 to 1.
    """

    def trust(keys: Sequence[str], price: str) -> float:
        spent = [rows[key]["times"]["channels_first"]["median_ms"] for key in keys]
        found = spearmanr([rows[key][price] for key in keys], spent)
        return round(float(found.statistic), 3)

    groups = {"all": [*SMALL, *WIDE], "small": [*SMALL]}
    return {
        group: {price: trust(keys, price) for price in PREDICTORS} for group, keys in groups.items()
    }


def measured(entries: Mapping[str, Entry], size: int, rounds: int) -> dict[str, dict[str, Any]]:
    """What each network costs, and the time that it takes."""
    spent = times(entries, size, rounds)
    return {
        key: {
            "title": entry.title,
            "model": entry.name,
            "settings": entry.settings,
            **prices(entry, size),
            "times": spent[key],
        }
        for key, entry in entries.items()
    }


def main() -> None:
    parser = race.command_line(__doc__, "seconds of training, no file")
    parser.add_argument("--times", action="store_true", help="measure the times, train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    budget = Budget(96, 64, 8, 4, 1, 4, (0,), rounds=1) if options.quick else Budget()
    result = read_json(FILE) if FILE.exists() and not options.quick else {"runs": {}}
    result |= {
        "command": "python benchmarks/real_time.py",
        "budget": budget._asdict() | {"seeds": list(budget.seeds)},
    }
    runs = result["runs"]
    for key in () if options.times else [key for key in TRAINED if key not in runs]:
        runs[key] = [run(TRAINED[key], budget, seed) for seed in budget.seeds]
        print(key, runs[key], flush=True)
        if not options.quick:
            write_json(FILE, result)
    rows = measured(TRAINED | WIDE, budget.size, budget.rounds)
    race.show("one image", {key: row["times"]["channels_first"] for key, row in rows.items()})
    result |= {
        "machine": race.busy_machine(),
        "networks": rows,
        "rank_correlation": predictions(rows),
    }
    print(result["rank_correlation"])
    if not options.quick:
        write_json(FILE, result)


if __name__ == "__main__":
    main()
