import csv
import io
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from segedu.metrics import SemanticMetrics, SurfaceMetrics
from segedu.report import Report


@pytest.fixture
def maps():
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 3, 5, 5, generator=g)
    target = torch.nn.functional.interpolate(noise, size=(24, 24)).argmax(1)
    return target.roll(1, 2), target


@pytest.fixture
def semantic(maps):
    metric = SemanticMetrics(4)
    metric.update(*maps)
    return Report(metric.compute(), ["sky", "road", "car", "cat"])


@pytest.fixture
def surface(maps):
    metric = SurfaceMetrics(4, tolerance=1.0)
    pred, target = maps
    pred = pred.clone()
    pred[0][pred[0] == 2] = 0  # one class of one image missed: an infinite distance
    metric.update(pred, target)
    return Report(metric.compute(), {1: "road", 2: "car"})


def test_table(semantic):
    lines = semantic.table().splitlines()
    assert lines[0] == "| metric | value |"
    assert f"| mean_iou | {semantic.scalars['mean_iou']:.4f} |" in lines
    assert lines[-1] == "| cat | – | – | – | – | 0 |"  # absent


def test_json_and_csv(semantic, surface, tmp_path):
    content = json.loads(semantic.to_json(tmp_path / "report.json"))
    assert content == json.loads((tmp_path / "report.json").read_text())
    absent = dict.fromkeys(("iou", "dice", "accuracy", "precision"))
    assert content["classes"][3] == {"class": "cat"} | absent | {"pixels": 0}
    assert content["scalars"]["mean_iou"] == semantic.scalars["mean_iou"]
    rows = list(csv.DictReader(io.StringIO(semantic.to_csv())))
    assert float(rows[0]["iou"]) == semantic.rows[0]["iou"]
    cases = list(csv.DictReader(io.StringIO(surface.to_csv(tmp_path / "c.csv", what="cases"))))
    assert len(cases) == len(surface.cases)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.csv", "report.json"]
    assert json.loads(surface.to_json())["scalars"]["hd"] is None


def test_best_and_worst(surface):
    worst, best = surface.worst("hd", 1)[0], surface.best("hd", 1)[0]
    assert (worst["image"], worst["class"], worst["hd"]) == (0, 2, float("inf"))
    assert best["hd"] == min(case["hd"] for case in surface.cases)
    assert surface.best("surface_dice", 1, lower_is_better=False)[0]["surface_dice"] == max(
        case["surface_dice"] for case in surface.cases
    )
    with pytest.raises(ValueError, match="column of the cases"):
        surface.best("iou")


def test_charts(semantic, surface):
    columns = ("iou", "dice", "accuracy", "precision", "pixels")
    assert set(semantic.charts()) == {"confusion_matrix", *(f"bars_{key}" for key in columns)}
    plt.close("all")
    names = {f"{kind}_{key}" for kind in ("distribution", "box_plot", "cumulative", "bars")
             for key in ("hd", "hd95", "assd", "surface_dice")}  # fmt: skip
    axes = surface.charts()
    assert set(axes) == names | {"bars_images", "scatter"}
    assert "∞" in {text.get_text().strip() for text in axes["bars_hd"].texts}
    assert axes["distribution_hd"].get_xlabel() == "Hausdorff distance ｜ 豪斯多夫距离 (+1 ∞)"
    plt.close("all")


def test_bad_input(semantic):
    with pytest.raises(TypeError, match="compute"):
        Report(SemanticMetrics(2))
    with pytest.raises(ValueError, match="what must be one of classes, cases, images"):
        semantic.to_csv(what="averages")


def test_a_matrix_as_csv_has_the_true_classes_in_its_rows(semantic):
    head, *rows = semantic.to_csv(what="confusion_matrix").splitlines()
    assert head.startswith("truth,") and len(rows) == len(semantic.rows)
    total = sum(int(cell) for row in rows for cell in row.split(",")[1:])
    assert total == np.asarray(semantic.result["confusion_matrix"]).sum()
