"""The code of a chapter, run outside of its page."""

import json
from pathlib import Path

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"
SKIPPED = {"setup", "hide-input", "exercise", "solution", "results"}


def run_page(chapter: str, **parameters: int) -> dict:
    """Variables of a chapter after its visible cells; ``parameters`` replace the chapter's."""
    page: dict = {}
    for cell in json.loads((CHAPTERS / chapter).read_text(encoding="utf-8"))["cells"]:
        tags = set(cell["metadata"].get("tags", []))
        if cell["cell_type"] == "code" and ("parameters" in tags or not tags & SKIPPED):
            exec("".join(cell["source"]), page)
        if "parameters" in tags:
            page |= parameters
    return page
