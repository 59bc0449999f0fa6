"""A new project runs as it is written, and is held to its own limits."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from segedu.cli import main
from segedu.clinic.cards import DATA_QUESTIONS, MODEL_QUESTIONS
from segedu.tools.new_project import FILES, new_project

BOOK = Path(__file__).resolve().parents[2]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join([str(BOOK), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "TQDM_DISABLE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path) -> Path:
    return new_project(tmp_path / "my_cars")


def test_every_file_is_there_and_named(project):
    written = {p.relative_to(project).as_posix() for p in project.rglob("*") if p.is_file()}
    assert written == set(FILES) and [p.name for p in project.parent.iterdir()] == ["my_cars"]
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# my_cars\n") and "验收测试" in readme
    assert (project / "requirements.txt").read_text().endswith("-py3-none-any.whl\n")
    for file in FILES:
        text = (project / file).read_text(encoding="utf-8")
        assert "SOURCE" not in text and "# NAME" not in text
    settings = tomllib.loads((project / "config.toml").read_text(encoding="utf-8"))
    assert set(settings["data-sheet"]) == set(DATA_QUESTIONS)
    assert set(settings["model-card"]) == set(MODEL_QUESTIONS)
    workflow = yaml.safe_load((project / ".github/workflows/project.yml").read_text())
    assert "python run.py" in [step.get("run") for step in workflow["jobs"]["acceptance"]["steps"]]


def test_an_empty_folder_is_filled_and_a_full_one_is_left_alone(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    words = [str(tmp_path / "empty"), "--source", "git+https://example.org/segedu"]
    assert main(["project", "new", *words]) == 0
    requirements = (tmp_path / "empty" / "requirements.txt").read_text()
    assert requirements.endswith("\ngit+https://example.org/segedu\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    for name, said in (("full", "is there already: choose another"), ("a b", "got 'a b'")):
        capsys.readouterr()
        assert main(["project", "new", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("segedu: error: ") and said in error and error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "full"]
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine"]


def test_nothing_is_left_of_a_project_that_could_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setitem(FILES, "last", "no template")
    with pytest.raises(FileNotFoundError):
        new_project(tmp_path / "cars")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # a network trains
def test_it_runs_as_written_and_passes_its_acceptance_test_only_then(project):
    config = project / "config.toml"
    text = config.read_text(encoding="utf-8")
    done = run(project, "run.py", "tain")
    assert (done.returncode, done.stderr) == (
        2,
        "run.py: no stage 'tain'; stages: check, baseline, train, evaluate, cards\n",
    )
    done = run(project, "run.py")
    assert done.returncode == 0, done.stderr
    done = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    config.write_text(text.replace("times_baseline = 3.0", "times_baseline = 30.0"))
    done = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 1 and "1 failed, 5 passed" in done.stdout
    card = (project / "cards" / "model-card.md").read_text(encoding="utf-8")
    assert "| network ｜ 网络 | unet (base_width=8, depth=3) |" in card
