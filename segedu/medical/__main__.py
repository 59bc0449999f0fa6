"""Medical images from the command line: ``python -m segedu.medical --help``."""

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segedu.files import user_path
from segedu.medical import dicom
from segedu.medical.commands import add_commands, allow_missing
from segedu.medical.io import put_on, read_grid, read_named, read_volume, write_volume
from segedu.medical.volume import Volume, VolumeError

# torch takes seconds to import: the commands that need it import it, so that --help does not wait.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; mistakes of the user become one line on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = command_parser().parse_args(arguments)
    options.command_line = shlex.join(["python", "-m", "segedu.medical", *arguments])
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
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


def _warn(message: Warning | str, *_: object) -> None:
    print(f"segedu.medical: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _complain(error: Exception) -> int:
    if os.environ.get("SEGEDU_DEBUG"):
        raise error
    print(f"segedu.medical: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _checkpoint_error() -> type[Exception]:
    from segedu.engine import CheckpointError

    return CheckpointError


def inspect(options: argparse.Namespace) -> int:
    """List what is there, its geometry and its problems; 1 if ``convert`` would refuse a series."""
    if options.path.is_file():
        print(f"{options.path.name}: {_describe(read_volume(options.path))}")
        return 0
    if (options.path / "imagesTr").is_dir():
        return _inspect_training_set(options.path)
    found = dicom.scan(options.path)
    problems = [] if options.series else list(found.unreadable.values())
    for series in found.series:
        print(f"{series.uid or '(no UID)'}: {len(series.files)} files, {series.modality}")
        if not series.is_image:
            print("  no series of images")
        elif options.series in (None, series.uid):
            try:
                print(f"  {_look_into(found, series, options)}")
            except VolumeError as error:
                problems.append(str(error))
                print(f"  problem: {error}")
    for name, problem in found.unreadable.items():
        print(f"{name}: problem: {problem}")
    if options.series or not any(series.is_image for series in found.series):
        dicom.choose(found, options.path, options.series)  # says what there is in its place
    shown = (
        f" ({', '.join([*found.others[:3], '...'][: len(found.others)])})" if found.others else ""
    )
    print(
        f"{len(found.series)} series, {len(problems)} problems, {len(found.others)} other files"
        + shown
    )
    return 1 if problems else 0


def _inspect_training_set(folder: Path) -> int:
    """Each scan of a folder in the layout that ``train`` reads, its labels, and what is wrong."""
    from segedu.medical.scans import find_scans, read_pair

    scans = find_scans(folder)
    problems = 0
    for scan in scans:
        try:
            channels, truth = read_pair(scan.images, scan.labels)
            labels = np.unique(truth.array)
            if labels[0] < 0 or not np.array_equal(labels, np.rint(labels)):
                raise ValueError(
                    f"{scan.labels.name}: labels must be whole numbers from 0, got values from "
                    f"{labels[0]:g} to {labels[-1]:g}"
                )
        except ValueError as error:
            problems += 1
            print(f"{scan.name}: problem: {error}")
            continue
        several = f"{len(channels)} channels, " if len(channels) > 1 else ""
        listed = " ".join(f"{label:g}" for label in labels)
        print(f"{scan.name}: {several}{_describe(channels[0])}, labels {listed}")
    print(f"{len(scans)} scans with labels, {problems} problems")
    return 1 if problems else 0


def _look_into(found: dicom.Folder, series: dicom.Series, options: argparse.Namespace) -> str:
    """Geometry and values of a series that can be read."""
    dicom.choose(found, options.path, series.uid)
    if options.headers:
        return _describe(dicom.geometry(series, allow_missing=options.allow_missing))
    volume = dicom.read_images(series, allow_missing=options.allow_missing)
    return f"{_describe(volume)}, values {volume.array.min():g} to {volume.array.max():g}"


def convert(options: argparse.Namespace) -> None:
    """Read one volume and write it in another form."""
    # --series chooses in the folder that is given; of two, in the input.
    in_like = options.like is not None and not options.input.is_dir()
    uid, like_uid = (None, options.series) if in_like else (options.series, None)
    volume, names = read_named(
        options.input, uid, allow_missing=options.allow_missing, keep_padding=options.keep_padding
    )
    beside, beside_uid = options.input, uid
    if options.like:
        grid = read_grid(options.like, like_uid, allow_missing=options.allow_missing)
        volume = put_on(volume, grid)
        beside, beside_uid = options.like, like_uid
    names |= dict(enumerate(options.names, start=1))
    write_volume(
        volume, options.output, beside=beside, uid=beside_uid, modality=options.modality,
        names=names,
    )  # fmt: skip
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
        "path", type=user_path,
        help="folder of DICOM files, NIfTI or DICOM-SEG file, or folder with imagesTr and labelsTr",
    )  # fmt: skip
    command.add_argument("--series", metavar="UID", help="look into this one only")
    command.add_argument(
        "--headers", action="store_true", help="do not decode the images: quicker, but finds less"
    )
    allow_missing(command)
    command.set_defaults(run=inspect)

    command = commands.add_parser("convert", help="DICOM, DICOM-SEG or NIfTI to NIfTI or DICOM")
    command.add_argument(
        "input", type=user_path, help="folder of DICOM images, NIfTI or DICOM-SEG file"
    )
    command.add_argument(
        "output", type=user_path,
        help="file .nii, .nii.gz or, for labels, .dcm (DICOM-SEG); or new folder for DICOM images",
    )  # fmt: skip
    command.add_argument("--series", metavar="UID", help="which one, if the folder holds several")
    command.add_argument(
        "--like", type=user_path, metavar="IMAGE",
        help="bring labels to the grid of this image, a folder or file",
    )  # fmt: skip
    command.add_argument(
        "--modality", choices=tuple(dicom.MODALITIES), help="of a new series (default: the input's)"
    )
    command.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help="of labels 1, 2, ... in a .dcm"
    )
    command.add_argument(
        "--keep-padding", action="store_true",
        help="leave the PixelPaddingValue around a CT as it is",
    )  # fmt: skip
    allow_missing(command)
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
    add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
