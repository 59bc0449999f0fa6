"""A notebook needs nothing but an installed segedu: no repository, no network."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from segedu.tools.setup_cell import setup_cell
from tests.chapters.alone import execute
from tests.chapters.fingerprints import records
from tests.chapters.prose import ROOT
from tests.tools.environments import fingerprint, installed


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return installed(tmp_path_factory.mktemp("install"))


def test_what_chapters_read_is_installed(site):
    """`python -m tests.chapters.colab_lane` runs them all with nothing but what is installed."""
    read = {name for record in records().values() for name in record["files"]}
    there = sorted(
        name for name in read if name.startswith("segedu/") and (ROOT / name).is_file()
    )  # recorded results come with the repository alone
    assert len(there) > 20
    assert [name for name in there if not (site / name).is_file()] == []


def test_it_really_is_alone(site, tmp_path):
    code = """
import os, pathlib, socket
import segedu
found = {"files": os.listdir(), "segedu": pathlib.Path(segedu.__file__).parent.parent.name}
for address in (("192.0.2.1", 80), ("example.org", 443)):
    try:
        socket.create_connection(address, timeout=2)
    except OSError as error:
        found[address[0]] = "refused"
print(found)"""
    cells = [new_code_cell(setup_cell()), new_code_cell(code)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "probe.ipynb")
    before = fingerprint()
    executed = execute(tmp_path / "probe.ipynb", site)
    assert executed["cells"][0]["outputs"] == []
    assert eval("".join(executed["cells"][1]["outputs"][0]["text"])) == {
        "files": [],
        "segedu": "site",
        "192.0.2.1": "refused",
        "example.org": "refused",
    }
    assert fingerprint() == before


def test_a_notebook_that_needs_more_is_noticed(site, tmp_path):
    cells = [new_code_cell("open('data/scenes/README.md')")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "needy.ipynb")
    with pytest.raises(
        RuntimeError, match=r"needy.ipynb does not run alone(.|\n)*FileNotFoundError"
    ):
        execute(tmp_path / "needy.ipynb", site)
