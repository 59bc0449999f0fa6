import math

import numpy as np
import pytest

from segedu.medical.scores import (
    MIN_PATIENTS,
    compare,
    compare_lesions,
    detections,
    each_lesion,
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


def test_distances_that_do_not_exist_are_counted_and_not_averaged():
    missed = case("b", 0.0, hd95=math.inf) | {"volume_ml": 0.0}
    spurious = case("c", 0.0, hd95=math.inf) | {"true_volume_ml": 0.0}
    row = summarize([case("a", 0.9, hd95=2.0), missed, spurious])["per_class"][1]
    assert row["hd95"] == 2.0 and row["scans"] == 3 and row["dice"] == pytest.approx(0.3)
    assert (row["missed"], row["spurious"]) == (1, 1)


def test_the_interval_draws_patients_and_not_their_scans():
    dice = {"p1": 0.2, "p2": 0.2, "p3": 0.2, "p4": 0.8, "p5": 0.8}
    scans = [case(f"{p}-{k}", d) for p, d in dice.items() for k in range(20)]
    row = summarize(scans)["per_class"][1]
    assert row["patients"] == 5 and row["scans"] == 100
    assert (row["dice_low"], row["dice_high"]) == pytest.approx(
        (0.2, 0.68)
    )  # p4, p5 never; four times
    alone = summarize(scans, patient="^.+$")["per_class"][1]
    assert 0.35 < alone["dice_low"] < alone["dice"] < alone["dice_high"] < 0.55
    assert summarize(scans) == summarize(scans)


def test_of_few_patients_no_interval_is_given():
    for count in range(1, MIN_PATIENTS + 2):
        scans = [case(f"p{number}-{k}", 0.1 * number) for number in range(count) for k in range(9)]
        row = summarize(scans)["per_class"][1]
        assert math.isnan(row["dice_low"]) == math.isnan(row["dice_high"]) == (count < 5)


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
    assert [lesion["volume_ml"] > 0 for lesion in rows[1]["each"]] == [True, False]
    assert rows[0]["each"] == []
    rows += compare_lesions("b", labels((1, 1, 3)), labels(), [1, 2])  # nothing there, one found
    table = summarize_lesions(rows)
    assert table[1] == {
        "scans": 2,
        "lesions": 0,
        "hits": 0,
        "sensitivity": None,
        "sensitivity_low": None,
        "sensitivity_high": None,
        "false_positives_per_scan": 0.5,
    }
    assert table[2]["sensitivity"] == 0.5 and table[2]["false_positives_per_scan"] == 0
    assert summarize_lesions([]) == {}
    with pytest.raises(ValueError, match="a: prediction and truth lie on different grids"):
        compare_lesions("a", labels(), labels(spacing=(1.0, 1.0, 1.0)), [1])


def test_each_lesion_beside_what_was_predicted_of_it():
    truth, found = (np.zeros((3, 8, 20), np.uint8) for _ in range(2))
    truth[1, 1:4, 1:4] = 2  # nine voxels, three of them predicted, and one voxel beside
    found[1, 1:4, 1] = found[1, 5, 1] = 2
    found[1, 1:4, 0] = 2
    truth[1, 6, 8] = 2  # missed
    truth[1, 1, 12] = truth[1, 1, 16] = 2  # covered by one predicted lesion
    found[1, 1, 11:18] = 2
    spacing = (3.0, 1.0, 2.0)  # mm: 0.006 ml
    rows = each_lesion(*(Volume(array, spacing=spacing) for array in (found, truth)), label=2)
    assert [row["true_volume_ml"] for row in rows] == pytest.approx([0.054, 0.006, 0.006, 0.006])
    first, *_ = sorted(rows, key=lambda row: -row["true_volume_ml"])
    assert first["volume_ml"] == pytest.approx(6 * 0.006)  # without the voxel beside
    assert first["volume_error_percent"] == pytest.approx(100 * (6 - 9) / 9)
    assert first["hd95"] == pytest.approx(4.0)  # two columns further on
    missed = [row for row in rows if row["hd95"] is None]
    assert [(row["volume_ml"], row["volume_error_percent"]) for row in missed] == [(0, -100)]
    assert [row["volume_ml"] for row in rows].count(pytest.approx(7 * 0.006)) == 2


def test_the_interval_of_a_sensitivity():
    row = {"class": 1, "false_positives": 0}
    low_high = []
    for hits, lesions in ((8, 10), (10, 10), (0, 3)):
        table = summarize_lesions([row | {"lesions": lesions, "hits": hits}])[1]
        low_high += [(table["sensitivity_low"], table["sensitivity_high"])]
    # Clopper and Pearson: 1 - 0.025 ** (1 / n) where none is hit, and its mirror image
    assert low_high[0] == pytest.approx((0.4439, 0.9748), abs=1e-4)
    assert low_high[1] == pytest.approx((0.025 ** (1 / 10), 1))
    assert low_high[2] == pytest.approx((0, 1 - 0.025 ** (1 / 3)))
