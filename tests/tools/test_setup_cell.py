"""The setup cell finds segedu, installs it where it is missing, and touches nothing else."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from segedu.tools.setup_cell import setup_cell
from tests.tools.environments import ROOT, fingerprint, package_source, without_segedu


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """For tests that install nothing: they share it."""
    return without_segedu(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def source(tmp_path) -> Path:
    """A small git repository from which pip can install this package."""
    return committed(package_source(tmp_path / "source"))


def committed(folder: Path) -> Path:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (
        ["init", "-q"],
        ["checkout", "-q", "-B", "main"],
        ["add", "."],
        ["commit", "-q", "-m", "Import"],
    ):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    return folder


def run(python: Path, cwd: Path, code: str, url: str = "") -> subprocess.CompletedProcess:
    """Run code in an empty folder; pip may neither reach an index nor build in isolation."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "COV_"))},
        "SEGEDU_REPOSITORY_URL": url,
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # sic: pip reads it as "build isolation: no"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CONFIG_FILE": os.devnull,  # this machine's settings, too, could name an index
    }
    return subprocess.run(
        [python, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def refusal(done: subprocess.CompletedProcess) -> str:
    """What pip said, as the error of the cell shows it."""
    assert done.returncode == 1
    _, separator, said = done.stderr.rpartition("无法安装 segedu\n")
    assert separator
    return said


def test_is_small_and_valid():
    cell = setup_cell("https://example.org/a/b@main")
    compile(cell, "setup", "exec")
    assert len(cell.splitlines()) <= 30
    assert 'REPOSITORY = "https://example.org/a/b@main"' in cell
    assert cell.replace("https://example.org/a/b@main", "") == setup_cell()


def test_does_nothing_where_segedu_is_importable(tmp_path, bare_python):
    (tmp_path / "empty").mkdir()
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = sys.path[:]\n"
    code = path + setup_cell() + "\nassert sys.path == before\nimport segedu"
    done = run(bare_python, tmp_path / "empty", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_inside_a_clone_the_root_is_found(bare_python):
    code = setup_cell() + "\nimport segedu; print(segedu.__file__)"
    done = run(bare_python, ROOT / "tests" / "tools", code)
    assert (done.stdout, done.stderr) == (f"{ROOT / 'segedu' / '__init__.py'}\n", "")


def test_without_a_url_it_says_so_in_both_languages(tmp_path, bare_python):
    (tmp_path / "empty").mkdir()
    done = run(bare_python, tmp_path / "empty", setup_cell())
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("RuntimeError: Could not install segedu: no repository URL.")
    assert ".whl" in message and "没有仓库地址" in message


def test_a_folder_of_the_same_name_is_not_the_package(tmp_path, bare_python):
    (tmp_path / "empty" / "segedu").mkdir(parents=True)
    done = run(bare_python, tmp_path / "empty", setup_cell())
    assert "no repository URL" in done.stderr


def test_a_failing_install_shows_what_pip_said(tmp_path, bare_python):
    (tmp_path / "empty").mkdir()
    done = run(bare_python, tmp_path / "empty", setup_cell(f"file://{tmp_path}/nowhere@main"))
    assert f"{tmp_path}/nowhere" in refusal(done)


@pytest.mark.slow  # pip clones, builds and installs the package
def test_installs_from_git_and_leaves_torch_and_numpy_alone(tmp_path, source):
    (tmp_path / "empty").mkdir()
    bare_python = without_segedu(tmp_path)
    before = fingerprint()
    code = setup_cell() + "\nimport segedu; print(segedu.__file__)"
    done = run(bare_python, tmp_path / "empty", code, url=f"file://{source}@main")
    assert done.returncode == 0, done.stderr
    assert str(bare_python.parents[1]) in done.stdout
    assert fingerprint() == before

    again = run(bare_python, tmp_path / "empty", setup_cell())
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.slow  # pip clones and builds the package
def test_refuses_a_package_that_would_replace_torch(tmp_path, bare_python, source):
    (tmp_path / "empty").mkdir()
    metadata = source / "pyproject.toml"
    spoiled = metadata.read_text().replace('"torch>=2.10"', '"torch<2.10"')
    assert spoiled != metadata.read_text()
    metadata.write_text(spoiled)
    committed(source)
    before = fingerprint()
    done = run(bare_python, tmp_path / "empty", setup_cell(f"file://{source}@main"))
    assert re.search(r"\btorch\b", refusal(done))
    assert fingerprint() == before
