"""The workflows run what exists here, with actions that cannot change under them."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))


def steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def test_there_is_one_for_each_purpose():
    assert [path.stem for path in WORKFLOWS] == ["book", "release", "test", "weekly"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_a_commit(path):
    used = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_they_call_exists(path):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    script = "\n".join(step.get("run", "") for step in steps(path))
    for target in re.findall(r"\bmake ([a-z-]+)", script):
        assert target in targets, target
    for module in re.findall(r"python -m ((?:segedu|tests)[\w.]*)", script):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_nobody_may_write_but_who_must(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    writers = {
        name for name, job in workflow["jobs"].items() if "write" in str(job.get("permissions"))
    }
    assert writers <= {"deploy", "release"}
    for text in (step.get("run", "") for step in steps(path)):
        assert "${{" not in text, "an expression in a script can be made to run as code: use env"


@pytest.mark.parametrize("path", sorted(FORGE.rglob("*.yml")), ids=lambda path: path.stem)
def test_forms_are_well_formed(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))
