"""``python -m tests.cli.two_processes ARGUMENTS`` gives them to ``segedu`` in two processes."""

import sys
from pathlib import Path

from segedu.cli import main
from tests.toy_objects import in_two_processes


def run(_: Path) -> None:
    status = main(sys.argv[1:])
    sys.stdout.flush()
    if status:
        sys.exit(status)


if __name__ == "__main__":
    sys.exit(not in_two_processes(run, Path()))
