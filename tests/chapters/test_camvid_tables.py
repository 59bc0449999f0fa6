"""The CamVid tables of the chapters say what the recorded runs say."""

import json

import nbformat
import pytest

from tests.chapters.prose import ROOT

RESULTS = json.loads((ROOT / "book/results/camvid.json").read_text(encoding="utf-8"))
MODELS = {"FCN-8s": "fcn8s_vgg16"}
SPLITS = {"val": "val", "test": "test", "验证": "val", "测试": "test"}
MEANS = {
    "**mean IoU**": "mean_iou",
    "**平均 IoU**": "mean_iou",
    "pixel accuracy": "pixel_accuracy",
    "像素准确率": "pixel_accuracy",
}


def tables(chapter: str) -> list[list[list[str]]]:
    """The tables of a chapter that begin with a column of classes, as rows of cells."""
    found = []
    for cell in nbformat.read(ROOT / "chapters" / chapter, 4).cells:
        if cell.cell_type == "markdown" and (
            "| Class |" in cell.source or "| 类别 |" in cell.source
        ):
            rows = [line for line in cell.source.splitlines() if line.startswith("|")]
            found.append([[part.strip() for part in row.strip("|").split("|")] for row in rows])
    return found


@pytest.mark.parametrize("chapter", ["02-semantic/01-fcn.ipynb"])
def test_tables_equal_the_recorded_runs(chapter):
    from segedu.data.camvid import CLASSES, CLASSES_ZH  # with torch, which no gate needs

    both = tables(chapter)
    assert len(both) == 2, "one table in each language"
    shown = []  # the rows, which may be a choice of the classes, of both languages
    for names, (header, _, *rows) in zip((CLASSES, CLASSES_ZH), both, strict=True):
        runs = [column.split() for column in header[1:]]
        runs = [RESULTS[f"{MODELS[model]}/{SPLITS[split]}"] for model, split in runs]
        shown.append([MEANS.get(row[0]) or CLASSES[names.index(row[0])] for row in rows])
        for key, (_, *cells) in zip(shown[-1], rows, strict=True):
            for cell, run in zip(cells, runs, strict=True):
                value = run[key] if key in MEANS.values() else run["iou"][key]
                assert cell.strip("*") == f"{100 * value:.1f}", (key, cell)
    assert shown[0] == shown[1] and "mean_iou" in shown[0]
