"""An assignment is a course of nbgrader: its own programs validate, release and grade it."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segedu.teaching.assignment import write_assignment

ROOT = Path(__file__).resolve().parents[2]
NBGRADER = os.environ.get("NBGRADER") or shutil.which("nbgrader")

pytestmark = [
    pytest.mark.weekly,  # starts eight kernels
    pytest.mark.skipif(
        not NBGRADER, reason="nbgrader is not installed: requirements-teaching.txt, $NBGRADER"
    ),
]


def test_nbgrader_validates_releases_and_grades(tmp_path):
    course = tmp_path / "hw1"
    chosen = ["unet:1,3,4", "region-losses:4"]
    write_assignment(chosen, course, points=["2"], chapters=ROOT / "chapters")
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    content = {"argv": command, "display_name": "Python 3", "language": "python"}
    kernel.write_text(json.dumps(content | {"env": {"PYTHONPATH": str(ROOT)}}))
    environment = os.environ | {"JUPYTER_PATH": str(tmp_path / "jupyter"), "PYTHONPATH": ""}
    environment["PATH"] = f"{Path(NBGRADER).parent}{os.pathsep}{environment['PATH']}"

    def nbgrader(*arguments: str) -> None:
        subprocess.run([NBGRADER, *arguments], cwd=course, env=environment, check=True)

    nbgrader("validate", "source/hw1/hw1.ipynb")
    nbgrader("generate_assignment", "hw1", "--create")
    released = (course / "release" / "hw1" / "hw1.ipynb").read_text(encoding="utf-8")
    assert "side -= 4" not in released and "SOLUTION" not in released
    for student, made in (("ada", "source/hw1"), ("bob", "students/zh")):
        folder = course / "submitted" / student / "hw1"
        folder.mkdir(parents=True)
        shutil.copy(course / made / "hw1.ipynb", folder)
    nbgrader("autograde", "hw1")
    nbgrader("export", "--to=grades.csv")
    with (course / "grades.csv").open(encoding="utf-8") as file:
        scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert scores == {"ada": 6, "bob": 0}  # of 8: a person gives 2
