import json
import math

import numpy as np
import pytest

from segedu.medical.evaluate import (
    compare,
    compare_lesions,
    detections,
    evaluate,
    read_cases,
    summarize,
    summarize_lesions,
)
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
    assert read_cases(tmp_path) == (rows, [])
    (tmp_path / "scores.json").write_text(json.dumps({"cases": [], "lesions": {"scans": [7]}}))
    assert read_cases(tmp_path) == ([], [7])
    for text in ("{}", '{"cases": 3}', '{"cases": [3]}', '{"cases": [], "lesions": 1}'):
        (tmp_path / "scores.json").write_text(text)
        with pytest.raises(ValueError, match="holds no scores"):
            read_cases(tmp_path)
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(ValueError, match="scores.json: not a readable JSON file"):
        read_cases(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_cases(tmp_path / "elsewhere")


def test_lesions_are_counted_by_hand():
    truth, found = (np.zeros((3, 6, 8), bool) for _ in range(2))
    truth[0, 0, 0] = truth[1, 1, 1] = True  # one lesion: the corners touch
    truth[1, 4, 1:4] = True  # hit in one voxel of three
    truth[2, 0, 7] = True  # missed
    found[1, 1, 1] = True
    found[1, 4, 3:6] = True
    found[2, 2, 7] = True  # two rows away from the missed one: a false positive
    found[0, 5, 7] = True  # another one
    seen = detections(found, truth)
    assert seen.sizes.tolist() == [2, 3, 1] and seen.hit.tolist() == [True, True, False]
    assert seen.false_positives == 2
    mirrored = detections(truth, found)
    assert mirrored.hit.sum() == 2 and mirrored.false_positives == 1


def test_one_prediction_may_hit_two_lesions_and_none_hits_none():
    truth = np.zeros((1, 3, 9), bool)
    truth[0, 1, [1, 7]] = True
    assert detections(np.ones_like(truth), truth).hit.tolist() == [True, True]
    assert detections(~np.ones_like(truth), truth).hit.tolist() == [False, False]
    assert detections(truth, ~np.ones_like(truth)).false_positives == 2
    with pytest.raises(ValueError, match="one shape"):
        detections(truth, truth[:, :2])


def test_lesions_over_the_scans():
    rows = compare_lesions("a", labels((2, 1, 3)), labels((2, 2, 4), (2, 6, 8)), [1, 2])
    assert [row["class"] for row in rows] == [1, 2]
    assert rows[1]["hit_ml"] == rows[1]["missed_ml"] == pytest.approx([4 * 2 * 6 * 2 / 1000])
    rows += compare_lesions("b", labels((1, 1, 3)), labels(), [1, 2])  # nothing there, one found
    table = summarize_lesions(rows)
    assert table[1] == {
        "scans": 2,
        "lesions": 0,
        "hits": 0,
        "sensitivity": None,
        "false_positives_per_scan": 0.5,
    }
    assert table[2]["sensitivity"] == 0.5 and table[2]["false_positives_per_scan"] == 0
    assert summarize_lesions([]) == {}
    with pytest.raises(ValueError, match="a: prediction and truth lie on different grids"):
        compare_lesions("a", labels(), labels(spacing=(1.0, 1.0, 1.0)), [1])
