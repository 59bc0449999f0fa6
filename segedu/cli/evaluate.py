"""Judge a checkpoint, or a folder of predicted masks: tables, intervals, worst cases."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu import machine
from segedu.cli.datasets import LEARNT, add_data, data_options, open_split
from segedu.cli.networks import build_task, load_model, predictor, preprocessing
from segedu.cli.options import AsTuple, Parser, add_prediction, print_absent
from segedu.cli.run_folder import compare, draw_compared
from segedu.files import read_json, user_path, write_json

if TYPE_CHECKING:
    from torch import nn

    from segedu.metrics import SemanticMetrics
    from segedu.report import Report
    from segedu.tasks import Task

EXAMPLES = (
    "evaluate --checkpoint runs/cars/best.pt --split val --out scores",
    "evaluate --pred predicted --truth masks --classes background car --out scores",
)
WORST = 6  # images on the page
_OF_CLASSES = ("classes", "colors", "isthing")


def add_options(parser: Parser) -> None:
    """What to judge, on what, and where the scores go."""
    add_prediction(parser, required=False)
    parser.add_argument("--pred", metavar="DIR", help="instead of a checkpoint: predicted masks")
    parser.add_argument("--truth", metavar="DIR", help="the true masks, with the same names")
    add_data(parser, given=" (default: as trained)")
    parser.add_argument("--split", default="val", help="which part (default: val)")
    parser.add_argument("--task", choices=LEARNT, help="by which to judge (default: as trained)")
    parser.add_rare(
        "--center-crop",
        type=int,
        nargs=2,
        action=AsTuple,
        metavar=("H", "W"),
        help="judge the middle of each image",
    )
    parser.add_rare(
        "--tiles",
        type=int,
        nargs=2,
        action=AsTuple,
        metavar=("H", "W"),
        help="judge parts of at most this size, each as an image; a cut object counts in each",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for JSON, CSV and the page report.html"
    )
    parser.add_argument("--results", metavar="FILE", help="JSON that collects scores of many runs")
    parser.add_rare("--entry", metavar="NAME", help="in --results (default: NETWORK/SPLIT)")
    parser.add_rare(
        "--boundary",
        type=float,
        metavar="SHARE",
        help="also give the boundary IoU, within this share of the diagonal (semantic)",
    )
    parser.add_rare("--draws", type=int, default=200, metavar="N", help="of images, for intervals")
    parser.add_rare("--workers", type=int, default=0, metavar="N", help="that load images")


def run(options: argparse.Namespace) -> None:
    """Print the scores, and write them where that is wanted."""
    if bool(options.checkpoint) == bool(options.pred):
        raise ValueError("give either --checkpoint, or --pred and --truth")
    if options.pred:
        _judge_masks(options)
    else:
        _judge_checkpoint(options)


def _judge_checkpoint(options: argparse.Namespace) -> None:
    import torch
    from torch import nn

    from segedu.data.views import Transformed
    from segedu.engine import evaluate, make_loader
    from segedu.engine.history import plain
    from segedu.metrics.intervals import PerImage

    results = _read_results(options.results)  # rather find out now than after the evaluation
    model, state = load_model(
        options.checkpoint, options.device, dict(options.set), options.image_size
    )
    config, records = {"mean": None, "std": None, **state["config"]}, state["history"]
    trained = config["task"]
    task = build_task(_judged_as(options.task or trained, config))
    if trained == "semantic":

        class Judged(nn.Module):
            """The model as the options say: in windows, with test-time augmentation, or plain."""

            forward = staticmethod(predictor(model, options))

        device, judged = next(model.parameters()).device, Judged()
        judged.anchor = nn.Parameter(torch.zeros((), device=device))  # says where it computes
    else:
        _refuse_semantic_options(options, trained)
        device, judged = next(model.parameters()).device, model
    layout, data, said = _data_of(options, config)
    raw = open_split(layout, data, options.split, trained, said, seed=config.get("seed", 0))
    raw = _in_view(raw, options, config)
    config["image_size"] = None  # the view has it
    dataset = Transformed(raw, preprocessing(config))
    if list(dataset.classes) != list(config["classes"]):
        raise ValueError(
            f"the model knows the classes {config['classes']}, {data or layout} has "
            f"{list(dataset.classes)}"
        )
    start = time.perf_counter()
    loader = make_loader(dataset, 1, num_workers=options.workers, collate_fn=task.collate)
    count = len(config["classes"])
    build = task.metric if trained != "semantic" else lambda: _semantic_metric(count, options)
    metric = PerImage(build, draws=options.draws, seed=0)
    scores = evaluate(judged, loader, metric, device, task=task)
    seconds = time.perf_counter() - start
    names = getattr(dataset, "names", None) or [str(i) for i in range(len(dataset))]
    report = _report(scores, config["classes"], names)
    _print(report)
    if options.out:
        pictures = _worst(report, task, lambda i: _triple(judged, task, raw[i], config, raw))
        _write(report, user_path(options.out), task.monitor, pictures, options)
    flat = plain({k: v for k, v in scores.items() if k not in ("images", "intervals")})
    classes = config["classes"]
    name = options.entry or f"{state['network']['name']}/{options.split}"
    results[name] = {
        "command": options.command_line,
        "dataset": Path(data).name or layout,
        "split": options.split,
        "images": len(dataset),
        "size": list(dataset[0]["image"].shape[-2:]),  # of the first image
        "seconds": seconds,
        "machine": machine.describe(device),
        **{key: score for key, score in flat.items() if score is None or isinstance(score, float)},
        **{
            key: dict(zip(classes, flat[key], strict=True))
            for key in ("iou", "dice", "boundary_iou")
            if key in flat
        },
        "training": {
            **{k: v for k, v in state["config"].items() if k not in _OF_CLASSES},
            "losses": [round(record["loss"], 4) for record in records],
            "epoch": len(records),  # the best one, if the checkpoint is best.pt
            "seconds": sum(record["seconds"] for record in records),
        },
    }
    if options.results:
        print(f"kept in {write_json(user_path(options.results), dict(sorted(results.items())))}")


def _judge_masks(options: argparse.Namespace) -> None:
    """Compare two folders of masks, without any network."""
    import torch

    from segedu.data.classes import class_table
    from segedu.data.folders import MASK_SUFFIXES, find_pairs
    from segedu.data.images import check_size, read_colors, read_image, read_values
    from segedu.data.pairs import PairDataset
    from segedu.metrics.intervals import PerImage
    from segedu.tasks import Semantic
    from segedu.viz import sheet, show_labels, shown_classes

    if not options.truth:
        raise ValueError("--truth is missing: the folder of the true masks")
    if options.results:
        raise ValueError("--results collects scores of checkpoints; give --out")
    said = data_options(options)
    table = class_table(said.get("classes"), said.get("masks", "index"))
    folders = (str(user_path(options.pred).absolute()), str(user_path(options.truth).absolute()))
    suffixes = (said.get("image_suffix", ""), said.get("mask_suffix", ""))
    known = (*MASK_SUFFIXES, "_pred", "-pred", "_prediction", "-prediction")
    pairs, _ = find_pairs(Path("/"), None, folders, suffixes, (known, known))
    reader = PairDataset(
        pairs,
        table.label_of,
        table.names,
        table.names,
        table.colors,
        read_labels=read_colors if said.get("masks") == "color" else read_values,
    )

    def both(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        files = reader.pairs[index]
        size = tuple(read_image(files[1]).shape[1:])
        pred, truth = (torch.from_numpy(reader.read_mask(file, size)) for file in files)
        check_size(files[0], tuple(pred.shape), files[1], tuple(truth.shape))
        if (pred == 255).any():
            pred = torch.where(truth == 255, 0, pred)  # judged nowhere, so it may say anything
        if (pred == 255).any():
            raise ValueError(f"{files[0]}: has no class in some pixels, where {files[1]} has one")
        return pred, truth

    metric = PerImage(lambda: _semantic_metric(len(table.names), options), draws=options.draws)
    for index in range(len(reader)):
        pred, truth = both(index)
        metric.update(pred[None], truth[None])
    report = _report(metric.compute(), table.names, [truth.stem for _, truth in reader.pairs])
    _print(report)
    if not options.out:
        return

    def masks_of(index: int) -> Any:
        pred, truth = both(index)
        grey = torch.full((*truth.shape, 3), 128, dtype=torch.uint8).numpy()
        labels = [{"mask": truth}, {"mask": pred}]
        shown = [show_labels(grey, sample, table.colors) for sample in labels]
        legend = {"titles": ("truth", "prediction"), "only": shown_classes(labels)}
        return sheet([shown], table.names, table.colors, **legend)

    task = Semantic(num_classes=len(table.names))
    _write(report, user_path(options.out), task.monitor, _worst(report, task, masks_of), options)


def _semantic_metric(num_classes: int, options: argparse.Namespace) -> SemanticMetrics:
    from segedu.metrics import SemanticMetrics

    return SemanticMetrics(num_classes, boundary=options.boundary)


def _data_of(
    options: argparse.Namespace, config: Mapping[str, Any]
) -> tuple[str, str, dict[str, Any]]:
    """Layout, root and options of the data: as said, or as in the training."""
    said = data_options(options)
    layout = options.layout or config.get("layout", "folders")
    if layout == config.get("layout"):
        said = config.get("data_options", {}) | said
    elif "channels" in config.get("data_options", {}):
        said.setdefault("channels", config["data_options"]["channels"])
    return layout, options.data or config.get("data", ""), said


def _judged_as(task: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with another task for networks that find objects."""
    trained = config["task"]
    if trained not in LEARNT:
        raise ValueError(f"a network for {trained} segmentation cannot be judged by this command")
    if task != trained and not {task, trained} <= {"instance", "panoptic"}:
        raise ValueError(f"--task: a network for {trained} segmentation cannot be judged by {task}")
    return {**config, "task": task}


