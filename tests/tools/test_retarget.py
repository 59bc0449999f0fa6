"""Pointing the notebooks at another repository changes one line and nothing else."""

import json
from pathlib import Path

import pytest

from segedu.tools.retarget import main, retarget
from segedu.tools.setup_cell import setup_cell

URL = "https://example.org/teacher/fork"


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
def test_only_the_constant_changes(tmp_path, newline):
    one, two = tmp_path / "01-part" / "01-a.ipynb", tmp_path / "02-part" / "01-b.ipynb"
    before = [write(path, setup_cell(), newline) for path in (one, two)]

    assert retarget(tmp_path, URL, "spring/2027") == [one, two]

    for path, old in zip((one, two), before, strict=True):
        assert path.read_bytes() == old.replace(
            b'REPOSITORY = \\"\\"', f'REPOSITORY = \\"{URL}@spring/2027\\"'.encode()
        )
    assert retarget(tmp_path, URL, "spring/2027") == []
    assert retarget(tmp_path, "") == [one, two]
    assert [one.read_bytes(), two.read_bytes()] == before
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "01-a.ipynb",
        "01-b.ipynb",
    ]


@pytest.mark.parametrize(
    "spoiled",
    [
        setup_cell() + "\nprint(1)",
        setup_cell().replace("REPOSITORY", "REPO"),
        setup_cell() + '\nREPOSITORY = ""  # URL@BRANCH',
    ],
    ids=["edited", "no constant", "two constants"],
)
def test_one_spoiled_cell_stops_everything(tmp_path, spoiled):
    good, bad = tmp_path / "01-a.ipynb", tmp_path / "02-b.ipynb"
    before = write(good, setup_cell())
    write(bad, spoiled)
    with pytest.raises(ValueError, match=r"02-b\.ipynb: the cell tagged 'setup'"):
        retarget(tmp_path, URL)
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
def test_refuses_what_pip_would_misread(tmp_path, url, branch, message):
    write(tmp_path / "a.ipynb", setup_cell())
    with pytest.raises(ValueError, match=message):
        retarget(tmp_path, url, branch)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no notebook"):
        retarget(tmp_path, URL)


def test_command_line(tmp_path, capsys):
    write(tmp_path / "a.ipynb", setup_cell())
    assert main([URL, "--chapters", str(tmp_path)]) == 0
    assert "1 notebook(s) changed" in capsys.readouterr().out
    assert f"{URL}@main" in (tmp_path / "a.ipynb").read_text(encoding="utf-8")
    assert main(["nonsense", "--chapters", str(tmp_path)]) == 1
    assert "url must look like" in capsys.readouterr().err
