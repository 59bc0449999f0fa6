"""A fingerprint notices everything that decides the outputs of a notebook, and nothing else."""

import json
from collections import Counter

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.chapters import fingerprints, store
from tests.chapters.fingerprints import FILE, chosen, record, records, stale, turn

NAME = "chapters/01-part/01-topic.ipynb"
OTHERS = [f"chapters/01-part/{n:02d}-topic.ipynb" for n in range(2, 9)]
WRITTEN = {
    "segedu/__init__.py": "",
    "segedu/used.py": "from pathlib import Path\n"
    "value = float((Path(__file__).parent / 'value.txt').read_text())\n",
    "segedu/value.txt": "0.5",
    "segedu/unused.py": "value = 2\n",
    "requirements.txt": "# the notebooks\nipykernel==7.4.0\n\nnever-loaded==1.0\n",
}


def write(root, written: dict[str, str]) -> None:
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.fixture
def book(tmp_path):
    """A repository with one notebook, just stored, and its package."""
    write(tmp_path, WRITTEN)
    cells = [
        new_markdown_cell("prose"),
        new_code_cell("print(1)\nprint(2)", execution_count=1),
    ]
    cells[1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="1\n2\n")]
    (tmp_path / NAME).parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells), tmp_path / NAME)
    files = ["segedu/__init__.py", "segedu/used.py", "segedu/value.txt"]
    record(
        tmp_path, tmp_path / NAME, {"files": files, "packages": ["IPyKernel", "python_dateutil"]}
    )
    return tmp_path


def change(root, old: str, new: str, name: str = NAME) -> None:
    text = (root / name).read_text(encoding="utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ((NAME, "print(2)", "print(2 )"), ["its code changed"]),
        ((NAME, '"2\\n"', '"3\\n"'), ["its outputs changed"]),
        (("segedu/used.py", "value", "number"), ["segedu/used.py changed"]),
        (("segedu/value.txt", "0.5", "0.6"), ["segedu/value.txt changed"]),
        (("requirements.txt", "7.4.0", "7.5.0"), ["ipykernel 7.4.0 became 7.5.0"]),
        (("requirements.txt", "ipykernel==7.4.0", ""), ["ipykernel 7.4.0 became unpinned"]),
        ((NAME, "prose", "better prose"), []),
        ((NAME, '"metadata": {}', '"metadata": {"tags": ["hide-input"]}'), []),
        (("segedu/unused.py", "2", "3"), []),
        (("requirements.txt", "never-loaded==1.0", "never-loaded==2.0"), []),
    ],
)
def test_what_makes_a_chapter_stale(book, changed, reasons):
    assert stale(book) == {}
    name, old, new = changed
    change(book, old, new, name)
    assert stale(book) == ({NAME: reasons} if reasons else {})


def test_a_file_that_is_gone_is_noticed(book):
    (book / "segedu/used.py").unlink()
    assert stale(book) == {NAME: ["segedu/used.py is gone"]}


def test_a_notebook_that_is_gone_is_forgotten(book):
    (book / NAME).rename(book / OTHERS[0])
    record(book, book / OTHERS[0], {"files": [], "packages": []})
    assert list(records(book)) == [OTHERS[0]]


def test_a_notebook_that_make_has_not_stored_is_stale(book):
    (book / FILE).unlink()
    assert stale(book) == {NAME: ["has no fingerprint"]}


def test_texts_as_lists_of_lines_are_the_same_text(book):
    notebook = json.loads((book / NAME).read_text(encoding="utf-8"))
    notebook["cells"][1]["source"] = "print(1)\nprint(2)"
    notebook["cells"][1]["outputs"][0]["text"] = "1\n2\n"
    (book / NAME).write_text(json.dumps(notebook), encoding="utf-8")
    assert stale(book) == {}


def test_a_stale_chapter_runs_and_every_other_has_its_turn(book):
    for name in OTHERS:
        (book / name).write_bytes((book / NAME).read_bytes())
        record(book, book / name, {"files": [], "packages": []})
    change(book, "print(2)", "print(2 )")
    for day in range(100, 104):
        selected = chosen(["changed"], day, book)
        assert selected[NAME] == "its code changed"
        assert list(selected) == sorted({NAME, *turn([NAME, *OTHERS], 4, day)})
    assert list(chosen(["stale"], 100, book)) == [NAME]
    assert list(chosen(["all"], 100, book)) == [NAME, *OTHERS]
    assert list(chosen(["02", "08"], 100, book)) == [OTHERS[0], OTHERS[6]]
    assert len(chosen(["eighth"], 100, book)) == 1
    with pytest.raises(ValueError, match="no notebook's path holds fcn"):
        chosen(["02", "fcn"], 100, book)


@pytest.mark.parametrize(("count", "parts"), [(46, 4), (46, 8), (6, 4), (6, 8), (1, 8)])
def test_a_rotation_reaches_every_chapter_and_rests_on_no_day(count, parts):
    names = [str(n) for n in range(count)]
    days = [turn(names, parts, day) for day in range(739_000, 739_000 + parts)]
    assert set(Counter(sum(days, []))) == set(names)
    assert all(day and len(day) <= -(-count // min(parts, count)) for day in days)


@pytest.mark.slow  # starts kernels, with this environment's own packages
def test_storing_records_what_the_kernel_has_loaded(tmp_path):
    root = tmp_path
    write(root, WRITTEN)
    for name in ("loaded", "prose"):
        source = fingerprints.ROOT / f"tests/chapters/{name}.py"
        write(root, {f"tests/chapters/{name}.py": source.read_text(encoding="utf-8")})
    write(root, {"book/results/a.json": "{}", "book/results/b.json": "{}"})
    sources = [
        "from segedu import used\nroot = used.Path(used.__file__).parents[1]",
        "_ = (root / 'book/results/a.json').read_text()",
        "print(used.value)\nprint('done')",
    ]
    cells = [new_markdown_cell("prose"), *map(new_code_cell, sources)]
    (root / NAME).parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells), root / NAME)

    record(root, root / NAME, store.execute(root / NAME, root))

    recorded = records(root)[NAME]
    assert list(recorded["files"]) == [
        "book/results/a.json",
        "segedu/__init__.py",
        "segedu/used.py",
        "segedu/value.txt",
    ]
    assert recorded["pins"] == {"ipykernel": "7.4.0"}
    stored = nbformat.read(root / NAME, as_version=4)
    assert len(stored.cells) == 4
    assert [cell.execution_count for cell in stored.cells[1:]] == [1, 2, 3]
    [output] = stored.cells[3].outputs
    assert output.text == "0.5\ndone\n"
    assert stale(root) == {}

    before = (root / NAME).read_bytes()
    change(root, "print(used.value)", "print(1 / 0)")
    broken = (root / NAME).read_bytes()
    with pytest.raises(store.CellExecutionError, match="ZeroDivisionError"):
        store.execute(root / NAME, root)
    assert (root / NAME).read_bytes() == broken != before