def _in_view(dataset: Any, options: argparse.Namespace, config: Mapping[str, Any]) -> Any:
    """The part of the images that is judged: scaled, the middle, in tiles."""
    from torch import nn

    from segedu.cli.networks import scaling
    from segedu.data.transforms import CenterCrop, DropInvisible, FitInto
    from segedu.data.views import Tiles, Transformed

    steps: list[nn.Module] = []
    if config.get("image_size"):
        steps.append(FitInto(config["image_size"], scaling(config)[1]))
    if options.center_crop:
        steps.append(CenterCrop(options.center_crop))
    if steps:
        dataset = Transformed(dataset, nn.Sequential(*steps, DropInvisible()))
    return Tiles(dataset, options.tiles) if options.tiles else dataset


def _refuse_semantic_options(options: argparse.Namespace, task: str) -> None:
    said = {"--window": options.window, "--tta": options.tta, "--boundary": options.boundary}
    for option, value in said.items():
        if value:
            cure = "; --tiles H W judges large images part by part" if option == "--window" else ""
            raise ValueError(f"{option} is for semantic networks; this one is for {task}{cure}")


def _report(scores: Mapping[str, Any], classes: Any, images: Any) -> Report:
    from segedu.report import Report

    return Report(scores, list(classes), list(images))


