"""Begin a project: a folder that runs at once on painted scenes, in ten stages."""

import argparse

from segedu.cli.options import Parser
from segedu.files import user_path
from segedu.tools.new_project import WHEEL, new_project

EXAMPLES = (
    "project new cars",
    "project new cars --source git+https://example.org/segedu.git",
)


def add_options(parser: Parser) -> None:
    """What to do, and with which name."""
    parser.add_argument("action", choices=("new",), help="lay a project out")
    parser.add_argument("name", metavar="NAME", help="folder to be made")
    parser.add_argument(
        "--source", default=WHEEL, help="where pip finds segedu (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Write the folder, and say what comes next."""
    folder = new_project(user_path(options.name), source=options.source)
    print(f"{folder}: cd {folder}; python paint.py; python run.py")
