"""What commands share: parsing, and options that several of them have."""

from __future__ import annotations

import argparse
import ast
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu.files import user_path

if TYPE_CHECKING:
    import torch


class Parser(argparse.ArgumentParser):
    """A parser whose --help fits a screen: rare options are listed by --help-all alone.

    Args:
        examples: two or more commands, without the name of the program.
    """

    def __init__(self, *, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(
            usage="%(prog)s [options]",
            formatter_class=_formatter,
            **settings,
        )
        self.examples = examples
        self.rare: dict[argparse.Action, str] = {}
        self.epilog_all = ""  # instead of the epilog in --help-all

    def add_rare(self, *names: str, help: str, **settings: Any) -> None:
        """Like ``add_argument``, for an option that few people need."""
        if not self.rare:
            self.add_argument("--help-all", action=_HelpAll, help="show the rarer options, too")
        action = self.add_argument(*names, help=argparse.SUPPRESS, **settings)
        self.rare[action] = help

    def format_help(self) -> str:
        """The help, with the examples at its end."""
        lines = "".join(f"  python -m segedu {example}\n" for example in self.examples)
        return f"{super().format_help()}\nexamples:\n{lines}"


def _formatter(prog: str) -> argparse.HelpFormatter:
    """At most 100 columns, an option and its explanation on one line where they fit."""
    width = min(100, shutil.get_terminal_size().columns)
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=width)


class _HelpAll(argparse.Action):
    """Show every option and stop."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: Parser, *_: Any) -> None:
        for action, text in parser.rare.items():
            action.help = text
        parser.epilog = parser.epilog_all or parser.epilog
        parser.print_help(sys.stdout)
        parser.exit()


class AsTuple(argparse.Action):
    """Several values as a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        """Keep them."""
        setattr(namespace, self.dest, tuple(values))


def find_root(layout: str, data: str) -> Path:
    """The root folder that ``--data`` names.

    Raises:
        ValueError: if it names none, and the layout is one of files.
    """
    if not data and layout != "scenes":
        raise ValueError(f"--data is missing: the root folder of the {layout} data set")
    return user_path(data)


def assignment(text: str) -> tuple[str, Any]:
    """``name=value`` of ``--set``; the value is a Python literal, true, false or a word."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, literal(value)


def add_settings(parser: Parser, help: str) -> None:
    """``--set`` of networks."""
    parser.add_argument(
        "--set", type=assignment, action="append", default=[], metavar="NAME=VALUE", help=help
    )


def literal(value: str) -> Any:
    """A Python literal, true, false, none or else the word itself."""
    words = {"true": True, "false": False, "none": None}
    try:
        return words[value.lower()] if value.lower() in words else ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def add_image_size(add: Callable[..., object], help: str) -> None:
    """``--image-size``, by ``add_argument`` or ``add_rare`` of a parser."""
    add("--image-size", type=int, nargs=2, metavar=("H", "W"), help=help)


def add_device(parser: Parser) -> None:
    """Where to compute."""
    parser.add_argument("--device", default="", help="cpu, cuda, cuda:1 (default: a GPU if any)")


def find_device(name: str) -> torch.device:
    """The device of that name; of none a GPU if there is one.

    Raises:
        ValueError: if there is no such device.
    """
    import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(f"--device must be cpu, cuda or cuda:N, got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices")
    return device


def add_prediction(parser: Parser, *, required: bool) -> None:
    """The checkpoint, and how a network looks at images."""
    parser.add_argument(
        "--checkpoint",
        required=required,
        help="best.pt or last.pt of a training, or the .onnx of a semantic network",
    )
    parser.add_argument("--window", type=int, help="predict in windows of this side")
    parser.add_argument("--tta", action="store_true", help="average over the mirror image")
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        help="with --tta also average over these scales",
    )
    add_image_size(parser.add_rare, "scale pictures into this (default: as trained)")
    add_settings(parser, "a setting that holds no weights, such as min_size=512; may be repeated")
    add_device(parser)


def print_absent(classes: Sequence[str]) -> None:
    """Say which classes have no row in a table, if there are some."""
    if classes:
        more = f", ... ({len(classes)} classes)" if len(classes) > 8 else ""
        print(f"absent: {', '.join(classes[:8])}{more}")