def _print(report: Report) -> None:
    """The averages and the scores of each class, with their intervals."""
    for name, score in report.scalars.items():
        if isinstance(score, float):
            print(f"{_number(score)}  {_ends(report.intervals.get(name))}  {name}")
    if report.rows:
        keys = [k for k, v in report.rows[0].items() if isinstance(v, float)]
        keys = [k for k in keys if not k.endswith(("_low", "_high"))]
        wide = {key: max(11, len(key) + 2) for key in keys[1:]}
        head = "".join(f"{key:>{width}}" for key, width in wide.items())
        print(f"\n{keys[0]:>8}  {'95 % interval':^18}{head}")
        seen = [row for row in report.rows if any(row[k] == row[k] for k in keys)]
        for row in seen:
            ends = (row.get(f"{keys[0]}_low"), row.get(f"{keys[0]}_high"))
            rest = "".join(f"{_number(row[key]):>{width}}" for key, width in wide.items())
            print(f"{_number(row[keys[0]])}  {_ends(ends)}{rest}  {row['class']}")
        shown = {row["class"] for row in seen}
        first = int("AP" in report.scalars)  # of the background there are no objects
        print_absent([n for c, n in report.names.items() if c >= first and n not in shown])


def _number(value: float) -> str:
    return f"{'absent' if value != value else format(value, '.4f'):>8}"


def _ends(interval: tuple[float | None, float | None] | None) -> str:
    if interval is None or None in interval or any(end != end for end in interval):
        return " " * 18
    return "{:.4f} to {:.4f}  ".format(*interval)


def _worst(report: Report, task: Task, draw: Any) -> dict[str, Any]:
    """Pictures of the images with the worst score, the very worst first."""
    key = task.monitor
    scored = [(row.get(key), i) for i, row in enumerate(report.images)]
    order = sorted((score, i) for score, i in scored if score is not None and score == score)
    return {report.images[i]["image"]: draw(i) for _, i in order[:WORST]}


def _triple(
    model: nn.Module, task: Task, sample: Mapping[str, Any], config: Mapping[str, Any], dataset: Any
) -> Any:
    """Image, truth and prediction side by side."""
    found = compare(model, task, sample, config)
    return draw_compared([found], dataset.classes, dataset.colors)


def _write(
    report: Report,
    folder: Path,
    key: str,
    pictures: Mapping[str, Any],
    options: argparse.Namespace,
) -> None:
    """Everything that was found out: scores.json, up to three CSV files, report.html."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    report.to_json(folder / "scores.json")
    report.to_csv(folder / "images.csv", what="images")
    names = ["scores.json", "images.csv"]
    if report.rows:
        report.to_csv(folder / "classes.csv")
        names.append("classes.csv")
    if "confusion_matrix" in report.result:
        report.to_csv(folder / "confusion_matrix.csv", what="confusion_matrix")
        names.append("confusion_matrix.csv")
    report.to_html(folder / "report.html", key=key, pictures=pictures)
    print(f"\nin {folder}: {', '.join([*names, 'report.html'])}")


def _read_results(name: str | None) -> dict[str, Any]:
    """The results that a JSON file holds already, by model and split."""
    if name is None or not user_path(name).exists():
        return {}
    return read_json(user_path(name))
