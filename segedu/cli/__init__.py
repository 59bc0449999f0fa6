"""The command line, one module per command: ``python -m segedu --help``, or ``segedu --help``.

torch takes seconds to import: commands import it where they need it, so that --help does not wait.
"""

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Sequence

from segedu.cli import (
    check,
    evaluate,
    export,
    models,
    monitor,
    predict,
    project,
    quantize,
    serve,
    train,
)
from segedu.cli.datasets import as_options
from segedu.cli.options import Parser

COMMANDS = (project, check, train, evaluate, predict, export, quantize, serve, monitor, models)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; mistakes of the user become one line on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(arguments)
    options.command_line = shlex.join(["python", "-m", "segedu", *arguments])
    usual, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and options.run is not train.run:
            raise ValueError("train alone runs in several processes: start this without torchrun")
        return options.run(options) or 0
    except KeyboardInterrupt:
        hint = "; --resume goes on from the last epoch" if options.run is train.run else ""
        print(f"segedu: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError, ImportError, FloatingPointError, _checkpoint_error()) as error:
        if os.environ.get("SEGEDU_DEBUG"):
            raise
        print(f"segedu: error: {as_options(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    finally:
        warnings.formatwarning = usual


def _one_line(message: Warning | str, *_: object) -> str:
    """A warning for people: neither a class nor a line of the source."""
    return f"segedu: warning: {as_options(' '.join(str(message).split()))}\n"


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``, which may return an exit status."""
    whole = argparse.ArgumentParser(
        prog="python -m segedu",
        description="Train, judge and use segmentation networks.",
        epilog="With SEGEDU_DEBUG=1 an error shows its traceback.",
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for module in COMMANDS:
        summary = module.__doc__.strip().splitlines()[0]
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=summary, examples=module.EXAMPLES)
        command.description = summary
        module.add_options(command)
        command.set_defaults(run=module.run)
    return whole


def _checkpoint_error() -> type[Exception]:
    from segedu.engine import CheckpointError

    return CheckpointError
