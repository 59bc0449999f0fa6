"""Executing the notebooks notices what changed: outputs, numbers, errors, absence."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.chapters.expected import differences, main, promised, results_in
from tests.chapters.nbval_results import pytest_collection_finish
from tests.chapters.prose import ROOT

GOOD, BAD = "chapters/01-part/01-good.ipynb", "chapters/01-part/02-bad.ipynb"


def store(root: Path, name: str, sources: list[str], printed: str) -> None:
    """A stored notebook: cells that print, then a results cell that claims an IoU of 0.6."""
    cells = [new_code_cell(text, execution_count=n) for n, text in enumerate(sources, start=1)]
    for cell in cells[:-1]:
        cell.outputs = [new_output("stream", name="stdout", text=f"{printed}\n")]
    stored = {"text/plain": "{'iou': 0.6}"}
    cells[-1].outputs = [new_output("execute_result", stored, execution_count=len(cells))]
    cells[-1].metadata["tags"] = ["results", "nbval-ignore-output"]
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), root / name)


def execute(root: Path) -> subprocess.CompletedProcess:
    """The command of `make check-notebooks`, in another folder and with one process."""
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "rfc3987_syntax.py").write_text("raise ImportError")  # as in tests/conftest.py
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "chapters", "--color=no"]
    command += ["-p", "no:cacheprovider", "-p", "tests.chapters.nbval_results"]
    command += ["-n", "1", "--dist", "loadfile", "--junitxml", "report.xml"]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{ROOT}", "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=200
    )


@pytest.mark.slow  # starts pytest and two kernels
def test_execution_passes_the_good_and_fails_the_broken(tmp_path):
    store(tmp_path, GOOD, ["print(2 + 2)", "print(3.00001e0 + 1)", "{'iou': 0.6}"], "4")
    good = nbformat.read(tmp_path / GOOD, as_version=4)
    good.cells[1].outputs[0].text = "4.00001999\n"  # equal to four decimals
    nbformat.write(good, tmp_path / GOOD)
    store(tmp_path, BAD, ["print(2 + 2)", "1 / 0", "{'iou': 0.7, 'dice': 0.8}"], "5")
    (tmp_path / "book").mkdir()
    promise = f"{GOOD}: {{cpu: {{iou: 0.61 ± 0.02}}}}\n{BAD}: {{cpu: {{iou: 0.6 ± 0.05, n: 1}}}}\n"
    (tmp_path / "book" / "expected.yml").write_text(promise, encoding="utf-8")

    done = execute(tmp_path)

    assert done.returncode == 1, done.stdout + done.stderr
    cases = ElementTree.parse(tmp_path / "report.xml").iter("testcase")
    verdicts = [(case.get("classname"), case.find("failure") is None) for case in cases]
    assert [passed for name, passed in verdicts if "01-good" in name] == [True] * 3
    assert [passed for name, passed in verdicts if "02-bad" in name] == [False] * 3
    assert "ZeroDivisionError" in done.stdout
    assert (
        f"{BAD}: dice is not in expected.yml; iou = 0.7, expected 0.6 ± 0.05; "
        "n is missing from the results"
    ) in done.stdout


def test_no_notebook_is_not_success(tmp_path):
    (tmp_path / "chapters").mkdir()
    assert execute(tmp_path).returncode not in (0, 1)
    with pytest.raises(pytest.UsageError, match="no notebook with a cell tagged 'results'"):
        pytest_collection_finish(SimpleNamespace(items=[]))


def test_promises_are_read_and_compared(tmp_path):
    file = tmp_path / "expected.yml"
    file.write_text("a.ipynb:\n  gpu:\n    iou: 0.5 ± 0.1\n    n: 3\n", encoding="utf-8")
    promise = promised("a.ipynb", "gpu", file)
    assert promise == {"iou": (0.5, 0.1), "n": (3.0, 0.0)}
    assert differences({"iou": 0.6, "n": 3}, promise) == []
    assert differences({"iou": 0.39, "n": 4}, promise) == [
        "iou = 0.39, expected 0.5 ± 0.1",
        "n = 4, expected 3.0 ± 0.0",
    ]
    for notebook, profile in (("a.ipynb", "cpu"), ("b.ipynb", "gpu")):
        with pytest.raises(LookupError, match=f"no entry {notebook}: {profile}"):
            promised(notebook, profile, file)


@pytest.mark.parametrize(
    "text", ["", "0.5", "{}", "{'a': nan}", "{'a': True}", "{'a': [1]}", "f()"]
)
def test_results_must_be_numbers(text):
    output = {"output_type": "execute_result", "data": {"text/plain": text}}
    with pytest.raises(ValueError, match="results"):
        results_in([output])


def test_command_line_checks_a_papermill_run(tmp_path, capsys, monkeypatch):
    store(tmp_path, GOOD, ["{'iou': 0.6}"], "")
    file = tmp_path / "expected.yml"
    monkeypatch.setattr("tests.chapters.expected.EXPECTED", file)
    for promise, status in (("0.6 ± 0.01", 0), ("0.8 ± 0.01", 1)):
        file.write_text(f"{GOOD}: {{gpu: {{iou: {promise}}}}}\n", encoding="utf-8")
        assert main(str(tmp_path / GOOD), GOOD, "gpu") == status
    assert capsys.readouterr().out.splitlines() == [
        f"{GOOD}: as expected (gpu)",
        "iou = 0.6, expected 0.8 ± 0.01",
    ]
