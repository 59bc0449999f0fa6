"""What chapters say of recorded CamVid runs is what the runs say."""

import json
import re

import nbformat
import pytest

from tests.chapters.prose import ROOT

FILE = "book/results/camvid.json"
RUNS = json.loads((ROOT / FILE).read_text(encoding="utf-8"))
ENTRY = re.compile(r"`([a-z0-9_]+/[a-z0-9_/]+)`")
PERCENT = re.compile(r"(\d+\.\d) ?%")


def claims(path):
    """The sentences of a chapter on one run: language, its entry, the percentages."""
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown" and FILE in cell.source:
            entries = [name for name in ENTRY.findall(cell.source) if name in RUNS]
            if len(entries) == 1:
                yield cell.metadata.tags[0], entries[0], PERCENT.findall(cell.source)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "chapters").glob("*/*.ipynb")), ids=lambda path: path.stem
)
def test_percentages_are_those_of_the_run(path):
    for language, entry, shares in claims(path):
        run = RUNS[entry]
        known = (run["mean_iou"], run["pixel_accuracy"], *run["iou"].values())
        recorded = {f"{100 * value:.1f}" for value in known if value is not None}
        assert set(shares) <= recorded, f"{entry} ({language}): {set(shares) - recorded}"


def test_a_chapter_tells_of_a_run_in_both_languages():
    told = [*claims(ROOT / "chapters" / "02-semantic" / "01-fcn.ipynb")]
    assert [language for language, *_ in told] == ["lang-en", "lang-zh"]
    assert told[0][1:] == told[1][1:] and len(told[0][2]) == 5
