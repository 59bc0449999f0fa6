"""Begin a project: a folder that runs at once on painted scenes, to be filled with your own data.

``python -m segedu project new NAME`` writes settings, the ten stages from requirements to drift, a
test of the limits, a workflow and a README in both languages.
"""

import os
import re
import secrets
import shutil
from importlib import resources
from pathlib import Path

from segedu import __version__
from segedu.files import write_text

#: File of a project -> its template beside this module.
FILES = {
    "README.md": "README.md.txt",
    "config.toml": "config.toml.txt",
    "paint.py": "paint.py.txt",
    "run.py": "run.py.txt",
    "common.py": "common.py.txt",
    "requirements.txt": "requirements.txt.txt",
    "tests/test_limits.py": "test_limits.py.txt",
    ".github/workflows/project.yml": "workflow.yml.txt",
    ".gitignore": "gitignore.txt",
}
WHEEL = f"./wheels/segedu-{__version__}-py3-none-any.whl"


def new_project(folder: Path, *, source: str = WHEEL) -> Path:
    """Write a project; either all of it is there afterwards, or nothing.

    Args:
        folder: to be made; an empty one may be there. Its name is that of the project.
        source: where pip finds segedu, a line of requirements.txt; by default the file of the
            book's page How to run, in ``wheels/`` of the project.

    Returns:
        The folder.

    Raises:
        ValueError: the name is not of letters, digits, ``_`` and ``-``.
        FileExistsError: there is something already.
    """
    name = folder.absolute().name
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(f"the name must be of letters, digits, _ and -, got {name!r}")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already: choose another name")
    templates = resources.files(__package__).joinpath("project")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.absolute().with_name(f".segedu-tmp-{secrets.token_hex(4)}-{name}")
    try:
        for file, template in FILES.items():
            text = templates.joinpath(template).read_text(encoding="utf-8")
            text = text.replace("# NAME", f"# {name}").replace("SOURCE", source)
            write_text(unfinished / file, text)
        if folder.exists():
            folder.rmdir()
        os.replace(unfinished, folder)
    except BaseException:  # also Ctrl-C
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder
