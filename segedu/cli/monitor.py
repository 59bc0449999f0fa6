"""Compare pictures with those that an exported network was made for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from segedu.cli.options import Parser
from segedu.files import user_path

if TYPE_CHECKING:
    from torch import Tensor

EXAMPLES = (
    "export --checkpoint runs/unet/best.pt --out unet.onnx --reference photos/",
    "monitor unet.onnx today/ --out drift.html",
    "monitor unet.onnx numbers.jsonl --out drift.html",
)


def add_options(parser: Parser) -> None:
    """The file, the pictures, and the page."""
    parser.usage = "%(prog)s MODEL.onnx INPUT --out PAGE.html"
    parser.epilog = "The exit status is 1 if something has drifted."
    parser.add_argument("model", help="a file of `python -m segedu export --reference`")
    parser.add_argument(
        "input",
        help="pictures: a folder, a pattern in quotes, a video; or the .jsonl of `python -m segedu "
        "serve --keep-numbers`",
    )
    parser.add_argument("--out", required=True, help="the page, whose name ends in .html")


def run(options: argparse.Namespace) -> int:
    """Compare and report; returns 1 if something has drifted."""
    from segedu import monitor
    from segedu.engine.deployed import Deployed

    out = user_path(options.out)
    if out.suffix.lower() != ".html":
        raise ValueError(f"--out: {out} must end in .html")
    network = Deployed(user_path(options.model))
    recorded = network.contract.reference
    if recorded is None:
        raise ValueError(
            f"{options.model} holds no reference: write it by `python -m segedu export ... "
            "--reference PICTURES`, or quantize with this option"
        )
    names: list[str] = []
    if options.input.lower().endswith(".jsonl"):
        names, now = monitor.read_numbers(user_path(options.input))
    else:
        now = monitor.collect(network, read(options.input, network.contract.channels, names))
    rows = monitor.compare(recorded["numbers"], now)
    monitor.write_report(out, rows, recorded["numbers"], now, names)
    print(f"{len(names)} pictures against {recorded['pictures']}: {monitor.verdict(rows)}")
    print(f"the page: {options.out}")
    return int(any(row.drifted for row in rows))


def first_pictures(text: str, channels: int) -> Iterator[Tensor]:
    """The pictures of ``--reference``; too few are found out before the work, not after it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if they are too few.
    """
    from segedu.monitor import MIN_PICTURES

    pictures = read(text, channels, [])
    first = list(islice(pictures, MIN_PICTURES))
    if len(first) < MIN_PICTURES:
        raise ValueError(
            f"--reference: {MIN_PICTURES} pictures are needed at least, got {len(first)}: fewer "
            "tell nothing of a drift; name more pictures, or leave out --reference"
        )
    return chain(first, pictures)


def record(file: Path, reference: Iterator[Tensor] | None) -> None:
    """Keep the statistics of the pictures of ``--reference`` in a file, if it was given."""
    from segedu import monitor

    if reference is not None:
        count = monitor.record(file, reference)
        print(f"it keeps the statistics of {count} pictures, for `python -m segedu monitor`")


def read(text: str, channels: int, names: list[str], most: int | None = None) -> Iterator[Tensor]:
    """The pictures that a path or a pattern names; what cannot be read is counted on stderr.

    Args:
        text: see `segedu.cli.sources.find_files`.
        channels: of the pictures.
        names: gets those of the pictures.
        most: how many of the files are read at most, evenly among them; all by default.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    from segedu.cli.predict import MAX_PIXELS
    from segedu.cli.sources import find_files, pictures

    files = find_files(str(user_path(text))).files
    if not any(file.exists() for file in files.values()):
        raise FileNotFoundError(f"{text}: no such file")
    failed: list[str] = []
    step = -(-len(files) // most) if most else 1
    for name, file in list(files.items())[::step]:
        try:
            for picture in pictures(name, file, channels, MAX_PIXELS):
                pixels = picture.read()
                names.append(picture.name)
                yield pixels
        except (OSError, ValueError) as error:
            failed.append(" ".join(str(error).split()))
    if failed:
        print(f"segedu: {len(failed)} files left out: {failed[0]}", file=sys.stderr)
