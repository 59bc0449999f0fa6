"""Submissions as students, and others, hand them in."""

import copy
import json
from pathlib import Path

from segedu.teaching.assignment import write_assignment

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
NUMBER, FUNCTION = "unet-1", "unet-3"  # the exercises of the assignment: 2 and 4 points
RIGHT_NUMBER = "answer = 140"
RIGHT_FUNCTION = """
def answer(side):
    for _ in range(4):
        side -= 4
        if side % 2:
            return 0
        side //= 2
    side -= 4
    for _ in range(4):
        side = 2 * side - 4
    return max(side, 0)
"""


def small_assignment(folder: Path):
    points = [f"{NUMBER}=2", f"{FUNCTION}=4"]
    return write_assignment(["unet:1,3"], folder, points=points, chapters=CHAPTERS)


class Class:
    """A folder of submissions to the assignment in ``folder``."""

    def __init__(self, folder: Path, assignment: Path) -> None:
        self.folder = folder
        path = assignment / "students" / "both" / f"{assignment.name}.ipynb"
        self.notebook = json.loads(path.read_text(encoding="utf-8"))

    def hand_in(self, student, number=RIGHT_NUMBER, function=RIGHT_FUNCTION, *, change=None):
        """Write the notebook of a student; ``change`` gets its cells by the key of the grade."""
        notebook = copy.deepcopy(self.notebook)
        cells = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in notebook["cells"]}
        cells[NUMBER]["source"], cells[FUNCTION]["source"] = number, function
        if change:
            change(notebook, cells)
        path = self.folder / student / "hw1.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return path
