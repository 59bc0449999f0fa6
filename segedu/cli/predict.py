"""Segment images: a file, a folder, a pattern, pages of a TIFF, a video."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from segedu.cli.networks import load_model
from segedu.cli.options import Parser, add_prediction
from segedu.cli.sources import VIDEO_SUFFIXES, Picture, find_files, pictures
from segedu.files import user_path

if TYPE_CHECKING:
    from segedu.cli.results import Writer

EXAMPLES = (
    "predict photos/ --checkpoint runs/unet/best.pt --out predictions/",
    "predict map.tif --checkpoint runs/unet/best.pt --out map/ --window 1024 --tta",
)
MAX_PIXELS = 1_000_000_000


def add_options(parser: Parser) -> None:
    """What to segment, and where to put it."""
    parser.usage = "%(prog)s INPUT --checkpoint FILE --out FOLDER [options]"
    parser.add_argument(
        "input",
        help="file, pattern in quotes such as 'a/*.jpg', or folder, of which masks/, labels/, "
        "SegmentationClass/, annotations/ and the like are left out",
    )
    parser.add_argument(
        "--out", required=True, help="folder; in it mask/, overlay/, named as the input"
    )
    add_prediction(parser, required=True)
    parser.add_argument(
        "--save",
        nargs="+",
        choices=("overlay", "mask", "probabilities"),
        default=["overlay", "mask"],
        metavar="WHAT",
        help="overlay, mask (both by default), probabilities (.npz)",
    )
    parser.add_argument(
        "--min-score", type=float, default=0.5, help="of objects that are kept (default: 0.5)"
    )
    parser.add_argument("--force", action="store_true", help="replace results that are there")
    parser.add_rare(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help=f"largest image that is read (default: {MAX_PIXELS:,})",
    )


def run(options: argparse.Namespace) -> int:
    """Segment every picture; returns 1 if some could not be read."""
    from segedu.cli.results import Writer, network_input

    found = find_files(str(user_path(options.input)))
    model, state = load_model(
        options.checkpoint, options.device, dict(options.set), options.image_size
    )
    config = network_input(state)
    writer = Writer(user_path(options.out), config, tuple(options.save), options.force)
    for name, file in found.files.items():
        if file.suffix.lower() not in VIDEO_SUFFIXES:
            writer.check_free(name)
    segment = _segmenter(model, config, options, writer)
    failed: list[str] = []
    for name, file in found.files.items():
        try:
            for picture in pictures(name, file, config.channels, options.max_pixels):
                writer.check_free(picture.name)
                print(f"{picture.name}: {segment(picture, picture.read())}", flush=True)
        except FileExistsError:
            raise
        except (OSError, ValueError) as error:
            failed.append(f"{error}")
    writer.close()
    if found.labels:
        print(f"{found.labels} masks were left out: pictures in folders of labels, by their names")
    if found.left_out:
        print(f"{found.left_out} other files were left out: neither images nor videos")
    if failed and not writer.written:
        raise ValueError("; ".join(failed[:3]))
    print(f"{writer.written} segmented, in {options.out}")
    if failed:
        shown = "; ".join(" ".join(text.split()) for text in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        print(
            f"segedu: {len(failed)} of {len(found.files)} files failed: {shown}{more}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _segmenter(
    model: Any, config: Any, options: argparse.Namespace, writer: Writer
) -> Callable[[Picture, Any], str]:
    """A picture and its pixels -> what was found there, after it has been written."""
    from segedu.cli import results

    if config.task == "semantic":
        view = results.SemanticView(model, config, options.window, options.tta, options.scales)
        return lambda picture, image: writer.semantic(picture.name, image, view)
    for given, option in ((options.window, "--window"), (options.tta, "--tta")):
        if given:
            raise ValueError(
                f"{option} is for semantic segmentation: an object that lies in two views would be "
                "found twice"
            )
    if "probabilities" in options.save:
        raise ValueError("--save probabilities is for semantic segmentation")
    if config.task == "instance":
        return lambda picture, image: writer.instance(
            picture, image, results.predict_objects(model, config, image), options.min_score
        )
    return lambda picture, image: writer.panoptic(
        picture, image, results.predict_objects(model, config, image)
    )
