"""A run with other parameters notices a chapter that stops."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.chapters.smoke import run


@pytest.mark.slow  # starts two kernels
def test_a_chapter_that_stops_with_other_parameters_is_noticed(tmp_path):
    parameters = new_code_cell("epochs: int = 4", metadata={"tags": ["parameters"]})
    claim = new_code_cell("assert epochs > 1, 'one epoch learns nothing'")
    path = tmp_path / "chapter.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[parameters, claim], metadata=kernel), path)
    assert run(path, {"epochs": 2}) == ""
    assert "one epoch learns nothing" in run(path, {"epochs": 1})
