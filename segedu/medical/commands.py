"""The commands of a project on scans: train, predict, evaluate, score, pool, report."""

import argparse
import ast
import math
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu.files import read_json, user_path, write_json
from segedu.medical.io import read_volume, write_volume
from segedu.medical.nifti import is_nifti, read_channels

RUN = "run.json"  # beside a run's configuration: its command, day and machine

# torch takes seconds to import: the commands that need it import it, so that --help does not wait.
if TYPE_CHECKING:
    from segedu.medical.config import ProjectConfig
    from segedu.medical.fingerprint import Fingerprint


def train(options: argparse.Namespace) -> None:
    """Train on a folder of scans, or go on with a run."""
    import torch

    from segedu import machine
    from segedu.engine import distributed
    from segedu.engine.resume import nothing_left
    from segedu.medical.config import ProjectConfig
    from segedu.medical.patients import describe_split, split_scans
    from segedu.medical.project import train as train_run
    from segedu.medical.scans import find_scans

    if options.resume:
        config = ProjectConfig.load(options.out / "config.json").changed(**dict(options.set))
    else:
        config = _configuration(options)

    if options.tensorboard:
        from segedu.engine import tensorboard

        write = tensorboard(options.tensorboard)
    else:
        write = None

    names = [name for name, *_ in find_scans(options.data)]
    split = split_scans(names, config)
    if not distributed.rank():
        print(*describe_split(split, names, config), sep="\n", flush=True)
    trained = []  # the epochs of this call

    def begin(fitted: "ProjectConfig", fingerprint: "Fingerprint") -> None:
        if distributed.rank():
            return
        print(fingerprint.describe())
        spacing = " x ".join(f"{s:.4g}" for s in fitted.spacing)
        of_scans = "" if config.spacing else ", the median"
        guessed = ", guessed from the scans" if "auto" in config.intensity else ""
        intensity = ", ".join(fitted.intensity)
        print(f"resampled to {spacing} mm{of_scans}; intensity: {intensity}{guessed}")
        steps = math.ceil(fitted.patches / fitted.batch_size)
        print(
            f"{fitted.epochs} epochs of {steps} steps; the first tells how long they take",
            flush=True,
        )

    def show(record: dict[str, Any]) -> None:
        trained.append(record["epoch"])
        if distributed.rank():
            return
        if not (options.out / RUN).exists():
            device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
            about = {
                "command": options.command_line,
                "date": date.today().isoformat(),
                "machine": machine.describe(device),
            }
            write_json(options.out / RUN, about)
        score = "" if record.get("val_dice") is None else f"  Dice {_rounded(record['val_dice'])}"
        seconds = record["seconds"]
        left = _duration((config.epochs - record["epoch"]) * seconds)
        print(
            f"epoch {record['epoch']}: loss {record['loss']:.4f}{score}  {seconds:.0f} s{left}",
            flush=True,
        )
        if write:
            write(record)

    history = train_run(
        options.data, options.out, config, resume=options.resume, device=options.device,
        on_start=begin, on_epoch=show,
    )  # fmt: skip
    if not trained:
        raise ValueError(nothing_left(options.out, len(history), config.epochs))


def predict(options: argparse.Namespace) -> None:
    """Segment a scan with a trained run; the labels lie on the grid of the scan."""
    from segedu.medical.project import Predictor
    from segedu.medical.scans import on_one_grid

    scan = []
    for path in options.input:
        if path.is_file() and is_nifti(path):
            scan += read_channels(path)
        else:
            scan.append(read_volume(path, options.series, allow_missing=options.allow_missing))
    scan = on_one_grid(scan, [path.name for path in options.input])
    labels = (predictor := Predictor(options.run_folder, options.device))(scan)
    write_volume(
        labels, options.output, beside=options.input[0], uid=options.series,
        names=dict(list(enumerate(predictor.config.classes))[1:]), automatic=True,
    )  # fmt: skip
    for number, name in enumerate(predictor.config.classes[1:], start=1):
        print(f"{name}: {(labels.array == number).sum() * labels.voxel_ml:.1f} ml")


