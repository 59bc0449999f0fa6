import math

import pytest
import torch

from segedu.metrics import SemanticMetrics

KEYS = {
    "pixel_accuracy",
    "mean_accuracy",
    "mean_iou",
    "frequency_weighted_iou",
    "iou",
    "dice",
    "confusion_matrix",
}


def maps(classes=4, shape=(3, 16, 20), seed=0, dtype=torch.int64):
    g = torch.Generator().manual_seed(seed)
    pred = torch.randint(0, classes, shape, generator=g)
    target = torch.randint(0, classes, shape, generator=g)
    target[torch.rand(shape, generator=g) < 0.1] = 255
    return pred.to(dtype), target.to(dtype)


def test_by_hand():
    # class 0: 2 of 3 right; class 1: 1 of 1 right; one pixel of class 0 called 1; class 2 absent
    metric = SemanticMetrics(3)
    metric.update(torch.tensor([[0, 0, 1, 1, 2]]), torch.tensor([[0, 0, 0, 1, 255]]))
    got = metric.compute()
    assert set(got) == KEYS
    assert got["confusion_matrix"].tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert got["pixel_accuracy"] == 3 / 4
    assert got["mean_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert got["iou"][:2].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert math.isnan(got["iou"][2])
    assert got["mean_iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert got["frequency_weighted_iou"] == pytest.approx(3 / 4 * 2 / 3 + 1 / 4 * 1 / 2)
    assert got["dice"][:2].tolist() == pytest.approx([4 / 5, 2 / 3])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("ignore_index", [255, 200, 4])
def test_integer_types_and_ignore_values(dtype, ignore_index):
    pred, target = maps()
    expected = SemanticMetrics(4)
    expected.update(pred, target)
    got = SemanticMetrics(4, ignore_index=ignore_index)
    target = target.where(target != 255, ignore_index)
    got.update(pred.to(dtype), target.to(torch.int16 if dtype == torch.uint8 else dtype))
    assert torch.equal(got.confusion_matrix, expected.confusion_matrix)


def test_batches_and_merge_do_not_matter():
    pred, target = maps()
    whole, a, b = (SemanticMetrics(4) for _ in range(3))
    whole.update(pred, target)
    a.update(pred[2:], target[2:])
    b.update(pred[:2], target[:2])
    assert torch.equal(a.merge(b).confusion_matrix, whole.confusion_matrix)
    a.reset()
    assert a.confusion_matrix.sum() == 0
    assert torch.equal(a.merge(whole).confusion_matrix, whole.confusion_matrix)


def test_logits_are_argmaxed():
    pred, target = maps()
    logits = torch.nn.functional.one_hot(pred, 4).movedim(-1, 1).float()
    a, b = SemanticMetrics(4), SemanticMetrics(4)
    a.update(logits, target)
    b.update(pred, target)
    assert torch.equal(a.confusion_matrix, b.confusion_matrix)


@pytest.mark.oracle
def test_equals_torchmetrics():
    tm = pytest.importorskip("torchmetrics.classification")
    pred, target = maps(classes=3)
    theirs = tm.MulticlassJaccardIndex(num_classes=5, ignore_index=255)
    theirs.update(pred, target)
    ours = SemanticMetrics(5)
    ours.update(pred, target)
    assert ours.compute()["mean_iou"] == pytest.approx(theirs.compute().item(), abs=1e-6)


def test_absent_rule():
    pred, target = torch.zeros(1, 4).long(), torch.zeros(1, 4).long()
    for absent, expected in [("skip", 1.0), ("zero", 0.5), ("one", 1.0)]:
        metric = SemanticMetrics(2, absent=absent)
        metric.update(pred, target)
        assert metric.compute()["mean_iou"] == expected
    predicted_only = SemanticMetrics(2)
    predicted_only.update(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]))
    assert predicted_only.compute()["iou"].tolist() == [0.5, 0.0]


def test_bad_input():
    metric = SemanticMetrics(3)
    good = torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="target has 16 pixels"):
        metric.update(good, good + 3)
    with pytest.raises(ValueError, match="pred has 16 pixels"):
        metric.update(good - 1, good)
    assert metric.confusion_matrix.sum() == 0
    with pytest.raises(ValueError, match="same shape"):
        metric.update(good, good[:, 1:])
    with pytest.raises(ValueError, match="logits must be"):
        metric.update(torch.zeros(1, 5, 4, 4), good)
    with pytest.raises(TypeError, match="integer labels"):
        metric.update(good, good.float())
    with pytest.raises(ValueError, match="num_classes"):
        SemanticMetrics(0)
    with pytest.raises(ValueError, match="must not be a class"):
        SemanticMetrics(3, ignore_index=2)
    with pytest.raises(ValueError, match="same num_classes"):
        metric.merge(SemanticMetrics(4))
    assert math.isnan(SemanticMetrics(3).compute()["mean_iou"])
