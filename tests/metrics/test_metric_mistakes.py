"""Mistakes that circulate in tutorials. Each test shows the wrong version failing where ours holds.

The wrong versions are rewritten here from their description, as short as they can be.
"""

import math
import pickle

import numpy as np
import pytest
import torch

from segedu.metrics import AveragePrecision, PanopticQuality, SemanticMetrics, SurfaceMetrics


def scores(pred, target, classes=3, **settings):
    metric = SemanticMetrics(classes, **settings)
    metric.update(torch.as_tensor(pred)[None], torch.as_tensor(target)[None])
    return metric.compute()


def test_absent_class_counts_as_one_and_lifts_the_mean():
    pred, target = [[0, 0, 1, 1]], [[0, 1, 1, 1]]
    got = scores(pred, target)
    assert got["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores(pred, target, absent="one")["mean_iou"] > got["mean_iou"]
    assert scores(pred, target, absent="zero")["mean_iou"] < got["mean_iou"]


def test_class_absent_from_the_target_hides_its_false_positives():
    """Skipping every class without a target pixel makes inventing objects free."""
    got = scores([[0, 0, 2, 2]], [[0, 0, 0, 0]])
    assert got["iou"][2] == 0
    assert got["dice"][2] == 0
    assert got["mean_iou"] == pytest.approx((1 / 2 + 0) / 2)


def test_mean_iou_is_averaged_over_batches():
    """The mean of the batches' mIoU is not the mIoU, and depends on how the data was cut."""
    pred = torch.tensor([[[0, 0, 0, 1]], [[1, 1, 1, 1]], [[0, 0, 1, 1]]])
    target = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]], [[0, 1, 1, 1]]])
    wrong = np.mean([scores(p, t)["mean_iou"] for p, t in zip(pred, target, strict=True)])
    metric = SemanticMetrics(3)
    metric.update(pred, target)
    right = metric.compute()["mean_iou"]
    assert abs(wrong - right) > 0.05
    streamed = SemanticMetrics(3, per_image=True)
    for p, t in zip(pred, target, strict=True):
        streamed.update(p[None], t[None])
    assert streamed.compute()["mean_iou"] == right
    assert streamed.compute()["image_mean_iou"] == pytest.approx(wrong)  # its own name


def test_ignored_pixels_are_counted():
    pred, target = [[0, 0, 1, 1]], [[0, 0, 255, 255]]
    got = scores(pred, target)
    assert np.mean(np.array(pred) == np.array(target)) == 0.5  # what the plain comparison says
    assert got["pixel_accuracy"] == 1
    assert got["iou"][0] == 1  # ... and 255 pixels are no false positives of class 1
    assert math.isnan(got["iou"][1])


def test_prediction_of_the_ignore_label_crashes_or_miscounts():
    with pytest.raises(ValueError, match="pred has 1 pixels"):
        scores([[0, 255]], [[0, 1]])
    assert scores([[0, 255]], [[0, 255]])["pixel_accuracy"] == 1  # nobody asks there


def test_python_loop_per_pixel():
    """The count must be the same as the loop's (and is some hundred times as fast)."""
    rng = np.random.default_rng(0)
    pred, target = rng.integers(0, 3, (2, 20, 30))
    matrix = np.zeros((3, 3), int)
    for p, t in zip(pred.ravel(), target.ravel(), strict=True):
        matrix[t, p] += 1
    assert np.array_equal(scores(pred, target)["confusion_matrix"].numpy(), matrix)


@pytest.mark.filterwarnings("error")
def test_zero_divided_by_zero_warns_and_spreads():
    """A class that never occurs is 0/0: np.mean over it is NaN, with a warning on the way."""
    hit, union = np.array([4.0, 0.0]), np.array([4.0, 0.0])
    with np.errstate(all="ignore"):
        assert math.isnan(np.mean(hit / union))
    got = scores([[0, 0, 0, 0]], [[0, 0, 0, 0]])
    assert got["mean_iou"] == got["frequency_weighted_iou"] == 1


def test_evaluator_keeps_every_image_in_memory():
    metric = SemanticMetrics(3)
    sizes = []
    for _ in range(3):
        metric.update(torch.zeros(2, 50, 50, dtype=torch.int64), torch.zeros(2, 50, 50).long())
        sizes.append(len(pickle.dumps(metric)))
    assert len(set(sizes)) == 1
    assert sizes[0] < 2000  # and not the 120 kB of the three batches


def test_dice_is_averaged_over_batches():
    """Per data set or per image: neither depends on the batch size, the mean over batches does."""
    pred = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    target = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 0], [0, 1, 1, 1]])

    def dice(images):
        return scores(pred[images], target[images], 2)["dice"].mean().item()

    assert abs((dice([0, 1]) + dice([2])) / 2 - dice([0, 1, 2])) > 0.05
    results = []
    for batches in ([[0, 1], [2]], [[0], [1, 2]]):
        metric = SemanticMetrics(2, per_image=True)
        for images in batches:
            metric.update(pred[images], target[images])
        results.append(metric.compute())
    for key in ("image_mean_dice", "mean_iou"):
        assert results[0][key] == pytest.approx(results[1][key], abs=1e-15)
    assert torch.equal(results[0]["dice"], results[1]["dice"])


