"""The first code cell of every notebook, in one place: ``setup_cell.txt``.

The notebooks hold copies, because each must run alone on Colab; a gate compares every copy with
this text, and `segedu.tools.retarget` rewrites the one line that names the repository.
"""

import re
from importlib import resources

_REPOSITORY = re.compile(r'^REPOSITORY = "[^"]*"', flags=re.MULTILINE)


def setup_cell(repository: str = "") -> str:
    """The source of the setup cell for notebooks that install from ``repository``.

    Args:
        repository: ``URL@BRANCH`` that pip can install with a ``git+`` prefix, or an empty string
            where the book has no public address yet.

    Returns:
        The cell's source, without a final line break.
    """
    text = resources.files(__package__).joinpath("setup_cell.txt").read_text(encoding="utf-8")
    return _REPOSITORY.sub(lambda _: f'REPOSITORY = "{repository}"', text.rstrip("\n"))