def evaluate(options: argparse.Namespace) -> None:
    """Predict the scans that a run did not train on, and compare them with the truth."""
    from segedu.medical.evaluate import evaluate as evaluate_run

    result = evaluate_run(
        options.run_folder, options.data, options.output, subset=options.subset,
        device=options.device, on_scan=_show_scan,
    )  # fmt: skip
    for name, strange in result["about"]["unlike"].items():
        listed = "; ".join(f"{kind} {value}" for kind, value in strange.items())
        print(f"{name} is unlike the scans of the training, in brackets: {listed}")
    _show_scores(result, options.output)
    if options.results:
        results = read_json(options.results) if options.results.exists() else {}
        results[options.entry or options.run_folder.name] = _entry(options)
        print(f"kept in {write_json(options.results, dict(sorted(results.items())))}")


def score(options: argparse.Namespace) -> None:
    """Compare masks with masks, whoever made them."""
    from segedu.medical.config import PATIENT
    from segedu.medical.evaluate import score as score_masks

    result = score_masks(
        options.truth, options.prediction, options.output, classes=options.classes,
        lesions=options.lesions, patient=options.patient or PATIENT, on_scan=_show_scan,
    )  # fmt: skip
    _show_scores(result, options.output)


def pool(options: argparse.Namespace) -> None:
    """Put the evaluations of the folds of a cross-validation together."""
    from segedu.medical.evaluate import pool as pool_folds

    _show_scores(pool_folds(options.evaluations, options.output), options.output)


def _show_scan(name: str, rows: list[dict[str, Any]]) -> None:
    print(f"{name}: Dice {_rounded([row['dice'] for row in rows])}", flush=True)


def _show_scores(result: dict[str, Any], folder: Path) -> None:
    """Means of each class, and how many lesions were found."""
    from segedu.medical.config import ProjectConfig

    names = ProjectConfig.load(folder / "config.json").classes
    for number, row in result["per_class"].items():
        interval = f"no interval: {row['patients']} patients"
        if math.isfinite(row["dice_low"]):
            interval = f"{row['dice_low']:.3f} to {row['dice_high']:.3f}"
        print(
            f"{names[number]}: Dice {row['dice']:.3f} ({interval}), HD95 {row['hd95']:.2f} mm over "
            f"{row['scans'] - row['missed'] - row['spurious']} of {row['scans']} scans, "
            f"{row['missed']} missed, {row['spurious']} spurious"
        )
    for number, row in result["lesions"].items():
        print(
            f"{names[number]}: {row['hits']} of {row['lesions']} lesions found, "
            f"{row['false_positives_per_scan']:.1f} false positives per scan"
        )


def _entry(options: argparse.Namespace) -> dict[str, Any]:
    """What a collection of results says of an evaluation: scores, and what led to them."""
    from segedu.engine import History

    run = options.run_folder
    records = History.from_jsonl(run / "history.jsonl").records
    return {
        "command": options.command_line,
        "subset": options.subset,
        **read_json(options.output / "scores.json"),
        "training": {
            **read_json(run / "config.json"),
            **(read_json(run / RUN) if (run / RUN).exists() else {}),
            "losses": [round(record["loss"], 4) for record in records],
            "val_dice": [record["val_dice"] for record in records],
            "seconds": sum(record["seconds"] for record in records),
        },
    }


def report(options: argparse.Namespace) -> None:
    """Turn an evaluation into one page."""
    from segedu.medical.report import write_report

    print(write_report(options.evaluation, options.images, failure=options.failure))


def _configuration(options: argparse.Namespace) -> "ProjectConfig":
    """The configuration file, or the classes of ``dataset.json``, changed by every ``--set``."""
    from segedu.medical.config import ProjectConfig
    from segedu.medical.scans import read_classes

    if options.config:
        base = ProjectConfig.load(options.config)
    else:
        base = ProjectConfig(classes=read_classes(options.data))
    return base.changed(**dict(options.set))


