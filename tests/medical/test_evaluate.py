import json
import math

import numpy as np
import pytest

from segedu.medical.evaluate import compare, evaluate, read_cases, summarize
from segedu.medical.volume import Volume


def labels(*boxes, shape=(4, 10, 10), spacing=(2.0, 1.0, 1.0)):
    """A volume with a box (label, first, last + 1 row) over all slices and columns 2 to 7."""
    array = np.zeros(shape, np.uint8)
    for label, first, last in boxes:
        array[:, first:last, 2:8] = label
    return Volume(array, spacing)


def case(image, dice, c=1, hd95=1.0):
    keys = ("iou", "assd", "volume_error_ml", "true_volume_ml", "volume_ml")
    return {"image": image, "class": c, "dice": dice, "hd95": hd95} | dict.fromkeys(keys, 1.0)


def test_scores_of_a_scan_by_hand():
    # truth: rows 2 to 5; prediction: rows 3 to 6; each 4 x 4 x 6 voxels of 2 mm3, 3 rows in common
    (row,) = compare("a", labels((1, 3, 7)), labels((1, 2, 6)), 3)
    assert row["image"] == "a" and row["class"] == 1
    assert row["dice"] == pytest.approx(3 / 4) and row["iou"] == pytest.approx(3 / 5)
    assert row["true_volume_ml"] == row["volume_ml"] == pytest.approx(4 * 4 * 6 * 2 / 1000)
    assert row["volume_error_ml"] == 0 and row["hd95"] == pytest.approx(1.0)


def test_a_class_in_neither_is_left_out_and_one_in_either_is_missed():
    rows = compare("a", labels((1, 2, 6)), labels((2, 2, 6)), 4)
    assert [row["class"] for row in rows] == [1, 2]
    assert all(row["dice"] == row["iou"] == 0 and math.isinf(row["hd95"]) for row in rows)
    assert rows[0]["volume_error_ml"] == -rows[1]["volume_error_ml"] == pytest.approx(0.192)
    assert compare("a", labels(), labels(), 4) == []


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a: prediction and truth lie on different grids"):
        compare("a", labels(), labels(spacing=(1.0, 1.0, 1.0)), 2)
    with pytest.raises(ValueError, match="the truth holds labels 0 to 5, allowed are 0 to 2"):
        compare("a", labels(), labels((5, 1, 2)), 3)
    with pytest.raises(ValueError, match="cases must hold at least one"):
        summarize([])
    with pytest.raises(ValueError, match="subset must be one of .* got 'all'"):
        evaluate("run", "data", "out", subset="all")


def test_distances_that_do_not_exist_are_counted_and_not_averaged():
    result = summarize([case("a", 0.8, hd95=2.0), case("b", 0.0, hd95=math.inf)])
    row = result["per_class"][1]
    assert row["hd95"] == 2.0 and row["missed"] == 1 and row["scans"] == 2
    assert result["mean_dice"] == row["dice"] == pytest.approx(0.4)


def test_the_interval_draws_patients_and_not_their_scans():
    scans = [case("p-1", 0.2), case("p-2", 0.2), case("q-1", 0.8), case("q-2", 0.8)]
    row = summarize(scans)["per_class"][1]
    assert (row["dice_low"], row["dice_high"]) == pytest.approx((0.2, 0.8))  # p twice, q twice
    alone = [case(f"s{i}", dice) for i, dice in enumerate((0.2, 0.2, 0.8, 0.8))]
    assert summarize(alone)["per_class"][1]["dice_low"] <= 0.35
    assert summarize(scans) == summarize(scans)
    one = summarize([case("a", 0.7)])["per_class"][1]
    assert one["dice_low"] == one["dice"] == one["dice_high"]


def test_cases_come_back_from_the_file(tmp_path):
    rows = [case("a", 0.5), case("b", 0.1, hd95=math.inf)]
    stored = [{k: None if v == math.inf else v for k, v in row.items()} for row in rows]
    (tmp_path / "scores.json").write_text(json.dumps({"cases": stored}))
    assert read_cases(tmp_path) == rows
    for text in ("{", "{}", '{"cases": 3}', '{"cases": [3]}'):
        (tmp_path / "scores.json").write_text(text)
        with pytest.raises(ValueError, match="holds no scores"):
            read_cases(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_cases(tmp_path / "elsewhere")
