"""Intervals of scores by drawing images with replacement."""

import pytest
import torch

from segedu.metrics import AveragePrecision, ClickIoU, PanopticQuality, SemanticMetrics
from segedu.metrics.intervals import PerImage

RIGHT = torch.tensor([[[0, 0, 1, 1]]])
HALF = torch.tensor([[[0, 0, 0, 1]]])


def semantic(*predictions, **settings):
    metric = PerImage(lambda: SemanticMetrics(2), **settings)
    for prediction in predictions:
        metric.update(prediction, RIGHT)
    return metric


def test_scores_are_those_of_all_images_at_once():
    plain = SemanticMetrics(2)
    plain.update(torch.cat([RIGHT, HALF]), torch.cat([RIGHT, RIGHT]))
    found, expected = semantic(RIGHT, HALF, draws=5).compute(), plain.compute()
    assert found["mean_iou"] == expected["mean_iou"]
    assert [row["pixel_accuracy"] for row in found["images"]] == [1.0, 0.75]


def test_the_ends_of_an_interval_are_those_of_the_draws():
    """Of two images, accuracies 1 and 3/4, a draw gives 3/4, 7/8 or 1."""
    low, high = semantic(RIGHT, HALF, draws=400).compute()["intervals"]["pixel_accuracy"]
    assert (low, high) == (0.75, 1.0)
    low, high = semantic(HALF, HALF, HALF, draws=50).compute()["intervals"]["pixel_accuracy"]
    assert (low, high) == (0.75, 0.75)


def test_the_same_seed_gives_the_same_interval():
    images = [RIGHT, HALF, RIGHT, RIGHT, HALF]
    one, same, other = (semantic(*images, draws=40, seed=s).compute() for s in (3, 3, 4))
    assert one["intervals"] == same["intervals"] != other["intervals"]


def test_an_interval_is_as_wide_as_the_normal_one():
    """Of 400 images, half of them with accuracy 3/4: 1.96 deviations of the mean."""
    found = semantic(*[RIGHT, HALF] * 200, draws=300).compute()
    low, high = found["intervals"]["pixel_accuracy"]
    expected = 2 * 1.96 * 0.125 / 400**0.5
    assert high - low == pytest.approx(expected, rel=0.2)


def test_without_draws_there_are_no_intervals():
    found = semantic(RIGHT, HALF, draws=0).compute()
    assert found["intervals"] == {} and "iou_low" not in found["per_class"][0]
    with pytest.raises(ValueError, match="draws must be >= 0, got -1"):
        semantic(draws=-1)


def test_a_single_image_has_none():
    """All draws of it are alike: an interval without width would claim to be sure."""
    found = semantic(HALF, draws=5).compute()
    assert found["intervals"] == {} and "iou_low" not in found["per_class"][0]
    assert semantic(draws=5).compute()["intervals"] == {}


def test_objects_and_segments_have_intervals():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[:, :2] = True
    target = {"labels": torch.tensor([1]), "masks": mask, "boxes": torch.tensor([[0, 0, 4, 2.0]])}
    found = {**target, "scores": torch.tensor([0.9])}
    missed = {key: value[:0] for key, value in found.items()}
    objects = PerImage(AveragePrecision, draws=200)
    objects.update([found], [target])
    objects.update([missed], [target])
    result = objects.compute()
    assert result["intervals"]["AP50"] == (0.0, 1.0)
    assert result["per_class"][1]["AP"] == pytest.approx(0.505, abs=1e-3)

    ids = torch.ones(2, 2, dtype=torch.int32)
    segments = {"panoptic_seg": ids, "segments_info": [{"id": 1, "category_id": 0}]}
    other = {"panoptic_seg": ids, "segments_info": [{"id": 1, "category_id": 1}]}
    panoptic = PerImage(lambda: PanopticQuality({0: False, 1: True}), draws=200)
    panoptic.update([segments], [segments])
    panoptic.update([other], [segments])
    assert panoptic.compute()["intervals"]["pq_stuff"] == (0.0, 1.0)


def test_clicks_have_intervals():
    """Of images with one object each and the IoU 1 or 0 the mean is drawn like a share."""
    metric = PerImage(lambda: ClickIoU(2), draws=200)
    wanted = torch.ones(1, 4, 4, dtype=torch.bool)
    for right in (True, False) * 8:
        found = torch.full((1, 2, 4, 4), right)
        metric.update([{"masks": found}], [{"masks": wanted}])
    result = metric.compute()
    assert result["mean_iou"] == 0.5
    low, high = result["intervals"]["mean_iou"]
    assert 0.1 < low < 0.4 and 0.6 < high < 0.9
