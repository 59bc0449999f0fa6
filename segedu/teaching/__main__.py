"""Command line for instructors: ``python -m segedu.teaching student|template|assignment|grade``."""

import argparse
import shlex
import sys
from datetime import datetime
from pathlib import Path

from segedu.teaching.assignment import read_assignment, write_assignment
from segedu.teaching.grading import collect, grade_all, write_grades
from segedu.teaching.sandbox import Limits, bubblewrap
from segedu.teaching.student import student_edition
from segedu.teaching.template import write_template


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

    template = commands.add_parser("template", help="an exercise of one's own to start from")
    template.add_argument("notebook", type=Path, help="mine writes mine.ipynb and mine.py")
    template.set_defaults(run=_template)

    hand_out = commands.add_parser("assignment", help="exercises of any chapters, with points")
    hand_out.add_argument("exercises", nargs="+", help="CHAPTER or CHAPTER:1,3 or own.ipynb:1")
    hand_out.add_argument("--out", type=Path, required=True, help="its folder, such as hw1")
    hand_out.add_argument("--points", nargs="+", default=["1"], help="NUMBER and NAME=NUMBER")
    hand_out.add_argument("--chapters", type=Path, default=Path("chapters"))
    hand_out.set_defaults(run=_assignment)

    marks = commands.add_parser("grade", help="run submissions behind walls, and grade them")
    marks.add_argument("assignment", type=Path, help="the folder that `assignment` wrote")
    marks.add_argument("submissions", type=Path, help="a notebook or a folder per student")
    marks.add_argument("--out", type=Path, default=Path("grades.csv"))
    marks.add_argument("--due", type=datetime.fromisoformat, help="2027-03-01T23:59: mark the late")
    marks.add_argument("--jobs", type=int, default=2, help="submissions at a time")
    marks.add_argument("--seconds", type=float, default=Limits.seconds, help="for one cell")
    walls = marks.add_mutually_exclusive_group()
    walls.add_argument("--container", help="command that runs a Python in a container")
    walls.add_argument("--trust", action="store_true", help="no walls at all")
    marks.set_defaults(run=_grade)

    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError) as error:
        print(f"segedu.teaching: {error}", file=sys.stderr)
        return 2
    return 0


def _student(options: argparse.Namespace) -> None:
    print(student_edition(options.chapters, options.out, options.language))


def _template(options: argparse.Namespace) -> None:
    made = write_template(options.notebook)
    print(f"{made} and {made.with_suffix('.py')}: change both, then: assignment {made}:1")


def _assignment(options: argparse.Namespace) -> None:
    made = write_assignment(
        options.exercises, options.out, points=options.points, chapters=options.chapters
    )
    total = sum(task.points for task in made.tasks)
    read = [task.name for task in made.tasks if task.by_person]
    print(f"{options.out}: {len(made.tasks)} exercises, {total:g} points")
    if read:
        print(f"read by a person: {', '.join(read)}")
    print(f"hand out {options.out / 'students'}; keep everything else")


def _grade(options: argparse.Namespace) -> None:
    assignment = read_assignment(options.assignment)
    submissions = collect(assignment, options.submissions, options.due)
    container = tuple(shlex.split(options.container or ""))
    if not container and not options.trust:
        bubblewrap(Limits())  # is it there?
    limits = Limits(seconds=options.seconds, total_seconds=6 * options.seconds)
    grades = grade_all(
        assignment,
        submissions,
        limits,
        jobs=options.jobs,
        container=container,
        trust=options.trust,
    )
    write_grades(assignment, grades, options.out)
    print(f"{options.out}: {len(grades)} students")


if __name__ == "__main__":
    sys.exit(main())
