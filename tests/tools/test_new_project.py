"""A new project runs as it is written, is held to its own limits, and spends its test once."""

import json
import multiprocessing
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from PIL import Image

from segedu.cli import main
from segedu.clinic.cards import DATA_QUESTIONS, MODEL_QUESTIONS
from segedu.tools.new_project import FILES, new_project
from tests.once import once

BOOK = Path(__file__).resolve().parents[2]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """What ``python ARGUMENTS`` does in the folder."""
    paths = os.pathsep.join([str(BOOK), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "TQDM_DISABLE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def become(folder: Path, script: str, arguments: list[str], out: Path, err: Path) -> None:
    """In a process of its own: run a script of the folder, and write what it says into files."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ["TQDM_DISABLE"] = "1"
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(folder))
    runpy.run_path(script, run_name="__main__")


def stages(folder: Path, *arguments: str, script: str = "run.py") -> subprocess.CompletedProcess:
    """The same of a script, in a process that has torch imported already: that takes seconds."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["segedu.engine", "segedu.cli", "segedu.clinic.audit"])
    files = [folder.parent / f"{name}-{time.monotonic_ns()}" for name in ("out", "err")]
    process = server.Process(target=become, args=(folder, script, [*arguments], *files))
    process.start()
    process.join()
    said = [file.read_text(encoding="utf-8") for file in files]
    return subprocess.CompletedProcess([script, *arguments], process.exitcode, *said)


@pytest.fixture
def project(tmp_path) -> Path:
    return new_project(tmp_path / "my_cars")


def test_every_file_is_there_and_named(project):
    written = {p.relative_to(project).as_posix() for p in project.rglob("*") if p.is_file()}
    assert written == set(FILES) and [p.name for p in project.parent.iterdir()] == ["my_cars"]
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# my_cars\n") and "在 test 上验收" in readme
    assert (project / "requirements.txt").read_text().endswith("-py3-none-any.whl\n")
    for file in FILES:
        text = (project / file).read_text(encoding="utf-8")
        assert "SOURCE" not in text and "# NAME" not in text
    settings = tomllib.loads((project / "config.toml").read_text(encoding="utf-8"))
    assert set(settings["data-sheet"]) == set(DATA_QUESTIONS)
    assert set(settings["model-card"]) == set(MODEL_QUESTIONS)
    workflow = yaml.safe_load((project / ".github/workflows/project.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["stages"]["steps"]]
    assert any(step.startswith("rm -r data/test") for step in steps) and "python run.py" in steps
    assert not any("acceptance" in step for step in steps)


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


STAGES = (
    ["requirements", "labels", "leakage", "baseline", "train"]
    + ["errors", "ablation", "cards", "acceptance", "drift"]
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A painted project after ``python run.py``, and what that printed; its test is not there."""

    def build() -> Path:
        folder = new_project(tmp_path_factory.mktemp("projects") / "my_cars")
        done = run(folder, "run.py")
        said = "run.py: there are no data yet: python paint.py paints those of the example\n"
        assert (done.returncode, done.stderr) == (1, said)
        assert stages(folder, script="paint.py").returncode == 0
        (folder / "data" / "test").rename(folder.parent / "test")
        done = stages(folder)
        assert done.returncode == 0, done.stderr
        (folder.parent / "printed.txt").write_text(done.stdout, encoding="utf-8")
        return folder

    folder = once("new-project", tmp_path_factory, build)
    return folder, (folder.parent / "printed.txt").read_text(encoding="utf-8")


@pytest.fixture
def ready(finished, tmp_path) -> Path:
    """A copy of it with its test."""
    folder = tmp_path / "my_cars"
    shutil.copytree(finished[0], folder)
    shutil.copytree(finished[0].parent / "test", folder / "data" / "test")
    return folder


def limits(folder: Path, **values: float) -> None:
    """Change limits in config.toml."""
    text = (folder / "config.toml").read_text(encoding="utf-8")
    for name, value in values.items():
        text = re.sub(rf"^{name} = [\d.]+", f"{name} = {value}", text, flags=re.M)
    (folder / "config.toml").write_text(text, encoding="utf-8")


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow  # networks train
def test_every_stage_but_acceptance_runs_without_the_test_split(finished):
    folder, printed = finished
    assert re.findall(r"^== (\w+)$", printed, re.M) == [s for s in STAGES if s != "acceptance"]
    assert not (folder / "test-log.jsonl").exists()
    log = lines(folder / "runs" / "log.jsonl")
    assert len(log) == 6 and {run["train"]["loss"] for run in log} == {"ce", "ce+dice"}
    assert all(set(run["scores"]) == {"all", "noon", "dusk"} for run in log)
    assert "run again from this line: scores 0.000000 apart" in printed
    assert "have drifted: input: sharpness" in printed
    sheet, card = ((folder / "cards" / f"{name}.md").read_text(encoding="utf-8")
                   for name in ("data-sheet", "model-card"))  # fmt: skip
    assert "**val**" in sheet and "**test**" not in sheet
    assert re.search(r"mean score, dusk, of 10 \| 0\.\d{4} \| 0\.\d{4} – 0\.\d{4} ", card)
    done = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0 and "4 passed" in done.stdout


@pytest.mark.slow
def test_what_a_stage_must_not_pass_ends_the_run(ready):
    done = stages(ready, "tain")
    assert (done.returncode, done.stderr) == (
        1,
        f"run.py: no stage 'tain'; stages: {', '.join(STAGES)}\n",
    )
    limits(ready, times_baseline=30.0)
    assert stages(ready, "errors").returncode == 0
    done = run(ready, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 1 and "1 failed, 3 passed" in done.stdout
    for kind in ("images", "masks"):  # a picture to learn from comes into test, a little darker
        picture = Image.open(ready / "data" / "train" / kind / "noon_003.png")
        changed = picture.point(lambda value: value * 0.9) if kind == "images" else picture
        changed.save(ready / "data" / "test" / kind / "noon_new.png")
    done = stages(ready, "acceptance")
    said = "leakage: train/noon_003 and test/noon_new look alike: take one of them away\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert not (ready / "test-log.jsonl").exists()
    text = (ready / "config.toml").read_text(encoding="utf-8")
    text = re.sub(r'^harmed = ".*"$', 'harmed = " "', text, flags=re.M)
    (ready / "config.toml").write_text(text, encoding="utf-8")
    done = stages(ready)
    said = "config.toml, [requirements]: harmed needs an answer\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.slow
def test_acceptance_counts_and_a_bad_group_fails_it(ready):
    done = stages(ready, "acceptance")
    assert done.returncode == 0, done.stderr
    assert "test has been scored 1 times" in done.stdout
    card = (ready / "cards" / "model-card.md").read_text(encoding="utf-8")
    assert "data, test: images ｜ 图像 20;" in card
    limits(ready, mean=0.05, times_baseline=0.1)
    for file in (ready / "data" / "test" / "images").glob("dusk_*.png"):
        Image.new("RGB", (64, 64)).save(file)
    done = stages(ready, "acceptance")
    assert (done.returncode, done.stderr) == (1, "acceptance: not met: worst_group\n")
    assert "test has been scored 2 times" in done.stdout
    assert len({entry["network"] for entry in lines(ready / "test-log.jsonl")}) == 1


@pytest.mark.slow
def test_what_a_project_does_not_have_is_said_and_the_run_goes_on(ready):
    for kind in ("images", "masks"):
        picture = ready / "data" / "second" / kind / "noon_000.png"
        picture.rename(picture.with_name("other.png"))
    done = stages(ready, "labels")
    said = "labels: data/second: other is not in train\n"
    assert (done.returncode, done.stderr) == (1, said)
    shutil.rmtree(ready / "data" / "second")
    shutil.rmtree(ready / "data" / "incoming")
    done = stages(ready, "labels", "drift")
    assert done.returncode == 0, done.stderr
    assert "agreement: not measured; a second person labels some of train: data/second/" in (
        done.stdout
    )
    assert (
        "drift: not measured; pictures that come after the release: data/incoming/" in done.stdout
    )
