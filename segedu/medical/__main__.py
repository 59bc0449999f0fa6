"""Medical images from the command line: ``python -m segedu.medical --help``."""

import argparse
import ast
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segedu.files import read_json, user_path, write_json
from segedu.medical import dicom
from segedu.medical.io import read_volume, write_volume
from segedu.medical.volume import Volume, VolumeError

RUN = "run.json"  # beside a run's configuration: its command and machine

# torch takes seconds to import: the commands that need it import it, so that --help does not wait.
if TYPE_CHECKING:
    from segedu.medical.config import ProjectConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; mistakes of the user become one line on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = command_parser().parse_args(arguments)
    options.command_line = shlex.join(["python", "-m", "segedu.medical", *arguments])
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("segedu.medical: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        return _complain(error)
    except _checkpoint_error() as error:
        return _complain(error)


def _complain(error: Exception) -> int:
    if os.environ.get("SEGEDU_DEBUG"):
        raise error
    print(f"segedu.medical: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _checkpoint_error() -> type[Exception]:
    from segedu.engine import CheckpointError

    return CheckpointError


def inspect(options: argparse.Namespace) -> int:
    """List what is there, its geometry and its problems; 1 if there are any."""
    if not options.path.is_dir():
        print(f"{options.path.name}: {_describe(read_volume(options.path))}")
        return 0
    found = dicom.scan(options.path)
    problems = list(found.unreadable.values())
    for series in found.series:
        print(f"{series.uid or '(no UID)'}: {len(series.files)} files, {series.modality}")
        if not series.is_image:
            print("  no series of images")
            continue
        try:
            if options.pixels and not found.unreadable:
                volume = read_volume(options.path, series.uid, allow_missing=options.allow_missing)
                low, high = volume.array.min(), volume.array.max()
                print(f"  {_describe(volume)}, values {low:g} to {high:g}")
            else:
                grid = dicom.geometry(series, allow_missing=options.allow_missing)
                print(f"  {_describe(grid)}")
        except VolumeError as error:
            problems.append(str(error))
            print(f"  problem: {error}")
    for name, problem in found.unreadable.items():
        print(f"{name}: problem: {problem}")
    if not found.series and not found.unreadable:
        raise VolumeError(f"{options.path.name} holds no DICOM files, only {found.others} others")
    print(f"{len(found.series)} series, {len(problems)} problems, {found.others} other files")
    return 1 if problems else 0


def convert(options: argparse.Namespace) -> None:
    """Read one volume and write it in another form."""
    volume = read_volume(options.input, options.series, allow_missing=options.allow_missing)
    write_volume(volume, options.output, beside=options.input, uid=options.series)
    print(f"{options.output}: {_describe(volume)}")


def phantom(options: argparse.Namespace) -> None:
    """Draw patients that never were, ready for ``train``."""
    from segedu.medical import phantom as drawing
    from segedu.medical.scans import write_decathlon

    config = drawing.PhantomConfig(tuple(options.shape), tuple(options.spacing))
    if options.nodules:
        config = replace(config, nodules=tuple(map(drawing.Nodule, options.nodules)))
    nodule = drawing.LABELS[drawing.NODULE]
    names = {"lungs": drawing.LUNGS, "labels": drawing.LABELS, "nodules": ("background", nodule)}

    def draw(seed: int) -> tuple[str, Volume, Volume]:
        drawn = drawing.generate(seed, config)
        print(f"phantom_{seed:03d}: {_describe(drawn.image)}", flush=True)
        labels = drawn.lungs if options.labels == "lungs" else drawn.labels
        if options.labels == "nodules":
            labels = labels.with_array((labels.array == drawing.NODULE).astype("uint8"))
        return f"phantom_{seed:03d}", drawn.image, labels

    seeds = range(options.seed, options.seed + options.number)
    write_decathlon(options.output, map(draw, seeds), names[options.labels])


def train(options: argparse.Namespace) -> None:
    """Train on a folder of scans, or go on with a run."""
    import torch

    from segedu import machine
    from segedu.engine import distributed
    from segedu.engine.resume import nothing_left
    from segedu.medical.config import PATIENT, ProjectConfig
    from segedu.medical.patients import patients_of
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
    rule = "named before the last hyphen" if config.patient == PATIENT else config.patient
    print(f"{len(names)} scans of {len(set(patients_of(names, config.patient)))} patients ({rule})")
    trained = []  # the epochs of this call

    def show(record: dict[str, Any]) -> None:
        trained.append(record["epoch"])
        if distributed.rank():
            return
        if not (options.out / RUN).exists():
            device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
            about = {"command": options.command_line, "machine": machine.describe(device)}
            write_json(options.out / RUN, about)
        score = "" if record.get("val_dice") is None else f"  Dice {_rounded(record['val_dice'])}"
        seconds = record["seconds"]
        print(
            f"epoch {record['epoch']}: loss {record['loss']:.4f}{score}  {seconds:.0f} s",
            flush=True,
        )
        if write:
            write(record)

    history = train_run(
        options.data, options.out, config, resume=options.resume, device=options.device,
        on_epoch=show,
    )  # fmt: skip
    if not trained:
        raise ValueError(nothing_left(options.out, len(history), config.epochs))


def predict(options: argparse.Namespace) -> None:
    """Segment a scan with a trained run; the labels lie on the grid of the scan."""
    from segedu.medical.project import Predictor

    volume = read_volume(options.input, options.series, allow_missing=options.allow_missing)
    labels = (predictor := Predictor(options.run_folder, options.device))(volume)
    write_volume(labels, options.output, beside=options.input, uid=options.series)
    for number, name in enumerate(predictor.config.classes[1:], start=1):
        print(f"{name}: {(labels.array == number).sum() * labels.voxel_ml:.1f} ml")


def evaluate(options: argparse.Namespace) -> None:
    """Predict the scans that a run did not train on, and compare them with the truth."""
    from segedu.medical.config import ProjectConfig
    from segedu.medical.evaluate import evaluate as evaluate_run

    result = evaluate_run(
        options.run_folder, options.data, options.output, subset=options.subset,
        device=options.device,
        on_scan=lambda name, rows: print(
            f"{name}: Dice {_rounded([row['dice'] for row in rows])}", flush=True
        ),
    )  # fmt: skip
    names = ProjectConfig.load(options.output / "config.json").classes
    for number, row in result["per_class"].items():
        print(
            f"{names[number]}: Dice {row['dice']:.3f} ({row['dice_low']:.3f} to "
            f"{row['dice_high']:.3f}), HD95 {row['hd95']:.2f} mm, {row['missed']} missed"
        )
    for number, row in result["lesions"].items():
        print(
            f"{names[number]}: {row['hits']} of {row['lesions']} lesions found, "
            f"{row['false_positives_per_scan']:.1f} false positives per scan"
        )
    if options.results:
        results = read_json(options.results) if options.results.exists() else {}
        results[options.entry or options.run_folder.name] = _entry(options)
        print(f"kept in {write_json(options.results, dict(sorted(results.items())))}")


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

    print(write_report(options.evaluation, options.data, failure=options.failure))


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


def _describe(volume: Volume) -> str:
    slices, rows, columns = volume.shape
    spacing = " x ".join(f"{s:.4g}" for s in volume.spacing)
    return f"{slices} slices of {rows} x {columns}, spacing {spacing} mm, axes {volume.axes}"


def command_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``, which may return an exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m segedu.medical",
        description="Medical images: look into, convert, segment. Not for clinical use.",
        epilog="Sizes and spacings are given as slices, rows, columns. Axes SPL: slices grow to "
        "the head (Superior), rows to the back (Posterior), columns to the patient's Left. "
        "Nothing is printed or written that names a patient, but for the names of files.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("inspect", help="list series, their geometry and problems")
    command.add_argument(
        "path", type=user_path, help="folder of DICOM files, NIfTI or DICOM-SEG file"
    )
    command.add_argument("--pixels", action="store_true", help="decode the images, too")
    _allow_missing(command)
    command.set_defaults(run=inspect)

    command = commands.add_parser("convert", help="DICOM, DICOM-SEG or NIfTI to NIfTI or DICOM")
    command.add_argument(
        "input", type=user_path, help="folder of DICOM images, NIfTI or DICOM-SEG file"
    )
    command.add_argument("output", type=user_path, help="file .nii or .nii.gz, or new DICOM folder")
    command.add_argument("--series", metavar="UID", help="which one, if the folder holds several")
    _allow_missing(command)
    command.set_defaults(run=convert)

    command = commands.add_parser("phantom", help="draw thorax CTs of nobody, with exact masks")
    command.add_argument("output", type=user_path, help="folder for imagesTr and labelsTr")
    command.add_argument("--number", type=int, default=8, help="of patients")
    command.add_argument("--seed", type=int, default=0, help="of the first patient")
    command.add_argument("--shape", type=int, nargs=3, default=(48, 96, 96), metavar="N")
    command.add_argument("--spacing", type=float, nargs=3, default=(6.0, 3.9, 3.9), metavar="MM")
    command.add_argument("--labels", choices=("lungs", "labels", "nodules"), default="lungs")
    command.add_argument(
        "--nodules", type=float, nargs="+", metavar="MM", help="their diameters (default: three)"
    )
    command.set_defaults(run=phantom)

    command = commands.add_parser("train", help="train a network on scans with labels")
    command.add_argument("data", type=user_path, help="folder with imagesTr and labelsTr")
    command.add_argument("--out", type=user_path, required=True, help="folder of the run")
    command.add_argument("--config", type=user_path, help="JSON file, such as that of another run")
    command.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="NAME=VALUE",
        help="change a setting, such as lr=0.001, patch=(32,64,64), or whose a scan is: by "
        "default what stands before the last hyphen of its name, else a pattern, "
        "patient=LIDC-IDRI-[0-9]+, or a CSV file with the columns name and patient",
    )  # fmt: skip
    command.add_argument(
        "--tensorboard", type=user_path, metavar="DIR", help="write curves that TensorBoard shows"
    )
    command.add_argument("--resume", action="store_true", help="go on with the run in --out")
    command.add_argument("--device", help="cpu or cuda; by default the GPU if there is one")
    command.set_defaults(run=train)

    command = commands.add_parser("predict", help="segment a scan with a trained run")
    command.add_argument("run_folder", type=user_path, metavar="run", help="folder that train left")
    command.add_argument("input", type=user_path, help="folder of DICOM images, or NIfTI file")
    command.add_argument("output", type=user_path, help="file .nii or .nii.gz, or new DICOM folder")
    command.add_argument("--series", metavar="UID", help="which one, if the folder holds several")
    command.add_argument("--device", help="cpu or cuda; by default the GPU if there is one")
    _allow_missing(command)
    command.set_defaults(run=predict)

    command = commands.add_parser("evaluate", help="compare a trained run with the truth")
    command.add_argument("run_folder", type=user_path, metavar="run", help="folder that train left")
    command.add_argument("data", type=user_path, help="folder with imagesTr and labelsTr")
    command.add_argument("output", type=user_path, help="folder for scores and predictions")
    command.add_argument("--subset", choices=("train", "val", "test"), default="test")
    command.add_argument(
        "--results", type=user_path, metavar="FILE", help="JSON that collects scores of many runs"
    )
    command.add_argument("--entry", metavar="NAME", help="in --results (default: name of the run)")
    command.add_argument("--device", help="cpu or cuda; by default the GPU if there is one")
    command.set_defaults(run=evaluate)

    command = commands.add_parser("report", help="turn an evaluation into one HTML page")
    command.add_argument("evaluation", type=user_path, help="folder that evaluate left")
    command.add_argument("data", type=user_path, help="folder with imagesTr and labelsTr")
    command.add_argument(
        "--failure", type=float, default=0.5, metavar="DICE", help="list scans below this"
    )
    command.set_defaults(run=report)
    return parser


def _allow_missing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--allow-missing", action="store_true", help="accept series in which slices are missing"
    )


if __name__ == "__main__":
    sys.exit(main())
