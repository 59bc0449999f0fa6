"""Pointing the notebooks at another repository changes one line and nothing else."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from segedu.tools.retarget import main, retarget
from segedu.tools.setup_cell import setup_cell

URL = "https://example.org/teacher/fork"
BOOK = Path(__file__).resolve().parents[2]
OTHERS = ("_config.yml", "pyproject.toml", "CITATION.cff", "README.md")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A book without notebooks: the other files that name the address, as they are here."""
    for name in OTHERS:
        shutil.copy(BOOK / name, tmp_path)
    retarget_files(tmp_path)
    return tmp_path


def retarget_files(root: Path) -> None:
    """Take the address away, whatever it is in this repository."""
    write(root / "chapters" / "first.ipynb", setup_cell())
    retarget(root, "")
    (root / "chapters" / "first.ipynb").unlink()


def write(path: Path, setup: str, newline: str = "\n") -> bytes:
    """A notebook with Chinese text, odd spacing and CRLF if asked: all must survive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = {
        "cells": [
            {"cell_type": "markdown", "metadata": {"tags": ["lang-zh"]}, "source": ["掩膜 é"]},
            {
                "cell_type": "code",
                "execution_count": 1,
                "metadata": {"tags": ["setup", "hide-input"]},
                "outputs": [],
                "source": setup.splitlines(keepends=True),
            },
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    text = json.dumps(notebook, indent=3, ensure_ascii=False) + "  \n\n"
    path.write_bytes(text.replace("\n", newline).encode())
    return path.read_bytes()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_the_constant_of_a_notebook_changes(root, newline):
    one = root / "chapters" / "01-part" / "01-a.ipynb"
    two = root / "chapters" / "02-part" / "01-b.ipynb"
    before = [write(path, setup_cell(), newline) for path in (one, two)]
    files = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    changed = retarget(root, URL, "spring/2027")

    assert changed == [one, two, *(root / name for name in OTHERS)]
    for path, old in zip((one, two), before, strict=True):
        assert path.read_bytes() == old.replace(
            b'REPOSITORY = \\"\\"', f'REPOSITORY = \\"{URL}@spring/2027\\"'.encode()
        )
    assert retarget(root, URL, "spring/2027") == []
    assert retarget(root, "") == changed
    assert {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()} == files


@pytest.mark.parametrize("ending", ["", "/", ".git", ".git/"])
def test_every_file_names_the_address(root, ending):
    write(root / "chapters" / "a.ipynb", setup_cell())
    retarget(root, f"https://github.com/teacher/fork{ending}", "spring")
    setup = (root / "chapters" / "a.ipynb").read_text(encoding="utf-8")
    assert "https://github.com/teacher/fork@spring" in setup
    configured = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    assert configured["repository"] == {
        "url": "https://github.com/teacher/fork",
        "branch": "spring",
    }
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"] == {
        "Repository": "https://github.com/teacher/fork",
        "Issues": "https://github.com/teacher/fork/issues",
        "Changelog": "https://github.com/teacher/fork/blob/spring/CHANGELOG.md",
    }
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == "https://github.com/teacher/fork"
    clone = "git clone --branch spring https://github.com/teacher/fork\ncd fork\n"
    assert (root / "README.md").read_text(encoding="utf-8").count(clone) == 2


def test_another_branch_replaces_the_first(root):
    write(root / "chapters" / "a.ipynb", setup_cell())
    retarget(root, URL, "main")
    first = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    retarget(root, "https://github.com/teacher/fork", "v2")
    retarget(root, URL, "main")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == first


@pytest.mark.parametrize(
    ("name", "old", "message"),
    [
        ("_config.yml", "repository:", "needs the lines repository"),
        ("pyproject.toml", "[/address]", "needs a region"),
    ],
)
def test_a_file_without_the_place_stops_everything(root, name, old, message):
    notebook = root / "chapters" / "a.ipynb"
    before = write(notebook, setup_cell())
    path = root / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, "x"), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        retarget(root, URL)
    assert notebook.read_bytes() == before


@pytest.mark.parametrize(
    "spoiled",
    [
        setup_cell() + "\nprint(1)",
        setup_cell().replace("REPOSITORY", "REPO"),
        setup_cell() + '\nREPOSITORY = ""  # URL@BRANCH',
    ],
    ids=["edited", "no constant", "two constants"],
)
def test_one_spoiled_cell_stops_everything(root, spoiled):
    good, bad = root / "chapters" / "01-a.ipynb", root / "chapters" / "02-b.ipynb"
    before = write(good, setup_cell())
    write(bad, spoiled)
    with pytest.raises(ValueError, match=r"02-b\.ipynb: the cell tagged 'setup'"):
        retarget(root, URL)
    assert good.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "branch", "message"),
    [
        ("example.org/x", "main", "url must look like"),
        ("https://example.org/a b", "main", "url must look like"),
        ('https://example.org/"; import os', "main", "url must look like"),
        ("--index-url=https://example.org", "main", "url must look like"),
        (URL, "", "branch must be"),
        (URL, "-f", "branch must be"),
        (URL, 'x"', "branch must be"),
        (URL, "a\nb", "branch must be"),
    ],
)
def test_refuses_what_pip_would_misread(root, url, branch, message):
    write(root / "chapters" / "a.ipynb", setup_cell())
    with pytest.raises(ValueError, match=message):
        retarget(root, url, branch)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no notebook"):
        retarget(tmp_path, URL)


def test_command_line(root, capsys):
    notebook = root / "chapters" / "a.ipynb"
    write(notebook, setup_cell())
    assert main([URL, "--root", str(root), "--check"]) == 1
    assert "a.ipynb names another address" in capsys.readouterr().out
    assert URL not in notebook.read_text(encoding="utf-8")
    assert main([URL, "--root", str(root)]) == 0
    assert "5 file(s) changed" in capsys.readouterr().out
    assert f"{URL}@main" in notebook.read_text(encoding="utf-8")
    assert main([URL, "--root", str(root), "--check"]) == 0
    assert main(["nonsense", "--root", str(root)]) == 2
    assert "url must look like" in capsys.readouterr().err
