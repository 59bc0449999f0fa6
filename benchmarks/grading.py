"""How long a class of sixty takes to be graded, behind walls, two submissions at a time.

    python benchmarks/grading.py            # writes book/results/grading.json; two minutes
    python benchmarks/grading.py --quick    # three submissions, no file

Two of three students hand in the solutions, the others the stubs.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import race
from segedu.files import write_json
from segedu.machine import describe
from segedu.teaching.assignment import write_assignment
from segedu.teaching.grading import collect, grade_all
from segedu.teaching.sandbox import Limits

EXERCISES, STUDENTS, JOBS = ["unet:1,3"], 60, 2


def main() -> None:
    quick = race.command_line(__doc__, "three submissions, no file").parse_args().quick
    students = 3 if quick else STUDENTS
    with tempfile.TemporaryDirectory() as folder:
        hw1, submissions = Path(folder, "hw1"), Path(folder, "submissions")
        chapters = race.RESULTS.parents[1] / "chapters"
        assignment = write_assignment(EXERCISES, hw1, chapters=chapters)
        solved, empty = hw1 / "source/hw1/hw1.ipynb", hw1 / "students/both/hw1.ipynb"
        for number in range(students):
            handed_in = submissions / f"student-{number:02d}" / "hw1.ipynb"
            handed_in.parent.mkdir(parents=True)
            shutil.copy(solved if number % 3 else empty, handed_in)
        start = time.monotonic()
        grades = grade_all(assignment, collect(assignment, submissions), Limits(), jobs=JOBS)
        seconds = round(time.monotonic() - start)
    full = sum(task.points for task in assignment.tasks)
    result = {
        "command": "python benchmarks/grading.py",
        "machine": describe("cpu"),
        "exercises": [task.name for task in assignment.tasks],
        "submissions": len(grades),
        "jobs": JOBS,
        "right": sum(grade.points == full for grade in grades),
        "empty": sum(grade.points == 0 for grade in grades),
        "seconds": seconds,
    }
    print(result)
    if not quick:
        print(write_json(race.RESULTS / "grading.json", result))


if __name__ == "__main__":
    main()
