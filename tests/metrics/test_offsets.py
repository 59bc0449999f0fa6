"""The curve of an offset on one logit equals a loop over offsets."""

import pytest
import torch

from segedu.metrics import offset_curve, score


@pytest.fixture
def example():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 6, generator=generator)
    target = torch.randint(3, (2, 5, 6), generator=generator)
    target[0, 0] = 255
    return logits, target


def moved(logits, label, offset):
    shift = torch.zeros(logits.shape[1], dtype=torch.float64)
    shift[label] = offset
    return logits + shift[:, None, None]


@pytest.mark.parametrize("label", [0, 2])
def test_each_point_is_what_the_labels_with_that_offset_score(example, label):
    logits, target = example
    curve = offset_curve(logits, target, label)
    assert (curve.offset.diff() > 0).all()
    assert len(curve.offset) == (target != 255).sum()  # every pixel adds a step
    for offset, precision, recall, iou in zip(*curve, strict=True):
        found = moved(logits, label, offset).argmax(1)
        called, there = (found == label) & (target != 255), target == label
        hits = (called & there).sum()
        assert precision == hits / called.sum().double()
        assert recall == hits / there.sum().double()
        assert iou == pytest.approx(score(found, target, 3)["iou"][label].item(), abs=1e-6)
    assert curve.best_offset == curve.offset[curve.iou == curve.iou.max()][0]


def test_average_precision_is_the_mean_of_the_precision_at_the_true_pixels(example):
    logits, target = example
    kept = target != 255
    margin = (logits[:, 1] - logits[:, [0, 2]].amax(1))[kept]
    order = margin.argsort(descending=True)
    hit = (target[kept] == 1)[order]
    at_hits = [hit[: i + 1].double().mean() for i in range(len(hit)) if hit[i]]
    expected = sum(at_hits) / len(at_hits)
    assert offset_curve(logits, target, 1).average_precision == pytest.approx(expected.item())


def test_pixels_of_one_margin_are_called_together():
    logits = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, -1.0]]])
    curve = offset_curve(logits, torch.tensor([[1, 0, 1]]), 1)
    assert curve.offset.tolist() == [0.0, 2.0]
    assert curve.recall.tolist() == [0.5, 1.0]


def test_an_offset_common_to_all_logits_changes_nothing(example):
    logits, target = example
    first, second = offset_curve(logits.double(), target, 1), offset_curve(logits + 4.0, target, 1)
    torch.testing.assert_close(first.offset, second.offset, atol=1e-5, rtol=0)
    assert torch.equal(first.iou, second.iou)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused(example, label):
    with pytest.raises(ValueError, match="label must be one of the classes"):
        offset_curve(*example, label)


def test_a_class_without_a_pixel_is_refused(example):
    logits, target = example
    with pytest.raises(ValueError, match="no pixel of the target has the label 1"):
        offset_curve(logits, torch.where(target == 1, 255, target), 1)
    with pytest.raises(ValueError, match="no pixel of the target"):
        offset_curve(logits, torch.full_like(target, 255), 1)


def test_shapes_that_do_not_fit_are_refused(example):
    logits, target = example
    with pytest.raises(ValueError):
        offset_curve(logits, target[:, 1:], 1)