def test_smoothing_makes_empty_equal_one_in_silence():
    """With + smooth everywhere two empty masks score 1; here the case is left out or named."""
    empty = [[0, 0, 0, 0]]
    assert (2 * 0 + 1e-5) / (0 + 0 + 1e-5) == 1
    assert math.isnan(scores(empty, empty)["dice"][1])
    surface = SurfaceMetrics(2)
    surface.update(torch.tensor([empty]), torch.tensor([empty]))
    assert math.isnan(surface.compute()["hd95"])


def test_accuracy_looks_good_on_imbalance():
    target = torch.zeros(100, dtype=torch.int64)
    target[:2] = 1
    got = scores(torch.zeros(1, 100, dtype=torch.int64), target[None], 2)
    assert got["pixel_accuracy"] == 0.98
    assert got["mean_iou"] == 0.49


def mask(*pixels):
    m = torch.zeros(1, 10, dtype=torch.bool)
    m[0, list(pixels)] = True
    return m


def test_detections_are_pooled_without_image_ids():
    """A detection must not match an object of another image."""
    here, there = mask(0, 1, 2), mask(6, 7, 8)
    metric = AveragePrecision()
    preds = [{"masks": here[None], "labels": [1], "scores": [0.9]} for _ in range(2)]
    targets = [{"masks": m[None], "labels": [1]} for m in (here, there)]
    metric.update(preds, targets)
    got = metric.compute()
    assert got["AR100"] == 0.5
    assert got["AP50"] == pytest.approx(51 / 101)


def test_detections_are_not_sorted_by_score():
    truth = {"masks": mask(0, 1, 2)[None], "labels": [1]}
    pair = {"masks": torch.stack([mask(8, 9), mask(0, 1, 2)]), "labels": [1, 1]}
    for s, expected in (([0.2, 0.9], 1.0), ([0.9, 0.2], 0.5)):
        metric = AveragePrecision()
        metric.update([pair | {"scores": s}], [truth])
        assert metric.compute()["AP50"] == pytest.approx(expected)


def test_ap_of_a_class_is_a_constant():
    truth = {"masks": mask(0, 1)[None], "labels": [1]}
    values = []
    for pixels in ((0, 1), (5, 6)):
        metric = AveragePrecision()
        metric.update([{"masks": mask(*pixels)[None], "labels": [1], "scores": [1.0]}], [truth])
        values.append(metric.compute()["per_class"][1]["AP"])
    assert values == pytest.approx([1, 0])


def segments(ids, category):
    found = [i for i in sorted(set(ids)) if i]
    info = [{"id": i, "category_id": category} for i in found]
    return {"panoptic_seg": torch.tensor([ids]), "segments_info": info}


def test_recognition_quality_ignores_false_positives():
    """1 hit and 5 inventions: |TP| / |GT| says 1, the definition 1 / (1 + 5/2)."""
    target = {
        "panoptic_seg": torch.tensor([[1, 1, 2, 2, 2, 2, 2, 2]]),
        "segments_info": [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 2}],
    }
    pred = segments([1, 1, 3, 4, 5, 6, 7, 0], 1)
    metric = PanopticQuality({1: True, 2: False})
    metric.update(pred, target)
    got = metric.compute()["per_class"][1]
    assert got["tp"] / 1 == 1
    assert got["pq"] == pytest.approx(1 / 3.5)


def test_panoptic_quality_is_averaged_over_images():
    images = [([1, 1, 1, 1], [1, 1, 1, 1]), ([1, 2, 3, 4], [9, 9, 9, 0])]
    whole, each = PanopticQuality({1: True}), []
    for p, t in images:
        one = PanopticQuality({1: True})
        for metric in (whole, one):
            metric.update(segments(p, 1), segments(t, 1))
        each.append(one.compute()["pq"])
    assert np.mean(each) == 0.5
    assert whole.compute()["pq"] == pytest.approx(1 / (1 + 3 / 2 + 1 / 2))  # one of four is on void


def test_panoptic_mean_drops_the_categories_that_failed():
    metric = PanopticQuality({1: True, 2: True, 3: True})
    target = {
        "panoptic_seg": torch.tensor([[1, 1, 2, 2]]),
        "segments_info": [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 2}],
    }
    metric.update(segments([1, 1, 0, 0], 1), target)
    got = metric.compute()
    assert got["pq"] == 0.5  # category 2 failed and counts; category 3 never occurred and does not
    assert got["num_categories"] == 2


def test_panoptic_quality_without_void_and_crowd():
    """Pixels that nobody annotated are no mistake, nor is a segment on a crowd."""
    target = {
        "panoptic_seg": torch.tensor([[1, 1, 0, 0, 0, 2, 2, 2]]),
        "segments_info": [
            {"id": 1, "category_id": 1},
            {"id": 2, "category_id": 1, "iscrowd": 1},
        ],
    }
    metric = PanopticQuality({1: True})
    metric.update(segments([1, 1, 1, 1, 3, 4, 4, 5], 1), target)
    row = metric.compute()["per_class"][1]
    assert row == {"pq": 1, "sq": 1, "rq": 1, "tp": 1, "fp": 0, "fn": 0}
