"""Judge a checkpoint on a split; print the scores and keep them in a JSON file."""

import argparse
import time
from pathlib import Path
from typing import Any

from segedu import machine
from segedu.cli.networks import load_model, predictor
from segedu.cli.options import Parser, add_prediction, find_root, path
from segedu.files import read_json, write_json

EXAMPLES = (
    "evaluate --checkpoint runs/unet/best.pt --split test",
    "evaluate --checkpoint runs/unet/best.pt --split test --tta --results scores.json",
)


def add_options(parser: Parser) -> None:
    """What to judge, and on what."""
    add_prediction(parser, required=True)
    parser.add_argument("--data", help="root folder (by default that of the training)")
    parser.add_argument("--layout", help="by default as trained")
    parser.add_argument("--split", default="val", help="which part (default: val)")
    parser.add_argument("--workers", type=int, default=0, help="processes that load images")
    parser.add_argument("--results", help="JSON file to keep the scores in")


def run(options: argparse.Namespace) -> None:
    """Print the IoU of each class and the averages."""
    from torch import nn

    from segedu.data import open_dataset, transforms
    from segedu.engine import evaluate as judge
    from segedu.engine import make_loader
    from segedu.engine.history import plain
    from segedu.metrics import SemanticMetrics

    results = _read_results(options.results)  # rather find out now than after the evaluation
    model, state = load_model(options.checkpoint, options.device)
    config, records = state["config"], state["history"]
    layout, data = options.layout or config["layout"], options.data or config["data"]
    root = find_root(layout, data)
    dataset = open_dataset(layout, root, options.split, transforms=transforms.evaluation())
    classes = config["classes"]
    if list(dataset.classes) != classes:
        raise ValueError(f"the model knows the classes {classes}, {data} has {dataset.classes}")

    class Judged(nn.Module):
        """The model as the options say: in windows, with test-time augmentation, or plain."""

        forward = staticmethod(predictor(model, options))

    device = next(model.parameters()).device
    start = time.perf_counter()
    loader = make_loader(dataset, 1, num_workers=options.workers)
    scores = plain(judge(Judged(), loader, SemanticMetrics(len(classes)), device))
    seconds = time.perf_counter() - start
    for name, iou in zip(classes, scores["iou"], strict=True):
        print(f"{'absent' if iou is None else format(iou, '.4f'):>8}  {name}")
    for key, score in scores.items():
        if isinstance(score, float):
            print(f"{score:8.4f}  {key}")
    results[f"{config['model']}/{options.split}"] = {
        "command": options.command_line,
        "dataset": Path(data).name or layout,
        "split": options.split,
        "images": len(dataset),
        "size": list(dataset[0]["image"].shape[-2:]),  # of the first image
        "seconds": seconds,
        "machine": machine.describe(device),
        **{key: score for key, score in scores.items() if isinstance(score, float)},
        **{key: dict(zip(classes, scores[key], strict=True)) for key in ("iou", "dice")},
        "training": {
            **{key: value for key, value in config.items() if key not in ("classes", "colors")},
            "epoch": len(records),  # the best one, if the checkpoint is best.pt
            "seconds": sum(record["seconds"] for record in records),
        },
    }
    if options.results:
        print(f"kept in {write_json(path(options.results), dict(sorted(results.items())))}")


def _read_results(name: str | None) -> dict[str, Any]:
    """The results that a JSON file holds already, by model and split."""
    if name is None or not path(name).exists():
        return {}
    return read_json(path(name))
