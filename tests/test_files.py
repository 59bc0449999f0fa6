"""Files are whole or absent, and JSON is JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from segedu.files import (
    atomic_write,
    json_text,
    read_json,
    sweep,
    write_bytes,
    write_json,
    write_text,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bytes(tmp_path / "new" / "folder" / "x", b"before")


def alone(path: Path) -> bool:
    return [p.name for p in path.parent.iterdir()] == [path.name]


def test_writes_bytes_and_text_as_they_are(path):
    assert path.read_bytes() == b"before"
    write_text(path, "1\n中\r\n")
    assert path.read_bytes() == b"1\n\xe4\xb8\xad\r\n"
    assert alone(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_while_writing_leaves_the_old_file(path, error):
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        raise error
    assert path.read_bytes() == b"before" and alone(path)


def test_an_interrupt_while_writing_leaves_no_new_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "x") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_a_replaced_file_keeps_its_permissions(path):
    path.chmod(0o640)
    write_text(path, "after")
    assert path.stat().st_mode & 0o777 == 0o640


def test_sweep_removes_only_leftovers(path):
    with atomic_write(path):
        (leftover,) = (p for p in path.parent.iterdir() if p != path)
        name = leftover.name
    (path.parent / name).write_bytes(b"of a process that was killed")
    folder = path.parent / ".segedu-tmp-folder"
    folder.mkdir()  # of somebody: not a file of ours
    sweep(path.parent)
    folder.rmdir()
    assert alone(path)


def test_json(tmp_path):
    content = {"b": (1, 2.5), "a": [float("nan"), {"c": float("-inf")}], "名": None, "t": True}
    file = write_json(tmp_path / "x.json", content)
    text = file.read_text("utf-8")
    assert text == json_text(content)
    assert text.endswith("}\n") and "名" in text
    found = read_json(file)
    assert found == {"b": [1, 2.5], "a": [None, {"c": None}], "名": None, "t": True}
    assert list(found) == ["b", "a", "名", "t"]
    assert json.loads(text) == found


def test_what_is_not_json_is_refused(path):
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_bytes() == b"before" and alone(path)
    for bad in (b"{", b"\xff\xfe"):
        write_bytes(path, bad)
        with pytest.raises(ValueError, match=f"{path.name}: not a readable JSON file"):
            read_json(path)
    with pytest.raises(FileNotFoundError, match=r"none\.json: no such file"):
        read_json(path.parent / "none.json")


def test_needs_no_torch():
    code = "import sys, segedu.files, segedu.machine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