def _setting(text: str) -> tuple[str, Any]:
    """``name=value`` of ``--set``; what is no Python literal is a word."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected name=value, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _rounded(values: list[float | None]) -> str:
    return " ".join("-" if value is None else f"{value:.3f}" for value in values)


def _duration(seconds: float) -> str:
    """What is left of a training, for people."""
    if seconds < 60:
        return f", about {seconds:.0f} s left" if seconds else ""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f", about {f'{hours} h ' if hours else ''}{minutes} min left"


def add_commands(commands: Any) -> None:
    """Add the parsers of these commands to those of ``argparse``."""
    command = commands.add_parser("train", help="train a network on scans with labels")
    command.add_argument("data", type=user_path, help="folder with imagesTr and labelsTr")
    command.add_argument("--out", type=user_path, required=True, help="folder of the run")
    command.add_argument("--config", type=user_path, help="JSON file, such as that of another run")
    command.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="NAME=VALUE",
        help="change a setting, such as lr=0.001, patch=(32,64,64), or whose a scan is: by "
        "default its name up to the first number, else a pattern, patient=LIDC-IDRI-[0-9]+, or a "
        "CSV file with the columns name and patient; folds=5 and fold=0 to 4 cross-validate, "
        "splits=FILE takes the split from a JSON file",
    )  # fmt: skip
    command.add_argument(
        "--tensorboard", type=user_path, metavar="DIR", help="write curves that TensorBoard shows"
    )
    command.add_argument("--resume", action="store_true", help="go on with the run in --out")
    command.add_argument("--device", help="cpu or cuda; by default the GPU if there is one")
    command.set_defaults(run=train)

    command = commands.add_parser("predict", help="segment a scan with a trained run")
    command.add_argument("run_folder", type=user_path, metavar="run", help="folder that train left")
    command.add_argument(
        "input", type=user_path, nargs="+",
        help="folder of DICOM images, or NIfTI file; of a scan with channels in files of their "
        "own all, in the order of the training",
    )  # fmt: skip
    command.add_argument(
        "output", type=user_path, help="file .nii, .nii.gz or .dcm (DICOM-SEG), or new folder"
    )
    command.add_argument("--series", metavar="UID", help="which one, if the folder holds several")
    command.add_argument("--device", help="cpu or cuda; by default the GPU if there is one")
    allow_missing(command)
    command.set_defaults(run=predict)

    command = commands.add_parser("evaluate", help="compare a trained run with the truth")
    command.add_argument("run_folder", type=user_path, metavar="run", help="folder that train left")
    command.add_argument("data", type=user_path, help="folder with imagesTr and labelsTr")
    command.add_argument("output", type=user_path, help="folder for scores and predictions")
    command.add_argument(
        "--subset", choices=("train", "val", "test", "new"), default="test",
        help="of the run's split (default: test); new are scans that are in none of them",
    )  # fmt: skip
    command.add_argument(
        "--results", type=user_path, metavar="FILE", help="JSON that collects scores of many runs"
    )
    command.add_argument("--entry", metavar="NAME", help="in --results (default: name of the run)")
    command.add_argument("--device", help="cpu or cuda; by default the GPU if there is one")
    command.set_defaults(run=evaluate)

    command = commands.add_parser("score", help="compare masks with masks, whoever made them")
    command.add_argument("truth", type=user_path, help="NIfTI file, or folder of such")
    command.add_argument("prediction", type=user_path, help="likewise; files of the same names")
    command.add_argument("output", type=user_path, help="folder for scores")
    command.add_argument(
        "--classes", nargs="+", default=(), metavar="NAME",
        help="of the labels 0, 1, ... (default: those of dataset.json beside the truth, if any)",
    )  # fmt: skip
    command.add_argument(
        "--lesions", nargs="+", default=(), metavar="NAME", help="those to be counted one by one"
    )
    command.add_argument(
        "--patient", metavar="RULE", help="whose a scan is, as patient= of train --set"
    )
    command.set_defaults(run=score)

    command = commands.add_parser("pool", help="put the folds of a cross-validation together")
    command.add_argument("output", type=user_path, help="folder for scores")
    command.add_argument(
        "evaluations", type=user_path, nargs="+", help="folders that evaluate left, of each fold"
    )
    command.set_defaults(run=pool)

    command = commands.add_parser("report", help="turn an evaluation into one HTML page")
    command.add_argument("evaluation", type=user_path, help="folder of an evaluation")
    command.add_argument(
        "images", type=user_path, nargs="?",
        help="folder with imagesTr, or of the images; without, only the masks are shown",
    )  # fmt: skip
    command.add_argument(
        "--failure", type=float, default=0.5, metavar="DICE", help="list scans below this"
    )
    command.set_defaults(run=report)


def allow_missing(command: argparse.ArgumentParser) -> None:
    """The option of commands that read a series."""
    command.add_argument(
        "--allow-missing", action="store_true", help="accept series in which slices are missing"
    )
