"""Write an exported network in integers of eight bits: smaller, and on many processors faster."""

from __future__ import annotations

import argparse
from itertools import islice
from typing import TYPE_CHECKING

from segedu.cli.export import size_of
from segedu.cli.monitor import first_pictures, read, record
from segedu.cli.options import Parser
from segedu.files import user_path

if TYPE_CHECKING:
    from torch import Tensor

    from segedu.engine.deployed import Deployed

EXAMPLES = (
    "quantize unet.onnx photos/ --out unet-int8.onnx",
    "quantize unet.onnx photos/ --out unet-int8.onnx --reference photos/",
)
#: Pictures that are read at most; the ranges of the feature maps hardly change with more.
MOST = 40
#: One picture in so many takes no part, and tells how alike the two files are.
HELD_OUT = 5


def add_options(parser: Parser) -> None:
    """The file, the pictures, and the new file."""
    parser.usage = "%(prog)s MODEL.onnx INPUT --out FILE.onnx [options]"
    parser.epilog = (
        "That two files agree does not say that either is right: judge the new one on pictures\n"
        "with labels, too. The times of both depend on the processor: measure them on yours."
    )
    parser.add_argument("model", help="a file of `python -m segedu export`")
    parser.add_argument(
        "input",
        help=f"pictures of the kind that the network will see: a folder, a pattern in quotes; "
        f"{MOST} are read at most",
    )
    parser.add_argument("--out", required=True, help="the file, whose name ends in .onnx")
    parser.add_argument(
        "--reference",
        metavar="INPUT",
        help="pictures whose statistics the file keeps, for `python -m segedu monitor`; those of "
        "MODEL.onnx are of another network",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def run(options: argparse.Namespace) -> None:
    """Quantize one file."""
    from segedu.compress import quantize
    from segedu.engine.deployed import Deployed

    source, out = user_path(options.model), user_path(options.out)
    if out.suffix.lower() != ".onnx":
        raise ValueError(f"--out: {out} must end in .onnx")
    if out.exists() and not options.force:
        raise FileExistsError(f"{out} is there already: --force replaces it")
    if out.resolve() == source.resolve():
        raise ValueError(f"--out: {out} is the file that is quantized: choose another name")
    network = Deployed(source)
    channels = network.contract.channels
    reference = first_pictures(options.reference, channels) if options.reference else None
    pictures = list(islice(read(options.input, channels, [], MOST), MOST))
    measuring = [p for i, p in enumerate(pictures) if (i + 1) % HELD_OUT]
    others = pictures[HELD_OUT - 1 :: HELD_OUT]
    quantize(source, out, measuring)
    share = agreement(network, Deployed(out), others or measuring)
    which = f"{len(others)} others" if others else "the same"
    print(
        f"{out}: {size_of(out)} instead of {size_of(source)}, its ranges measured on "
        f"{len(measuring)} pictures; in {which}, {share:.1%} of the pixels keep their class"
    )
    record(out, reference)


def agreement(first: Deployed, second: Deployed, pictures: list[Tensor]) -> float:
    """Share of the pixels of pictures uint8 (C,H,W) that two networks give the same class."""
    same = [first(picture).labels == second(picture).labels for picture in pictures]
    return sum(int(equal.sum()) for equal in same) / sum(equal.size for equal in same)
