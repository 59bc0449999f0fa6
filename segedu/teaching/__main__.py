"""Command line for instructors: ``python -m segedu.teaching student``."""

import argparse
import sys
from pathlib import Path

from segedu.teaching.student import student_edition


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m segedu.teaching", description="Hand out, collect, grade."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    student = commands.add_parser("student", help="every chapter without solutions")
    student.add_argument("--language", default="both", choices=("en", "zh", "both"))
    student.add_argument("--chapters", type=Path, default=Path("chapters"))
    student.add_argument("--out", type=Path, default=Path("_build/student"))
    student.set_defaults(run=_student)

    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError) as error:
        print(f"segedu.teaching: {error}", file=sys.stderr)
        return 2
    return 0


def _student(options: argparse.Namespace) -> None:
    print(student_edition(options.chapters, options.out, options.language))


if __name__ == "__main__":
    sys.exit(main())
