"""Every kind of network of the book in one table: what it costs, and how good it gets on scenes.

    python -m benchmarks.compare                # trains what is missing, then measures all costs
    python -m benchmarks.compare --only hrnet   # trains one again; the others stay as they are
    python -m benchmarks.compare --measure      # trains none: measures those that are trained
    python -m benchmarks.compare --quick        # one short training, some costs, no file

Semantic networks are trained as `benchmarks/semantic.py` trains: its eight are taken from its
record, one of each other family is trained here, narrowed in the same way. Networks for objects are
those with the weights in the package, with the scores recorded when these were made: each has a
budget of its own, which stands beside them, and one seed. Costs are of one scene of 128 x 128 in
inference. For the times, rounds go through all networks in turn: on one thread the processor's
time, on two the wall clock's, which is left out while the machine has other work. What chapters
show of it is also written into the package, for `segedu.models.comparison`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import race, semantic, weights
from benchmarks.semantic import BLOCKS, Budget, Entry
from segedu.data.scenes import CLASSES, SceneDataset
from segedu.files import read_json, write_json
from segedu.models import comparison, cost, get_model

FILE = race.RESULTS / "comparison.json"
SIZE = 128  # of the scene that the costs are of
ROUNDS = 15
CLOCKS = {1: time.process_time, 2: time.perf_counter}
BUSY = "The machine had other work to do: times on two threads are yet to be measured."
#: Besides those of `benchmarks/semantic.py`, one of each family.
OTHERS = {
    "unet_plus_plus": Entry("U-Net++", "unet_plus_plus", {"base_width": 5, "depth": 3}),
    "danet": Entry("DANet", "danet_resnet50", {"base_width": 8, "layers": BLOCKS}),
    "hrnet": Entry(
        "HRNet", "hrnet_w18", {"width": 16, "stem_width": 16, "modules": (1, 1, 1), "blocks": 1}
    ),
    "enet": Entry("ENet", "enet", {}),
    "fast_scnn": Entry("Fast-SCNN", "fast_scnn", {"base_width": 48}),
    "bisenet_v2": Entry("BiSeNet V2", "bisenet_v2", {"base_width": 32, "head_width": 128}),
    "lraspp": Entry("LR-ASPP", "lraspp_mobilenet_v3", {}),
    "segformer": Entry(
        "SegFormer",
        "segformer_b0",
        {"base_width": 24, "depths": BLOCKS, "decoder_width": 128, "drop_path": 0.0},
    ),
    "setr": Entry(
        "SETR",
        "setr_pup",
        {
            **{"size": "tiny", "layers": 4, "patch_size": 16, "image_size": semantic.Budget().size},
            **{"channels": 16, "aux_loss": False},
        },
    ),
}
SCORES = {"instance": ("AP", "AP50"), "panoptic": ("pq", "pq_things", "pq_stuff")}
TITLES = {
    "mask_rcnn_tiny": "Mask R-CNN",
    "yolact_tiny": "YOLACT",
    "panoptic_fpn_tiny": "Panoptic FPN",
    "panoptic_deeplab_tiny": "Panoptic-DeepLab",
    "embedding_tiny": "Embedding",
    "maskformer_tiny": "MaskFormer",
    "mask2former_tiny": "Mask2Former",
}
OBJECTS = {name: recipe for name, recipe in weights.NETWORKS.items() if recipe.task in SCORES}


def train_missing(
    trained: dict[str, Any], only: list[str], budget: Budget, keep: Callable[[], object]
) -> None:
    """Train those of OTHERS that are not recorded as they are now, or the ``only`` ones.

    Args:
        trained: name -> what `semantic.compare` says; gets the new ones.
        only: names; none for all that are missing.
        budget: of each training.
        keep: is called after each.
    """
    for name in only or OTHERS:
        entry, known = OTHERS[name], trained.get(name, {})
        current = (known.get("model"), known.get("settings")) == (
            entry.name,
            stored(entry.settings),
        )
        if current and not only:
            continue
        trained[name] = semantic.compare(entry, budget)
        print(name, [run["mean_iou"] for run in trained[name]["runs"]], flush=True)
        keep()


def stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def semantic_rows(found: Mapping[str, Any], source: str) -> dict[str, dict[str, Any]]:
    """What was recorded of semantic networks, with their scores on CamVid if there are some."""
    on_camvid = read_json(race.RESULTS / "camvid.json")
    rows = {}
    for name, record in found.items():
        photographs = [
            on_camvid[key]["mean_iou"]
            for seed in semantic.Budget().seeds
            if (key := f"{record['model']}/seed{seed}/test") in on_camvid
        ]
        rows[name] = {
            "title": record["title"],
            "task": "semantic",
            "model": record["model"],
            "settings": record["settings"],
            "record": source,
            "scores": {
                key: [run[key] for run in record["runs"]] for key in ("mean_iou", "boundary_iou")
            },
            "camvid_mean_iou": photographs,
            "training_peak_bytes": record["peak_bytes"],
            "training_processor_seconds": record["processor_seconds"],
        }
    return rows


def object_rows() -> dict[str, dict[str, Any]]:
    """What was recorded of the networks for objects that the package has weights of."""
    records = read_json(race.RESULTS / "weights.json")
    rows = {}
    for name, recipe in OBJECTS.items():
        record = records[name]
        rows[name] = {
            "title": TITLES[name],
            "task": recipe.task,
            "model": name,
            "settings": record["training"]["settings"],
            "record": "weights.json",
            "scores": {key: [record[key]] for key in SCORES[recipe.task]},
            "training_images": recipe.scenes * recipe.epochs,
            "training_seconds": record["training"]["seconds"],
        }
    return rows


def runner(row: Mapping[str, Any]) -> tuple[nn.Module, Callable[[], object]]:
    """The network of a row, and a call that asks it about one scene."""
    if row["task"] == "semantic":
        model = get_model(row["model"], len(CLASSES), **row["settings"]).eval()
        ask = partial(model, torch.zeros(1, 3, SIZE, SIZE))
    else:
        model = get_model(row["model"], weights="scenes").eval()
        model.requires_grad_(False)  # the count of the operations follows gradients otherwise
        (sample,) = SceneDataset(1, task="instance")
        image = sample["image"].as_subclass(torch.Tensor).float() / 255
        ask = partial(model, [image])

    @torch.inference_mode()
    def run() -> object:
        return ask()

    return model, run


def price(row: Mapping[str, Any], model: nn.Module, run: Callable[[], object]) -> dict[str, Any]:
    """Parameters, MACs, activations (of what runs without data), and bytes at the peak."""
    if row["task"] == "semantic":
        found = cost(model, SIZE)._asdict()
    else:  # what it computes depends on what it finds
        with FlopCounterMode(display=False) as flops:
            run()
        parameters = sum(p.numel() for p in model.parameters())
        macs = flops.get_total_flops() // 2
        found = {"parameters": parameters, "macs": macs, "activations": None}
    run()  # what is allocated once and kept does not count
    return found | {"peak_bytes": race.allocated_peak(run, "cpu")}


def measure(rows: dict[str, dict[str, Any]], rounds: int, is_quiet: bool) -> None:
    """Add the costs to the rows; times on two threads only if the machine is quiet."""
    runs = {}
    for name, row in rows.items():
        model, runs[name] = runner(row)
        row |= price(row, model, runs[name]) | {"ms": {}}
    before = torch.get_num_threads()
    for threads, clock in CLOCKS.items():
        if threads > 1 and not is_quiet:
            continue
        torch.set_num_threads(threads)
        times = race.race(runs, rounds, clock)
        race.show(f"{threads} threads", times)
        for name, row in rows.items():
            row["ms"][str(threads)] = times[name]["median_ms"]
    torch.set_num_threads(before)


def short(result: Mapping[str, Any]) -> dict[str, Any]:
    """What `segedu.models.comparison` reads, of a whole record."""
    rows = [
        {
            **{key: row[key] for key in ("title", "task", "parameters", "macs")},
            "ms": round(row["ms"]["1"], 2),
            "ms_two_threads": round(row["ms"]["2"], 2) if "2" in row["ms"] else None,
            "megabytes": round(row["peak_bytes"] / 1e6, 2),
            "scores": [round(score, 4) for score in row["scores"][comparison.METRIC[row["task"]]]],
            "camvid": [round(score, 4) for score in row.get("camvid_mean_iou", [])],
        }
        for row in result["networks"].values()
    ]
    return {"machine": result["machine"], "networks": rows}


def main() -> None:
    parser = race.command_line(__doc__, "one short training, no file")
    parser.add_argument("--measure", action="store_true", help="train none, measure what is there")
    parser.add_argument("--only", nargs="+", choices=OTHERS, default=[], metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same sums in the same order on every machine of a kind
    if options.quick:
        budget = Budget(size=64, train=8, val=4, epochs=1, seeds=(0,), rates=(5e-3,))
        trained: dict[str, Any] = {}
        train_missing(trained, options.only or ["enet"], budget, lambda: None)
        objects = {"yolact_tiny": object_rows()["yolact_tiny"]}
        measure(semantic_rows(trained, FILE.name) | objects, 1, is_quiet=True)
        return
    budget = stored(Budget()._asdict())
    result = read_json(FILE) if FILE.exists() else {}
    if result.get("budget") != budget:  # other trainings do not stand beside these
        result["trained"] = {}
    result |= {
        "command": "python -m benchmarks.compare",
        "budget": budget,
        "size": SIZE,
        "rounds": ROUNDS,
    }
    if not options.measure:
        train_missing(result["trained"], options.only, Budget(), lambda: write_json(FILE, result))
    result["trained"] = {
        name: result["trained"][name] for name in OTHERS if name in result["trained"]
    }
    machine = race.busy_machine()
    rows = semantic_rows(read_json(race.RESULTS / "semantic.json")["networks"], "semantic.json")
    rows |= semantic_rows(result["trained"], FILE.name) | object_rows()
    is_quiet = machine["load"] <= 1
    measure(rows, ROUNDS, is_quiet)
    result |= {
        "missing": [name for name in OTHERS if name not in result["trained"]],
        "machine": machine,
        "note": "" if is_quiet else BUSY,
        "networks": rows,
    }
    print(write_json(FILE, result), write_json(comparison.FILE, short(result)))


if __name__ == "__main__":
    main()
